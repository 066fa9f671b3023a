import json

import av
import numpy as np
import pytest
import torch

from audio_io import save
from audio_io.errors import FileError
from mri2speech.acoustic import checkpoint
from mri2speech.acoustic.config import AcousticConfig
from mri2speech.acoustic.model import AcousticModel
from mri2speech.cli import main
from mri2speech.config import MelConfig
from mri2speech.features import Scaler
from mri2speech.gradcam.config import FaithfulnessConfig
from mri2speech.gradcam.films import data_films
from mri2speech.gradcam.pictures import LEGEND_ROWS, colour, overlay
from mri2speech.meta import Alignment, Meta, Sample
from mri2speech.video_writer import write_video

MEL = MelConfig()
FRAMES = 40
FLASH = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A film, a model, and sequences that flash with a click of the sound."""
    root = tmp_path_factory.mktemp("gradcam")
    rng = np.random.default_rng(0)
    write_video(root / "film.mp4", rng.integers(60, 90, (FRAMES, 96, 96), dtype=np.uint8), MEL.frame_rate)
    torch.manual_seed(0)
    model = AcousticModel(AcousticConfig(backbone="test_resnet", stage=-2, image_size=32, hidden=8))
    checkpoint.save(root / "best.pt", model, Scaler(-50.0, 20.0, MEL))
    for band, columns in (("F1", slice(0, 100)), ("F2", slice(156, 256))):
        heat = np.zeros((FRAMES, 256, 256), dtype=np.float16)
        heat[FLASH, :, columns] = 1
        np.save(root / f"gradcam_{band}_sequence.npy", heat)
    sound = torch.zeros(1, FRAMES * MEL.hop_length)
    sound[0, FLASH * MEL.hop_length] = 1.0
    save(root / "click.wav", sound, MEL.sample_rate)
    return root


def decoded(path):
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return [time for time, _ in frames], np.stack([picture for _, picture in frames])


def test_maps_writes_what_the_brief_names(folder, capsys):
    given = ["gradcam", "maps", "--video", str(folder / "film.mp4"), "--device", "cpu"]
    given += ["--mri-checkpoint", str(folder / "best.pt"), "--output-dir", str(folder / "out")]
    given += ["--formant-band", "F1:300-900", "--formant-band", "F2:900-2500"]
    Scaler(-50.0, 20.0, MEL).save(folder / "scaler.json")
    given += ["--scaler-json", str(folder / "scaler.json"), "--influence", "both"]
    assert main([*given, "--target-frames", "3", "39", "--dtype", "float16"]) == 0
    written = capsys.readouterr().out.split()
    assert len(written) == 9
    heat = np.load(folder / "out" / "gradcam_F1_sequence.npy")
    assert (heat.shape, heat.dtype) == ((FRAMES, 256, 256), np.float16)
    assert heat.max() == 1
    assert heat.min() >= 0
    about = json.loads((folder / "out" / "gradcam.json").read_text())
    assert about["bands"]["F1"]["mel_bands"] == list(range(7, 21))
    assert about["frames"] == FRAMES
    for name in ("F1_average", "F2_average", "F1_frame0003", "F2_frame0039"):
        assert (folder / "out" / f"gradcam_{name}.png").read_bytes().startswith(b"\x89PNG")
    assert main([*given, "--target-frames", "40"]) == 2
    assert "target_frames: found 40, expected frames from 0 to 39" in capsys.readouterr().err
    assert main([*given, "--formant-band", "F1:1-2000"]) == 2
    assert "bands of different names" in capsys.readouterr().err


def test_maps_are_of_the_frames_that_the_mask_leaves(folder, tmp_path):
    np.save(tmp_path / "mask.npy", np.zeros((256, 256), np.float32))
    given = ["gradcam", "maps", "--video", str(folder / "film.mp4"), "--device", "cpu"]
    given += ["--mri-checkpoint", str(folder / "best.pt"), "--formant-band", "F1:300-900"]
    assert main([*given, "--mask", str(tmp_path / "mask.npy"), "--output-dir", str(tmp_path / "hidden")]) == 0
    assert json.loads((tmp_path / "hidden" / "gradcam.json").read_text())["mask"] == "mask.npy"
    heat = np.load(tmp_path / "hidden" / "gradcam_F1_sequence.npy")
    # Without a picture every frame is the same one, and only the place in the film tells its map.
    assert np.ptp(heat[FRAMES // 2 - 2 : FRAMES // 2 + 2], axis=0).max() < 0.01


def test_an_interval_is_cut_by_time(folder, capsys):
    source = folder / "gradcam_F1_sequence.npy"
    assert main(["gradcam", "cut", str(source), "--start", "0.7", "--end", "1.0", "--name", "aSegment"]) == 0
    cut = np.load(folder / "gradcam_F1_aSegment_sequence.npy")
    # Frame 20 shows at 0.736 s and is the first from 0.7 s on, frame 27 at 0.994 s the last.
    assert np.array_equal(cut, np.load(source)[20:28])
    assert "8 frames from frame 20 on" in capsys.readouterr().out
    assert main(["gradcam", "cut", str(source), "--start", "1.5", "--end", "1.6"]) == 2
    assert "an interval with frames of 0-1.435 s" in capsys.readouterr().err
    np.save(folder / "other.npy", np.full((3, 4, 4), np.nan, dtype=np.float32))
    assert main(["gradcam", "cut", str(folder / "other.npy"), "--start", "0", "--end", "1"]) == 2
    assert "expected heat from 0 to 1" in capsys.readouterr().err


def test_sequences_and_intervals_that_cannot_be_used_are_refused(tmp_path, capsys):
    cut = ["gradcam", "cut", "--end", "1", "--output-dir", str(tmp_path)]
    (tmp_path / "zip.npy").write_bytes(b"PK\x03\x04 and no more")
    assert main([*cut, "--start", "0", str(tmp_path / "zip.npy")]) == 2
    assert "zip.npy: found an array that cannot be read" in capsys.readouterr().err
    np.savez(tmp_path / "many.npz", heat=np.zeros((3, 4, 4), np.float32))
    assert main([*cut, "--start", "0", str(tmp_path / "many.npz")]) == 2
    assert "many.npz: found an archive of arrays" in capsys.readouterr().err
    np.save(tmp_path / "whole.npy", np.zeros((3, 4, 4), np.float32))
    assert main([*cut, "--start", "nan", str(tmp_path / "whole.npy")]) == 2
    assert "start, end: found nan-1 s, expected an interval in seconds" in capsys.readouterr().err


def test_a_data_set_with_nan_is_refused_before_its_maps_are_tested(tmp_path):
    frames, mels = np.zeros((6, 32, 32), np.float32), np.zeros((6, 64), np.float32)
    alignment = Alignment(0.0, 0, 0.2, 0.2, 0.0)
    sample = Sample("a", "s", 6, "a.avi", None, None, 27.17, alignment)
    Meta((sample,), MelConfig(), 32, 4).save(tmp_path)
    (tmp_path / "samples" / "a").mkdir(parents=True)
    np.save(tmp_path / "samples" / "a" / "mri.npy", frames)
    np.save(tmp_path / "samples" / "a" / "mel_db.npy", mels)
    config = FaithfulnessConfig(films=1, frames=2)
    (film,) = data_films(tmp_path, config)
    assert film.chosen.tolist() == [1, 4]
    frames[2, 3, 4] = np.nan
    np.save(tmp_path / "samples" / "a" / "mri.npy", frames)
    with pytest.raises(FileError, match=r"mri\.npy: found NaN or infinity, expected finite values"):
        list(data_films(tmp_path, config))


def test_slow_motion_repeats_each_frame(folder, capsys):
    piece = folder / "gradcam_F1_piece_sequence.npy"
    np.save(piece, np.load(folder / "gradcam_F1_sequence.npy")[18:23])
    given = ["gradcam", "video", "--video", str(folder / "film.mp4"), "--sequence", str(piece)]
    given += ["--output", str(folder / "slow.mp4")]
    assert main([*given, "--start-frame", "18"]) == 0
    times, pictures = decoded(folder / "slow.mp4")
    assert len(pictures) == 5 * 4
    assert times[-1] == pytest.approx(19 / 5, abs=1e-3)
    hot = pictures[:, 20:200, 20:80].astype(float)
    red = (hot[..., 0] - hot[..., 2]).mean(axis=(1, 2)) > 60
    assert np.flatnonzero(red).tolist() == [8, 9, 10, 11]
    assert main([*given, "--start-frame", "36"]) == 2
    assert "5 maps from frame 36 on, of a film of 40 frames" in capsys.readouterr().err


def test_heat_shows_when_its_sound_is_heard(folder):
    given = ["gradcam", "overlay", "--video", str(folder / "film.mp4")]
    given += ["--heatmap", str(folder / "gradcam_F1_sequence.npy"), "--output", str(folder / "both.mp4")]
    given += ["--heatmap2", str(folder / "gradcam_F2_sequence.npy"), "--audio", str(folder / "click.wav")]
    assert main([*given, "--alpha", "1", "--resize", "256", "256"]) == 0
    times, pictures = decoded(folder / "both.mp4")
    assert pictures.shape == (FRAMES, 256 + LEGEND_ROWS, 256, 3)
    left, right = (
        pictures[:, 40:216, columns].mean(axis=(1, 2)) for columns in (slice(20, 80), slice(180, 240))
    )
    for side, number in ((left, 0), (right, 1)):
        distance = np.abs(side - colour(number)).max(axis=-1)
        assert int(distance.argmin()) == FLASH
        assert distance.min() < 20
    with av.open(str(folder / "both.mp4")) as container:
        names = [stream.codec_context.name for stream in container.streams]
        blocks = list(container.decode(audio=0))
    assert names == ["h264", "aac"]
    sound = np.concatenate([block.to_ndarray()[0] for block in blocks])
    heard = blocks[0].time + np.abs(sound).argmax() / blocks[0].sample_rate
    assert abs(heard - times[FLASH]) < 0.002


def test_heat_is_the_opacity_of_its_colour_and_bands_mix_where_they_meet():
    frame = np.full((4, 4), 0.4, dtype=np.float32)
    heat = np.zeros((2, 4, 4), dtype=np.float32)
    heat[0, 0, 0], heat[1, 0, 1], heat[:, 0, 2] = 1, 0.5, 1
    picture = overlay(frame, heat, 0.5)
    assert (picture[1:] == 102).all()
    first, second = np.array(colour(0)), np.array(colour(1))
    assert np.abs(picture[0, 0] - (51 + first / 2)).max() <= 1
    assert np.abs(picture[0, 1] - (0.75 * 102 + second / 4)).max() <= 1
    assert np.abs(picture[0, 2] - (51 + (first + second) / 4)).max() <= 1
