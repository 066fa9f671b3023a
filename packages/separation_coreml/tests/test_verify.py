"""Verification: figures that are right, divergences that are found, and the command."""

import json
import math
import sys

import numpy as np
import pytest
import torch

from audio_io import save
from audio_io.errors import ConfigError
from separation_coreml import verify as verification
from separation_coreml.cli import main
from separation_coreml.mil import load_program
from separation_coreml.runtimes import CoreMLProgram
from separation_coreml.verify import compare_operations, noise, sdr, verify

ct = pytest.importorskip("coremltools")
from coremltools.converters.mil.mil import Builder as mb  # noqa: E402

WEIGHT = np.random.default_rng(0).normal(size=(4, 2, 9)).astype(np.float32)


def package(path, precision="FLOAT32", fault=0.0):
    """Two stems of a stereo waveform; `fault` is added to what one operation in the middle gives."""

    @mb.program(input_specs=[mb.TensorSpec((1, 2, 400))], opset_version=ct.target.iOS17)
    def program(waveform):
        x = mb.conv(x=waveform, weight=WEIGHT, pad_type="custom", pad=np.int32([4, 4]), name="first")
        x = mb.tanh(x=x, name="second")
        x = mb.add(x=x, y=np.float32(0.1 + fault), name="third")
        x = mb.mul(x=x, y=np.float32(2), name="fourth")
        return mb.reshape(x=x, shape=[1, 2, 2, 400], name="stems")

    model = ct.convert(
        program,
        compute_precision=getattr(ct.precision, precision),
        minimum_deployment_target=ct.target.iOS17,
        skip_model_load=True,
    )
    model.user_defined_metadata.update({"stems": "vocals,rest", "sample_rate": "8000"})
    model.save(str(path))
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    return {
        "good": package(folder / "good.mlpackage"),
        "half": package(folder / "half.mlpackage", "FLOAT16"),
        "faulty": package(folder / "faulty.mlpackage", fault=1e-3),
    }


def module(x):
    y = torch.tanh(torch.nn.functional.conv1d(x, torch.tensor(WEIGHT), padding=4))
    return (2 * (y + 0.1)).reshape(1, 2, 2, -1)


def test_sdr_is_what_its_definition_says():
    reference = torch.tensor([3.0, 4.0])
    assert sdr(reference, reference + torch.tensor([0.0, 0.05])) == pytest.approx(40, abs=1e-4)
    assert sdr(reference, reference.clone()) == math.inf
    assert sdr(torch.zeros(2), torch.zeros(2)) == math.inf
    assert sdr(torch.zeros(2), torch.ones(2)) == -math.inf
    assert sdr(reference, torch.tensor([3.0, math.nan])) == -math.inf


def test_a_faithful_program_passes(paths):
    program = load_program(paths["good"])
    report = verify(program, module, noise(program), stems=("vocals", "rest"))
    assert report.passed
    assert report.sdr > 130
    assert report.max_abs < 1e-5
    (output,) = report.outputs
    assert (output.name, output.shape) == ("stems", (1, 2, 2, 400))
    assert set(output.stems) == {"vocals", "rest"}
    assert min(output.stems.values()) <= output.sdr <= max(output.stems.values())


def test_stems_are_judged_each_by_itself(paths):
    program = load_program(paths["good"])

    def louder(x):
        stems = module(x).clone()
        stems[:, 1] *= 1.01
        return stems

    report = verify(program, louder, noise(program), stems=("vocals", "rest"))
    assert not report.passed
    assert report.outputs[0].stems["vocals"] > 110
    # 1 % too loud is 20 log10(1.01 / 0.01) dB.
    assert report.outputs[0].stems["rest"] == pytest.approx(20 * math.log10(101), abs=0.01)


def test_bisection_names_the_operation_where_a_fault_was_put(paths):
    program, good = load_program(paths["faulty"]), load_program(paths["good"])
    report = verify(program, good, noise(program), bisect=good)
    assert not report.passed
    assert [item.name for item in report.operations] == ["first", "second", "third", "fourth", "stems"]
    assert report.first_divergence.name == "third"
    assert report.first_divergence.kind == "add"
    assert report.first_divergence.max_abs == pytest.approx(1e-3, rel=1e-3)
    assert {item.name for item in report.worst[:3]} == {"third", "fourth", "stems"}


