import hashlib
import json
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch

from audio_io import load, save
from audio_io.errors import ConfigError, FileError
from mri2speech.cli import main
from mri2speech.config import MelConfig
from mri2speech.features import Scaler, mel_db
from mri2speech.meta import Meta
from mri2speech.preprocess.config import PreprocessConfig
from mri2speech.preprocess.corpus import preprocess
from mri2speech.preprocess.frames import normalise
from mri2speech.preprocess.workers import run_all
from mri2speech.video_writer import write_video

RATE = 11413
FPS = 11413 / 420


def frames(count, seed=0, size=48):
    return np.random.default_rng(seed).integers(0, 255, (count, size, size), np.uint8)


def sound(seconds, seed=0, rate=RATE):
    return 0.1 * torch.from_numpy(np.random.default_rng(seed).normal(size=int(seconds * rate))).float()


def film(path, count=30, seed=0, fps=FPS, seconds=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    waveform = sound(count / fps if seconds is None else seconds, seed)
    write_video(path, frames(count, seed), fps, waveform=waveform, sample_rate=RATE, lossless=True, **options)
    return waveform


def digest(folder):
    """Of every file of a data set but the figure and the report of the run."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {"preprocess.png", "report.json"}
    }


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for number in range(4):
        film(folder / f"s{number % 2}" / f"vcv{number}.avi", count=24 + number, seed=number)
    return folder


@pytest.fixture(scope="module")
def data(films, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    report = preprocess(films, folder, PreprocessConfig(image_size=32, pairs="both"))
    assert report.dropped == ()
    return folder


def test_the_layout_is_the_briefs(data):
    meta = Meta.load(data)
    assert [sample.id for sample in meta.samples] == ["s0_vcv0", "s0_vcv2", "s1_vcv1", "s1_vcv3"]
    assert [sample.speaker for sample in meta.samples] == ["s0", "s0", "s1", "s1"]
    for sample in meta.samples:
        place = data / "samples" / sample.id
        mri, mel, mask = (np.load(place / f"{name}.npy") for name in ("mri", "mel_db", "mask"))
        assert mri.shape == (sample.frames, 32, 32)
        assert mel.shape == (sample.frames, 64)
        assert mask.shape == (32, 32)
        assert (mask == 1).all()
        assert mri.min() == 0
        assert mri.max() == 1
    mels = np.concatenate([np.load(data / "samples" / s.id / "mel_db.npy") for s in meta.samples])
    scaler = Scaler.load(data / "scaler.json", MelConfig())
    assert scaler.mean == pytest.approx(mels.mean(dtype=np.float64), rel=1e-9)
    assert scaler.std == pytest.approx(mels.std(dtype=np.float64), rel=1e-9)
    training = (data / "hifigan_filelists" / "training.txt").read_text().split()
    validation = (data / "hifigan_filelists" / "validation.txt").read_text().split()
    assert len(validation) == 1
    assert sorted(training + validation) == [f"{sample.id}|" for sample in meta.samples]
    assert (data / "preprocess.png").stat().st_size > 20_000


def test_pixels_and_mels_are_those_of_film_and_sound(films, data):
    place = data / "samples" / "s0_vcv0"
    raw = frames(24, 0)
    expected = normalise(cv2.resize(raw[7].astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA))
    np.testing.assert_allclose(np.load(place / "mri.npy")[7], expected, atol=2e-2)
    waveform, rate = load(data / "wavs" / "s0_vcv0.wav")
    assert rate == RATE
    mel = np.load(place / "mel_db.npy")
    heard = mel_db(waveform[0])[:, : len(mel)].T.numpy()
    # The frames whose window lies within the sound; 16 bits are what differs.
    assert np.abs(heard[3:-3] - mel[3:-3]).max() < 0.5


def test_windows_on_disk_are_slices_of_the_samples(data):
    mri = np.load(data / "samples" / "s1_vcv1" / "mri.npy")
    mel = np.load(data / "samples" / "s1_vcv1" / "mel_db.npy")
    copies = np.load(data / "pairs_ref4_npy" / "s1_vcv1.mri.npy")
    assert copies.shape == (len(mri) - 3, 4, 32, 32)
    np.testing.assert_array_equal(copies[5], mri[5:9])
    (first, *_) = sorted((data / "pairs_ref4" / "s1_vcv1").glob("*.npz"))
    with np.load(first) as stored:
        np.testing.assert_array_equal(stored["mri"], mri[:4])
        np.testing.assert_array_equal(stored["mel_db"], mel[:4])
    index = np.load(data / "pairs_ref4_npy" / "index.npy")
    assert len(index) == sum(sample.frames - 3 for sample in Meta.load(data).samples)


def test_several_processes_and_a_second_run_give_the_same_bytes(films, data, tmp_path):
    config = PreprocessConfig(image_size=32, pairs="both")
    preprocess(films, tmp_path / "d", config, workers=2)
    assert digest(tmp_path / "d") == digest(data)
    before = (tmp_path / "d" / "samples" / "s0_vcv0" / "mri.npy").stat().st_mtime_ns
    report = preprocess(films, tmp_path / "d", config)
    assert report.kept == 4
    assert (tmp_path / "d" / "samples" / "s0_vcv0" / "mri.npy").stat().st_mtime_ns == before
    # Another setting makes all anew.
    assert preprocess(films, tmp_path / "d", PreprocessConfig(image_size=16)).kept == 0


def test_a_run_that_was_killed_goes_on_and_loses_nothing(tmp_path):
    for number in range(12):
        film(tmp_path / "films" / f"a_{number:02d}.avi", count=60, seed=number)
    command = ["preprocess", "--data-dir", str(tmp_path / "films"), "--image-size", "64", "--out-dir"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    script = f"from mri2speech.cli import main; main({[*command, str(tmp_path / 'killed')]!r})"
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as run:
            samples = tmp_path / "killed" / "samples"
            known = len(list(samples.glob("a_*"))) if samples.is_dir() else 0
            until = time.monotonic() + 60
            while run.poll() is None and time.monotonic() < until:
                if samples.is_dir() and len(list(samples.glob("a_*"))) >= known + 2:
                    run.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.005)
    assert not (tmp_path / "killed" / "meta.json").exists()
    assert main([*command, str(tmp_path / "killed")]) == 0
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")


def test_a_data_set_that_is_half_made_anew_is_none(films, tmp_path, monkeypatch):
    preprocess(films, tmp_path, PreprocessConfig(image_size=16))

    def interrupted(items, task, workers):
        yield next(run_all(items, task, workers=workers))
        raise KeyboardInterrupt

    monkeypatch.setattr("mri2speech.preprocess.corpus.run_all", interrupted)
    plain = MelConfig(preemphasis=0.0)
    with pytest.raises(KeyboardInterrupt):
        preprocess(films, tmp_path, PreprocessConfig(image_size=16), plain)
    with pytest.raises(FileError, match=r"meta.json: found no such file"):
        Meta.load(tmp_path)
    monkeypatch.undo()
    assert preprocess(films, tmp_path, PreprocessConfig(image_size=16), plain).kept == 1
    assert Meta.load(tmp_path).mel == plain


def test_one_film_that_cannot_be_used_does_not_stop_the_others(tmp_path, capsys):
    place = tmp_path / "films"
    film(place / "a_good.avi")
    write_video(place / "b_silent.avi", frames(30), FPS, lossless=True)
    (place / "c_text.mp4").write_bytes(b"no film at all")
    film(place / "d_long_sound.avi", seconds=4.0)
    np.save(place / "e_nan.npy", np.full((30, 32, 32), np.nan, np.float32))
    film(place / "f_three.avi", count=3)
    dark = np.zeros((30, 48, 48), np.uint8)
    dark[5:] = frames(25)
    write_video(place / "g_dark.avi", dark, FPS, waveform=sound(30 / FPS), sample_rate=RATE, lossless=True)
    command = ["preprocess", "--data-dir", str(place), "--out-dir", str(tmp_path / "d"), "--fps", str(FPS)]
    save(place / "e_nan.wav", sound(30 / FPS)[None], RATE)
    assert main(command) == 1
    error = capsys.readouterr().err
    for sentence in (
        "b_silent.avi: found no sound",
        "c_text.mp4: found",
        "d_long_sound.avi: found",
        "NaN",
        "f_three.avi: found 3 frames, expected at least 4",
    ):
        assert sentence in error, (sentence, error)
    meta = Meta.load(tmp_path / "d")
    assert [sample.id for sample in meta.samples] == ["a_good", "g_dark"]
    (note,) = meta.samples[1].notes
    assert "5" in note
    mri = np.load(tmp_path / "d" / "samples" / "g_dark" / "mri.npy")
    assert (mri[:4] == 0).all()
    assert np.isfinite(mri).all()
    report = json.loads((tmp_path / "d" / "report.json").read_text())
    assert len(report["dropped"]) == 5
    black = np.zeros((30, 48, 48), np.uint8)
    write_video(place / "h_black.avi", black, FPS, waveform=sound(30 / FPS), sample_rate=RATE, lossless=True)
    (place / "i_link.avi").symlink_to(place / "nowhere.avi")
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "h_black.avi: found frames of one grey value throughout, expected pictures" in error
    assert "i_link.avi: No such file or directory" in error
    assert "Errno" not in error
    for name in ("a_good.avi", "g_dark.avi"):
        (place / name).unlink()
    assert main([*command[:4], str(tmp_path / "none"), *command[5:]]) == 2
    assert "no film could be used" in capsys.readouterr().err


def test_the_original_options_and_sound_files_apart(tmp_path):
    place = tmp_path / "films"
    write_video(place / "s1_a.avi", frames(40), FPS, lossless=True)
    (tmp_path / "wavs").mkdir()
    save(tmp_path / "wavs" / "s1_a.wav", sound(40 / FPS, rate=44100)[None], 44100)
    command = ["preprocess", "--data_dir", str(place), "--audio_dir", str(tmp_path / "wavs")]
    command += ["--out_dir", str(tmp_path / "d"), "--sr", "11413", "--n_mels", "64", "--n_fft", "2048"]
    command += ["--hop_length", "420", "--win_length", "2048", "--preemph", "0.97", "--ref_frames", "4"]
    assert main(command) == 0
    (sample,) = Meta.load(tmp_path / "d").samples
    assert (sample.speaker, sample.audio, sample.frames) == ("s1", "s1_a.wav", 40)


def test_two_sound_files_of_one_name_are_refused_naming_both(tmp_path, capsys):
    for name in ("a", "b"):
        write_video(tmp_path / "films" / f"{name}.avi", frames(30), FPS, lossless=True)
        save(tmp_path / "wavs" / f"{name}.wav", sound(30 / FPS)[None], RATE)
    save(tmp_path / "wavs" / "a.flac", sound(30 / FPS, seed=1)[None], RATE)
    command = ["preprocess", "--data-dir", str(tmp_path / "films"), "--image-size", "16"]
    command += ["--audio-dir", str(tmp_path / "wavs"), "--out-dir", str(tmp_path / "d")]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "dropped: a.avi: found 2 sound files for it, a.flac and a.wav, expected one\n" in error
    assert [sample.id for sample in Meta.load(tmp_path / "d").samples] == ["b"]
    # A preferred one decides.
    save(tmp_path / "wavs" / "a_clean.wav", sound(30 / FPS, seed=2)[None], RATE)
    assert main([*command, "--audio-suffix", "_clean"]) == 0
    assert [sample.audio for sample in Meta.load(tmp_path / "d").samples] == ["a_clean.wav", "b.wav"]


def test_films_of_two_folders_do_not_share_a_sound_file(tmp_path, capsys):
    for number, name in enumerate(("s1/a", "s2/a", "s2/b")):
        film(tmp_path / "films" / f"{name}.avi", seed=number)
    for name in ("a", "b"):
        save(tmp_path / "wavs" / f"{name}.wav", sound(30 / FPS)[None], RATE)
    command = ["preprocess", "--data-dir", str(tmp_path / "films"), "--image-size", "16"]
    command += ["--audio-dir", str(tmp_path / "wavs"), "--out-dir", str(tmp_path / "d")]
    assert main(command) == 1
    error = capsys.readouterr().err
    shared = "found the sound file a.wav for s1/a.avi and s2/a.avi, expected one for each, as"
    assert f"s1/a.avi: {shared} s1/a.wav" in error
    assert f"s2/a.avi: {shared} s2/a.wav" in error
    assert [sample.id for sample in Meta.load(tmp_path / "d").samples] == ["s2_b"]
    for name in ("s1", "s2"):
        save(tmp_path / "wavs" / name / "a.wav", sound(30 / FPS)[None], RATE)
    assert main(command) == 0
    assert [sample.audio for sample in Meta.load(tmp_path / "d").samples] == ["s1/a.wav", "s2/a.wav", "b.wav"]


def test_a_mask_is_multiplied_in_and_must_fit(tmp_path, capsys):
    film(tmp_path / "films" / "s1_a.avi")
    (tmp_path / "masks").mkdir()
    mask = np.zeros((32, 32), np.float32)
    mask[8:24, 8:24] = 1
    np.save(tmp_path / "masks" / "s1.npy", mask)
    command = ["preprocess", "--data-dir", str(tmp_path / "films"), "--image-size", "32"]
    command += ["--mask-dir", str(tmp_path / "masks"), "--out-dir", str(tmp_path / "d")]
    assert main(command) == 0
    mri = np.load(tmp_path / "d" / "samples" / "s1_a" / "mri.npy")
    assert (mri[:, mask == 0] == 0).all()
    assert mri[:, mask == 1].std() > 0.1
    np.save(tmp_path / "masks" / "s1.npy", mask[:20])
    assert main(command) == 2
    assert "s1.npy: found" in capsys.readouterr().err


@pytest.mark.parametrize("fps", [23.18, 25.0, 50.0, 83.28])
def test_frames_are_taken_at_the_times_of_the_mels(tmp_path, fps):
    # Brightness of a patch tells the time; beside it a fixed black and white scale survives the scaling.
    count = int(2.0 * fps)
    pictures = np.zeros((count, 32, 32), np.uint8)
    pictures[:, :8], pictures[:, 8:16] = 0, 255
    pictures[:, 16:] = np.round(np.arange(count) / fps * 100)[:, None, None]
    waveform = sound(count / fps)
    write_video(tmp_path / "f" / "a.avi", pictures, fps, waveform=waveform, sample_rate=RATE, lossless=True)
    preprocess(tmp_path / "f", tmp_path / "d", PreprocessConfig(image_size=32))
    mri = np.load(tmp_path / "d" / "samples" / "a" / "mri.npy")
    told = mri[:, 20:28, 8:24].mean((1, 2)) * 255 / 100
    times = np.arange(len(mri)) * 420 / RATE
    inside = times < (count - 1) / fps
    assert np.abs(told - times)[inside].max() < 0.012


def test_an_offset_that_is_no_number_is_refused_by_its_name(films, tmp_path):
    with pytest.raises(ConfigError, match=r"audio_offset: found nan, expected a number of seconds"):
        PreprocessConfig(audio_offset=float("nan"))
    (tmp_path / "offsets.csv").write_text("id,seconds\ns0_vcv0,nan\n")
    with pytest.raises(FileError, match=r"offsets\.csv: found nan for s0_vcv0"):
        preprocess(films, tmp_path / "d", PreprocessConfig(audio_offsets=str(tmp_path / "offsets.csv")))


def test_workers_and_folders_that_cannot_be(tmp_path):
    with pytest.raises(ConfigError, match="workers: found 0"):
        preprocess(tmp_path, tmp_path / "d", workers=0)
    with pytest.raises(ConfigError, match="data_dir: found no film in"):
        preprocess(tmp_path, tmp_path / "d")
    with pytest.raises(ConfigError, match="expected a folder with films"):
        preprocess(tmp_path / "none", tmp_path / "d")
