"""CREPE as a Core ML package: real weights, run by the interpreter."""

import subprocess
import sys

import pytest
import torch

import pitch
from audio_io.errors import ConfigError
from pitch.core import normalize_frames
from separation_coreml import registry
from separation_coreml.cli import main
from separation_coreml.families import crepe
from separation_coreml.mil import load_program
from separation_coreml.verify import verify


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("crepe") / "crepe-tiny.mlpackage"
    assert main(["convert", "crepe-tiny", "-o", str(path), "--segment", "0.05"]) == 0
    return path


def frames_with_pitch():
    """A tone, noise, silence and a constant, at levels that differ: normalisation has to do its work."""
    time = torch.arange(crepe.FRAME_LENGTH) / crepe.SAMPLE_RATE
    generator = torch.Generator().manual_seed(1)
    tones = [level * torch.sin(2 * torch.pi * hz * time) for level, hz in ((0.5, 220.0), (1e-3, 440.0))]
    noise = 0.1 * torch.randn(crepe.FRAME_LENGTH, generator=generator)
    return torch.stack([*tones, noise, torch.zeros(crepe.FRAME_LENGTH), torch.full((1024,), 0.25)])


def test_the_posteriorgram_is_that_of_pitch(package):
    program, network = load_program(package), pitch.load_model("tiny")
    frames = frames_with_pitch()
    report = verify(program, lambda x: network(normalize_frames(x)), {"frames": frames})
    assert report.outputs[0].shape == (5, 360)
    assert report.sdr >= 110
    assert report.max_abs <= 1e-5
    # The tones are found where they are, so the comparison is of something.
    posteriors = program.run(frames=frames)["posteriors"]
    cents = float(program.metadata["cents_of_first_bin"]) + 20 * posteriors[:2].argmax(-1)
    torch.testing.assert_close(10 * 2 ** (cents / 1200), torch.tensor([220.0, 440.0]), rtol=0.012, atol=0)


def test_verify_knows_it(package, capsys):
    assert main(["verify", str(package), "--model", "crepe-tiny"]) == 0
    assert "posteriors [5, 360]: SDR" in capsys.readouterr().out
    assert main(["verify", str(package), "--model", "crepe-tiny", "--weights", "random"]) == 1


def test_names_are_the_capacities_of_pitch():
    assert tuple(f"crepe-{name}" for name in pitch.CAPACITIES) == registry.PITCH_MODELS


def test_it_is_no_separator(package, capsys):
    assert not set(registry.PITCH_MODELS) & set(registry.MODELS)
    assert main(["models"]) == 0
    assert "crepe-tiny" in capsys.readouterr().out


def test_capacities_without_weights_give_the_sentence_of_pitch(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PITCH_CACHE", str(tmp_path))
    assert main(["convert", "crepe-large", "-o", str(tmp_path / "x.mlpackage")]) == 2
    assert "run: pitch weights fetch large" in capsys.readouterr().err


def test_settings_that_it_does_not_have(tmp_path, capsys):
    target = str(tmp_path / "x.mlpackage")
    assert main(["convert", "crepe-tiny", "-o", target, "--io", "core"]) == 2
    assert "its input is frames" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="one frame"):
        crepe.frame_count(0.001)
    with pytest.raises(ConfigError, match="crepe-tiny, crepe-small"):
        crepe.build("crepe-huge")


def test_without_pitch_it_says_what_to_install():
    program = (
        "import sys; sys.modules['pitch'] = None\n"
        "from separation_coreml.cli import main\n"
        "sys.exit(main(['convert', 'crepe-tiny', '-o', 'x.mlpackage']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert "crepe-tiny needs the package pitch" in done.stderr
