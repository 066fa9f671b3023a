import json
import logging
import sys
import warnings

import numpy as np
import pytest
import torch

import pitch
from audio_io.errors import ConfigError
from pitch import decode, load_model
from pitch.cli import main
from pitch.core import normalize_frames, preprocess
from pitch.export import parity
from pitch.export.config import ExportConfig
from pitch.export.formats import read_file
from pitch.export.job import ParityError, export_model
from pitch.extras import MissingExtraError

OPSETS = {"tiny": 18, "small": 23}  # the least and the greatest version of operators; 20 for the others
LENGTHS = {1: 1, 100: 1, 1023: 7, 1024: 7, 16000: 101}  # samples: frames at a hop of 160


def noise(*shape, seed=3):
    """Noise with an offset and little level, as a recording may have."""
    return 0.02 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 0.1


def posteriors_of(network, waveform, hop_length):
    (frames,) = preprocess(waveform, 16000, hop_length)
    return network(frames)


def random_weights(name, path):
    """Weights whose BatchNorm statistics are not those of a fresh network."""
    torch.manual_seed(0)
    state = pitch.Crepe(name).state_dict()
    for key, value in state.items():
        if "running_mean" in key:
            value.normal_(0.1, 0.05)
        elif "running_var" in key:
            value.uniform_(0.1, 0.4)
    torch.save(state, path)
    return path


def open_onnx(path):
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in {"medium", "large"} else name
        for name in pitch.CAPACITIES
    ],
)
def test_onnx_frames_of_every_capacity(name, tmp_path, capfd, caplog):
    caplog.set_level(logging.WARNING)
    weights, path, opset = random_weights(name, tmp_path / "w.pth"), tmp_path / "m.onnx", OPSETS.get(name, 20)
    options = ["--model", name, "--weights", str(weights), "--opset", str(opset)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["export", *options, "-o", str(path)]) == 0
    printed = capfd.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == f"CREPE {name}, onnx"
    assert lines[2] == "  output  posteriors [N, 360]"
    assert float(lines[3].split()[6]) < 1e-5
    assert printed.err == ""
    assert not caplog.records
    onnx = pytest.importorskip("onnx")
    if name in OPSETS:
        onnx.checker.check_model(str(path), full_check=True)
        assert [entry.version for entry in onnx.load(path).opset_import if not entry.domain] == [opset]
    network = load_model(name, weights=weights)
    session = open_onnx(tmp_path / "m.onnx")
    for count in (1, 4):
        frames = noise(count, 1024)
        (found,) = session.run(["posteriors"], {"frames": frames.numpy()})
        expected = network(normalize_frames(frames))
        assert found.shape == (count, 360)
        assert np.abs(found - expected.numpy()).max() < 1e-5
    # The network tells these frames apart, so that equality is not that of a constant.
    assert expected.std(dim=0).max() > 1e-3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "w.pth"]  # one file holds all