def test_a_float16_program_is_compared_with_its_float32_twin_by_name(paths):
    half, good = load_program(paths["half"]), load_program(paths["good"])
    compared = compare_operations(half, good, noise(half))
    assert [item.name for item in compared] == ["first", "second", "third", "fourth", "stems"]
    assert all(40 < item.sdr < 90 for item in compared)
    exact = load_program(paths["half"], dtype=torch.float64)
    assert all(40 < item.sdr < 90 for item in compare_operations(half, exact, noise(half)))


def test_references_that_give_something_else_are_refused(paths):
    program = load_program(paths["good"])
    with pytest.raises(ConfigError, match="reference: found 2 outputs, expected 1: stems"):
        verify(program, lambda x: (x, x), noise(program))
    with pytest.raises(ConfigError, match=r"output stems: found the shape \[1, 2, 2, 400\]"):
        verify(program, lambda x: x, noise(program))
    with pytest.raises(ConfigError, match="reference: found the outputs other, expected stems"):
        verify(program, lambda x: {"other": x}, noise(program))


def test_an_excerpt_is_the_middle_with_the_channels_wanted(tmp_path):
    ramp = torch.linspace(-0.5, 0.5, 1001)[None]
    save(tmp_path / "ramp.wav", ramp, 8000)
    part = verification.excerpt(tmp_path / "ramp.wav", 8000, 2, 101)
    assert part.shape == (1, 2, 101)
    torch.testing.assert_close(part[0, 1], ramp[0, 450:551])
    long = verification.excerpt(tmp_path / "ramp.wav", 8000, 1, 2000)
    assert torch.equal(long[0, 0, 1001:], torch.zeros(999))


def test_the_command_passes_and_fails_by_its_exit_code(paths, tmp_path, capsys):
    good, faulty, half = (str(paths[name]) for name in ("good", "faulty", "half"))
    assert main(["verify", good]) == 0
    assert "noise: SDR 1" in capsys.readouterr().out
    assert main(["verify", good, "--against", faulty]) == 1
    assert "is BELOW 110 dB" in capsys.readouterr().out
    assert main(["verify", half, "--threshold", "45"]) == 0
    capsys.readouterr()

    song = tmp_path / "song.wav"
    save(song, 0.1 * torch.randn(1, 1000, generator=torch.Generator().manual_seed(0)), 8000)
    command = ["verify", faulty, "--against", good, "--bisect", "--input", str(song)]
    assert main(command) == 1
    text = capsys.readouterr().out
    assert "first below 110 dB: #2 add 'third'" in text
    assert f"{song}: SDR" in text
    assert main([*command, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"noise", str(song)}
    assert found["noise"]["first_divergence"]["name"] == "third"
    assert found["noise"]["operations_compared"] == 5
    assert found["noise"]["worst"][0]["sdr_db"] < 110
    assert set(found["noise"]["outputs"][0]["stems"]) == {"vocals", "rest"}


def test_the_command_refuses_what_it_cannot_use(paths, tmp_path, capsys):
    assert main(["verify", str(tmp_path / "none.mlpackage")]) == 2
    assert "found nothing, expected a .mlpackage folder" in capsys.readouterr().err
    assert main(["verify", str(paths["good"]), "--weights", "random"]) == 2
    assert "weights: found no --model" in capsys.readouterr().err
    assert main(["verify", str(paths["good"]), "--model", "no-such-model"]) == 2
    assert "no-such-model" in capsys.readouterr().err
    assert main(["verify", str(paths["good"]), "--input", str(tmp_path / "none.wav")]) == 2
    assert "none.wav" in capsys.readouterr().err


@pytest.mark.mac
@pytest.mark.skipif(sys.platform != "darwin", reason="Core ML runs on macOS only")
def test_core_ml_itself_agrees(paths, capsys):
    program = load_program(paths["good"])
    core_ml = CoreMLProgram(program)
    assert verify(core_ml, program, noise(program), threshold=90).passed
    assert main(["verify", str(paths["good"]), "--threshold", "90"]) == 0
    assert "noise, Core ML: SDR" in capsys.readouterr().out
