import re
from pathlib import Path

import numpy as np
import pytest
import torch

from audio_io import load
from audio_io.errors import ConfigError, FileError
from mri2speech.acoustic import checkpoint
from mri2speech.acoustic.config import AcousticConfig
from mri2speech.acoustic.model import AcousticModel
from mri2speech.cli import main
from mri2speech.config import MelConfig
from mri2speech.features import Scaler, mel_log
from mri2speech.onnx_export import OnnxSynthesizer, export
from mri2speech.phantom.anatomy import speaker
from mri2speech.phantom.corpus import utterance
from mri2speech.phantom.gestures import compose
from mri2speech.preprocess.config import PreprocessConfig
from mri2speech.preprocess.frames import load_frames
from mri2speech.streaming import SpeechStream
from mri2speech.synthesize import VOCODER_FRAMES, Synthesizer
from mri2speech.video_writer import write_video
from mri2speech.vocoder.checkpoint import save_generator
from mri2speech.vocoder.config import VocoderConfig
from mri2speech.vocoder.generator import Generator, receptive_frames

README = Path(__file__).parents[1] / "README.md"
SCALER = Scaler(-50.0, 20.0, MelConfig())


def acoustic(**changes):
    torch.manual_seed(0)
    settings = {"backbone": "mobilenetv3_small_050", "image_size": 64, "hidden": 24, **changes}
    return AcousticModel(AcousticConfig(**settings)).eval()


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(1)
    made = Generator(VocoderConfig(upsample_initial_channel=32)).eval()
    # Fresh weights are so small that a mistake of a sample would not show.
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("original0"):
                parameter.mul_(6.0)
    return made.remove_weight_norm()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    made = utterance(compose(speaker(0), 0))
    path = tmp_path_factory.mktemp("film") / "phrase.mp4"
    write_video(path, made.frames[:40], made.fps, crf=0)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory, generator):
    folder = tmp_path_factory.mktemp("models")
    checkpoint.save(folder / "best.pt", acoustic(), SCALER)
    save_generator(folder / "g_00000001", generator)
    return folder