@pytest.fixture(scope="module")
def waveform_onnx(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    config = ExportConfig("tiny", input="waveform", decode="local_average")
    return path, export_model(path, config)


@pytest.mark.parametrize("length", LENGTHS)
def test_onnx_waveforms_of_any_length(length, waveform_onnx):
    path, _ = waveform_onnx
    waveform = noise(1, length)
    posteriors, frequency, periodicity = open_onnx(path).run(None, {"waveform": waveform.numpy()})
    expected = posteriors_of(load_model("tiny"), waveform, 160)
    assert posteriors.shape == (1, LENGTHS[length], 360)
    assert np.abs(posteriors[0] - expected.numpy()).max() < 1e-5
    probabilities = torch.from_numpy(posteriors).transpose(1, 2)
    bins = probabilities.argmax(dim=1)
    np.testing.assert_allclose(frequency, decode.local_average(probabilities, bins).numpy(), rtol=1e-5)
    np.testing.assert_allclose(periodicity, posteriors.max(axis=2), atol=0)


def test_onnx_tracks_the_pitch_of_a_batch(waveform_onnx):
    path, _ = waveform_onnx
    time = torch.arange(8000) / 16000
    tones = torch.stack(
        [sum(torch.sin(2 * torch.pi * k * f0 * time) / k for k in range(1, 6)) for f0 in (220.0, 330.0)]
    )
    _, frequency, periodicity = open_onnx(path).run(None, {"waveform": tones.numpy()})
    assert frequency.shape == periodicity.shape == (2, 51)
    cents = 1200 * np.log2(np.median(frequency, axis=1) / [220.0, 330.0])
    assert np.abs(cents).max() < 15
    assert np.median(periodicity) > 0.8


def test_silence_and_constants_are_finite(waveform_onnx):
    path, _ = waveform_onnx
    silence = np.zeros((1, 4000), np.float32)
    outputs = open_onnx(path).run(None, {"waveform": silence})
    network = load_model("tiny")
    assert np.abs(outputs[0] - network(torch.zeros(1, 1024)).numpy()).max() < 1e-5
    for level in (0.3, 1e-8):
        outputs += open_onnx(path).run(None, {"waveform": silence + np.float32(level)})
    assert all(np.isfinite(output).all() for output in outputs)


def test_the_file_says_what_it_is(waveform_onnx):
    path, exported = waveform_onnx
    session = open_onnx(path)
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata == exported.metadata
    assert metadata | {"weights_sha256": "", "version": ""} == {
        "capacity": "tiny",
        "sample_rate": "16000",
        "hop_length": "160",
        "input": "waveform",
        "decode": "local_average",
        "licence": "MIT (code and weights)",
        "weights_sha256": "",
        "version": "",
    }
    assert [entry.shape for entry in session.get_inputs()] == [["batch", "samples"]]
    assert [entry.shape for entry in session.get_outputs()] == [
        ["batch", "frames", 360],
        ["batch", "frames"],
        ["batch", "frames"],
    ]


@pytest.mark.parametrize("decoder", ["none", "argmax"])
def test_torchscript_runs_alone(decoder, tmp_path):
    config = ExportConfig("tiny", "torchscript", "waveform", hop_length=512, decode=decoder)
    exported = export_model(tmp_path / "tiny.pt", config)
    extra = {"pitch.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(tmp_path / "tiny.pt", _extra_files=extra)
    assert json.loads(extra["pitch.json"]) == exported.metadata
    for length in (300, 5000):
        outputs = module(noise(1, length))
        posteriors = outputs if decoder == "none" else outputs[0]
        assert posteriors.shape == (1, 1 + length // 512, 360)
        expected = posteriors_of(load_model("tiny"), noise(1, length), 512)
        assert (posteriors[0] - expected).abs().max() < 1e-5
        if decoder == "argmax":
            _, frequency = decode.argmax(posteriors.transpose(1, 2), dither=False)
            torch.testing.assert_close(outputs[1], frequency, rtol=1e-6, atol=0)


# At a hop of one window the frames do not overlap, which torch.export would build upon.
@pytest.mark.parametrize(("source", "hop"), [("frames", 160), ("waveform", 1024)])
def test_a_program_of_torch_export_runs_alone(source, hop, tmp_path):
    config = ExportConfig("tiny", "exported", source, hop_length=hop)
    export_model(tmp_path / "tiny.pt2", config)
    module = torch.export.load(tmp_path / "tiny.pt2").module()
    network = load_model("tiny")
    if source == "frames":
        for count in (1, 3):
            frames = noise(count, 1024)
            assert (module(frames) - network(normalize_frames(frames))).abs().max() < 1e-5
        return
    for length in (hop, 3 * hop, 6000):  # a whole number of hops, and not
        found = module(noise(1, length))[0]
        assert (found - posteriors_of(network, noise(1, length), hop)).abs().max() < 1e-5


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch, capsys):
    # The reference of the check is changed, not its verdict.
    monkeypatch.setattr(parity, "normalize_frames", lambda frames: 1.001 * normalize_frames(frames))
    path = tmp_path / "tiny.pt"
    assert main(["export", "--model", "tiny", "--format", "torchscript", "-o", str(path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"pitch: {path}: the file differs from the network by ")
    assert error.endswith("more than 1e-05; it was not kept\n")
    assert list(tmp_path.iterdir()) == []


def test_nan_is_a_difference(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "pitch.export.graph.normalize_frames",
        lambda frames: (frames - frames.mean(1, keepdim=True)) / frames.std(1, keepdim=True),
    )
    with pytest.raises(ParityError, match="differs from the network by NaN"):
        export_model(tmp_path / "tiny.pt", ExportConfig("tiny", "torchscript"))


BAD_SETTINGS = {
    "model": ({"model": "huge"}, "model: found 'huge', expected one of tiny"),
    "format": ({"format": "coreml"}, "format: found 'coreml', expected one of onnx, torchscript, exported"),
    "hop": ({"hop_length": 0}, "hop_length: found 0, expected at least 1"),
    "hop of frames": (
        {"hop_length": 80},
        "hop_length: found 80 with input 'frames', expected input 'waveform', which is cut",
    ),
    "opset": ({"opset": 17}, "opset: found 17, expected from 18 to 23"),
    "opset elsewhere": (
        {"opset": 18, "format": "torchscript"},
        "opset: found 18 with format 'torchscript', expected format 'onnx'",
    ),
    "decode": ({"decode": "viterbi"}, "decode: found 'viterbi', expected one of none, argmax, local_average"),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_bad_settings_are_named(case):
    settings, message = BAD_SETTINGS[case]
    with pytest.raises(ConfigError) as caught:
        ExportConfig(**settings)
    assert str(caught.value).startswith(message)


def test_wrong_weights_leave_no_file(tmp_path, capsys):
    weights = random_weights("small", tmp_path / "w.pth")
    assert main(["export", "--model", "tiny", "--weights", str(weights), "-o", str(tmp_path / "m.onnx")]) == 2
    assert "found weights of 'small', expected weights of 'tiny'" in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()


def test_without_the_extra_the_message_names_it(tmp_path, monkeypatch):
    found = sys.modules["importlib.util"].find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "onnxscript" else found(name)
    )
    with pytest.raises(MissingExtraError) as caught:
        export_model(tmp_path / "m.onnx", ExportConfig("tiny"))
    assert str(caught.value) == (
        "format onnx: onnxscript is not installed; run with the extra: uv run --package pitch --extra export"
    )


def test_the_reader_runs_what_the_writer_wrote(tmp_path):
    config = ExportConfig("tiny", "torchscript")
    export_model(tmp_path / "m.pt", config)
    (posteriors,) = read_file(tmp_path / "m.pt", config)(noise(2, 1024))
    assert posteriors.shape == (2, 360)