def test_portions_of_the_vocoder_are_the_whole(generator):
    synthesizer = Synthesizer(acoustic(), SCALER, generator)
    mels = -50 + 20 * torch.randn(64, 2 * VOCODER_FRAMES + 37, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = generator(mel_log(mels)[None])[0, 0]
    found = synthesizer.vocode(mels)
    assert whole.std() > 1e-3
    assert found.shape == (mels.shape[1] * 420,)
    assert (found - whole).abs().max() < 1e-5 * whole.abs().max()


def test_the_reach_of_the_vocoder_is_no_shorter_than_it_is(generator):
    reach = receptive_frames(generator.config)
    mels = torch.randn(1, 64, 4 * reach + 1, generator=torch.Generator().manual_seed(0)).requires_grad_()
    middle = 2 * reach
    generator(mels)[0, 0, middle * 420 : (middle + 1) * 420].square().sum().backward()
    touched = mels.grad[0].abs().sum(0).nonzero()[:, 0]
    assert middle - reach <= int(touched.min())
    assert int(touched.max()) <= middle + reach
    # Nor is it much longer, which would be waste and latency.
    assert reach - 4 <= int(touched.max()) - middle


def test_the_film_is_prepared_as_for_training(film, generator):
    model = acoustic()
    synthesizer = Synthesizer(model, SCALER, generator)
    frames, times = load_frames(film, PreprocessConfig(), MelConfig())
    with torch.inference_mode():
        expected = SCALER.denormalise(model(torch.from_numpy(frames)[None])[0]).T
    speech = synthesizer.film(film)
    torch.testing.assert_close(speech.mel_db, expected, rtol=1e-4, atol=1e-3)
    assert speech.mel_db.shape == (64, len(times))
    assert speech.waveform.shape == (len(times) * 420,)
    assert speech.real_time_factor > 0
    torch.testing.assert_close(synthesizer.speech(frames), speech.waveform, rtol=1e-3, atol=1e-4)


def test_a_uni_directional_stream_is_the_whole_film(generator):
    model = acoustic(bidirectional=False)
    frames = torch.rand(60, 64, 64, generator=torch.Generator().manual_seed(2))
    offline = Synthesizer(model, SCALER, generator).speech(frames)
    stream = SpeechStream(model, SCALER, generator, block=3)
    parts, waits = [], []
    for index, frame in enumerate(frames):
        parts.append(stream.push(frame))
        waits.append((index + 1) * 420 - sum(len(part) for part in parts))
    parts.append(stream.finish())
    torch.testing.assert_close(torch.cat(parts), offline, rtol=1e-4, atol=1e-5)
    # What is promised about the wait, in samples.
    assert max(waits[20:]) <= (stream.latency.acoustic + stream.latency.vocoder) * 420
    assert stream.latency.acoustic == 0
    assert stream.latency.milliseconds == pytest.approx(1000 * (stream.reach + 2) / 27.174, rel=1e-3)


def test_a_bidirectional_stream_comes_closer_the_longer_it_waits(generator):
    model = acoustic()
    frames = torch.rand(50, 64, 64, generator=torch.Generator().manual_seed(3))
    offline = Synthesizer(model, SCALER, generator).speech(frames)
    errors = []
    for look_ahead in (0, 3, 50):
        stream = SpeechStream(model, SCALER, generator, look_ahead=look_ahead)
        found = torch.cat([*(stream.push(frame) for frame in frames), stream.finish()])
        assert found.shape == offline.shape
        errors.append(float((found - offline).square().mean().sqrt()))
        again = torch.cat([*(stream.push(frame) for frame in frames), stream.finish()])
        torch.testing.assert_close(again, found, rtol=0, atol=0)
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-5
    with pytest.raises(ConfigError, match="look_ahead: found -1"):
        SpeechStream(model, SCALER, generator, look_ahead=-1)


def test_models_of_different_mels_are_not_joined(generator, models, tmp_path):
    other = Scaler(-50.0, 20.0, MelConfig(hop_length=210))
    refused = r"vocoder: found one of hop_length = 420, expected hop_length = 210"
    for join in (Synthesizer, SpeechStream):
        with pytest.raises(ConfigError, match=refused):
            join(acoustic(), other, generator)
    with pytest.raises(ConfigError, match=refused):
        export(tmp_path, model=acoustic(), scaler=other, generator=generator)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="stream: found AcousticModel and NoneType"):
        Synthesizer.load(models / "best.pt", "griffin-lim").stream()


def test_the_readmes_stream_speaks_frame_by_frame(models):
    (code,) = re.findall(
        r"```python\n(from mri2speech.preprocess.frames.*?)```", README.read_text(), re.DOTALL
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 68, 68), np.uint8)
    synthesizer, played = Synthesizer.load(models / "best.pt", models / "g_00000001"), []
    exec(code, {"synthesizer": synthesizer, "images": images, "play": played.append})
    assert len(played) == 41
    assert sum(map(len, played)) == 40 * 420
    assert sum(map(len, played[:30])) > 0
    assert torch.cat(played).abs().max() > 1e-3


def test_onnx_runtime_says_the_same(tmp_path, generator):
    model = acoustic()
    reports = export(tmp_path, model=model, scaler=SCALER, generator=generator)
    assert [report.path.name for report in reports] == ["acoustic.onnx", "vocoder.onnx"]
    assert all(report.difference < 1e-4 for report in reports)
    runtime = OnnxSynthesizer(tmp_path)
    assert runtime.mel_config == MelConfig()
    frames = torch.rand(31, 256, 256, generator=torch.Generator().manual_seed(4))
    expected = Synthesizer(model, SCALER, generator)
    torch.testing.assert_close(runtime.mel(frames.numpy()), expected.mel(frames), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(runtime.speech(frames.numpy()), expected.speech(frames), rtol=1e-3, atol=1e-3)
    other = Scaler(-50.0, 20.0, MelConfig(fmax=5000.0))
    export(tmp_path, model=model, scaler=other, generator=None)
    with pytest.raises(FileError, match=r"vocoder.onnx: found a vocoder of fmax = None, expected fmax = 50"):
        OnnxSynthesizer(tmp_path)
    (tmp_path / "acoustic.onnx").write_bytes(b"no model")
    with pytest.raises(FileError, match=r"acoustic.onnx: found no model for ONNX Runtime"):
        OnnxSynthesizer(tmp_path)
    with pytest.raises(FileError, match="no such file"):
        OnnxSynthesizer(tmp_path / "none")


class Lengthwise(torch.nn.Module):
    """Something that tracing does not keep: what it does depends on the number of frames."""

    config = VocoderConfig()

    def forward(self, mel):
        return mel.sum(1, keepdim=True) * (2 if mel.shape[-1] > 15 else 1)


def test_a_model_that_onnx_runtime_computes_differently_is_not_written(tmp_path):
    with pytest.raises(FileError, match=r"vocoder.onnx: found ONNX Runtime 5.0e-01 away from PyTorch"):
        export(tmp_path, model=None, scaler=SCALER, generator=Lengthwise())
    assert not list(tmp_path.iterdir())


def test_the_command_writes_speech_and_picture(tmp_path, film, models, capsys):
    arguments = ["synthesize", str(film), "--acoustic", str(models / "best.pt"), "--device", "cpu"]
    arguments += ["--vocoder", str(models / "g_00000001")]
    assert main([*arguments, "-o", str(tmp_path)]) == 0
    assert "s of speech at" in capsys.readouterr().out
    waveform, rate = load(tmp_path / "phrase.wav")
    assert rate == 11413
    frames, _ = load_frames(film, PreprocessConfig(), MelConfig())
    assert waveform.shape[-1] == len(frames) * 420
    assert (tmp_path / "phrase.png").stat().st_size > 20_000
    # Frames have the size that they had in the data set, if that was another.
    assert main([*arguments, "-o", str(tmp_path), "--image-size", "96"]) == 2
    assert "found frames of 96x96, expected square frames, a multiple of 64" in capsys.readouterr().err


def test_every_checkpoint_gets_its_folder(tmp_path, film, models):
    arguments = ["synthesize", str(film), "--every-checkpoint", str(models), "--device", "cpu"]
    assert (
        main(
            [
                *arguments,
                "--acoustic",
                str(models / "best.pt"),
                "--vocoder",
                "griffin-lim",
                "-o",
                str(tmp_path),
            ]
        )
        == 0
    )
    assert (tmp_path / "g_00000001" / "phrase.wav").is_file()
    assert (tmp_path / "best" / "phrase.wav").is_file()


def test_films_of_one_name_in_two_folders_are_kept_apart(tmp_path, models, capsys):
    rng = np.random.default_rng(0)
    for name in ("s1/a.npz", "s2/a.npz", "s2/b.npz"):
        (tmp_path / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        np.savez(tmp_path / "films" / name, frames=rng.integers(0, 255, (12, 64, 64), np.uint8), fps=27.0)
    arguments = ["--acoustic", str(models / "best.pt"), "--vocoder", "griffin-lim", "--device", "cpu"]
    arguments += ["-o", str(tmp_path / "o")]
    assert main(["synthesize", str(tmp_path / "films"), *arguments]) == 0
    found = {path.relative_to(tmp_path / "o").as_posix() for path in (tmp_path / "o").rglob("*.wav")}
    assert found == {"s1/a.wav", "s2/a.wav", "s2/b.wav"}
    both = [str(tmp_path / "films" / name) for name in ("s1/a.npz", "s2/a.npz")]
    assert main(["synthesize", *both, *arguments]) == 2
    assert "whose speech would be one file, a.wav" in capsys.readouterr().err


def test_a_damaged_checkpoint_does_not_stop_the_others(tmp_path, models, capsys):
    (tmp_path / "models").mkdir()
    for name in ("a", "c"):
        (tmp_path / "models" / f"{name}.pt").write_bytes((models / "best.pt").read_bytes())
    (tmp_path / "models" / "b.pt").write_bytes(b"no checkpoint")
    frames = np.random.default_rng(0).integers(0, 255, (12, 64, 64), np.uint8)
    np.savez(tmp_path / "a.npz", frames=frames, fps=27.0)
    arguments = ["synthesize", str(tmp_path / "a.npz"), "--vocoder", "griffin-lim", "--device", "cpu"]
    arguments += ["-o", str(tmp_path / "o"), "--every-checkpoint", str(tmp_path / "models")]
    assert main(arguments) == 1
    assert "b.pt: found a file that is no checkpoint" in capsys.readouterr().err
    assert sorted(path.parent.name for path in (tmp_path / "o").rglob("*.wav")) == ["a", "c"]


def test_the_mask_of_the_training_is_applied(tmp_path, models, capsys):
    frames = np.random.default_rng(0).integers(0, 255, (12, 256, 256), np.uint8)
    film = tmp_path / "a.npz"
    np.savez(film, frames=frames, fps=MelConfig().frame_rate)
    mask = np.zeros((256, 256), np.float32)
    mask[64:192, 64:192] = 1
    np.save(tmp_path / "mask.npy", mask)
    arguments = ["synthesize", str(film), "--vocoder", "griffin-lim", "--device", "cpu"]
    arguments += ["--acoustic", str(models / "best.pt"), "-o", str(tmp_path / "o")]
    assert main([*arguments, "--mask", str(tmp_path / "mask.npy")]) == 0
    synthesizer = Synthesizer.load(models / "best.pt", "griffin-lim")
    shown, _ = load_frames(film, PreprocessConfig(), MelConfig())
    masked = synthesizer.film(film, mask=tmp_path / "mask.npy").mel_db
    torch.testing.assert_close(masked, synthesizer.mel(shown * mask))
    assert (masked - synthesizer.mel(shown)).abs().max() > 0.01
    np.save(tmp_path / "mask.npy", mask[:64])
    assert main([*arguments, "--mask", str(tmp_path / "mask.npy")]) == 2
    assert "found a mask of shape 64x256, expected a mask of 256x256 pixels" in capsys.readouterr().err


def test_what_does_not_fit_is_said_in_a_sentence(tmp_path, film, models, generator, capsys):
    other = Generator(VocoderConfig(upsample_initial_channel=16, preemphasis=0.0)).eval()
    save_generator(tmp_path / "g_00000002", other)
    arguments = ["synthesize", str(film), "--acoustic", str(models / "best.pt"), "-o", str(tmp_path / "o")]
    assert main([*arguments, "--vocoder", str(tmp_path / "g_00000002")]) == 2
    error = capsys.readouterr().err
    assert "g_00000002: found a vocoder, one of preemphasis = 0.0, expected preemphasis = 0.97" in error
    assert main(["synthesize", str(film), "-o", str(tmp_path / "o")]) == 2
    assert "acoustic: found none" in capsys.readouterr().err
    Scaler(0.0, 1.0, MelConfig(n_mels=80)).save(tmp_path / "scaler.json")
    assert main([*arguments, "--vocoder", "griffin-lim", "--scaler", str(tmp_path / "scaler.json")]) == 2
    assert "scaler.json: found made with n_mels = 80, expected n_mels = 64" in capsys.readouterr().err
    Scaler(0.0, 1.0, MelConfig(hop_length=210)).save(tmp_path / "scaler.json")
    for command in (arguments, ["export", *arguments[2:]]):
        assert main([*command, "--scaler", str(tmp_path / "scaler.json")]) == 2
        error = capsys.readouterr().err
        assert "scaler.json: found made with hop_length = 210, expected hop_length = 420" in error
        assert error.count("\n") == 1
    maps = ["gradcam", "maps", "--video", str(film), "--mri-checkpoint", str(models / "best.pt")]
    maps += ["--output-dir", str(tmp_path / "maps"), "--scaler-json", str(tmp_path / "scaler.json")]
    assert main(maps) == 2
    assert "found made with hop_length = 210" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert not (tmp_path / "maps").exists()
    # One film that cannot be used does not stop the others.
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").write_bytes(b"no film")
    np.save(tmp_path / "films" / "b.npy", np.random.default_rng(0).integers(0, 255, (12, 64, 64), np.uint8))
    arguments[1] = str(tmp_path / "films")
    arguments += ["--vocoder", str(models / "g_00000001"), "--fps", "27.17"]
    assert main(arguments) == 1
    assert "a.mp4: found" in capsys.readouterr().err
    assert (tmp_path / "o" / "b.wav").is_file()
    np.save(tmp_path / "black.npy", np.zeros((12, 64, 64), np.uint8))
    arguments[1] = str(tmp_path / "black.npy")
    assert main(arguments) == 2
    assert "black.npy: found frames of one grey value throughout" in capsys.readouterr().err
    assert not (tmp_path / "o" / "black.wav").exists()
    assert not (tmp_path / "o" / "a.wav").exists()
