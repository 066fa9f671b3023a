import bz2
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import pitch
from pitch import WeightsError, load_model
from pitch.cli import main
from pitch.convert_keras import convert_file, read_keras
from pitch.weights import find_weights, read_state_dict

BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def keras_tensors(state):
    """A state dict as Keras would name and lay it out, written independently of the converter."""
    tensors = {}
    for number in range(1, 7):
        convolution = state[f"conv{number}.weight"].numpy()  # [out, in, taps, 1]
        outputs, inputs, taps, _ = convolution.shape
        kernel = np.empty((taps, 1, inputs, outputs), dtype=np.float32)
        for tap in range(taps):
            kernel[tap, 0] = convolution[:, :, tap, 0].T
        tensors[f"conv{number}", "kernel"] = kernel
        tensors[f"conv{number}", "bias"] = state[f"conv{number}.bias"].numpy()
        for variable, name in BATCH_NORM.items():
            tensors[f"conv{number}-BN", variable] = state[f"conv{number}_BN.{name}"].numpy()
    tensors["classifier", "kernel"] = state["classifier.weight"].numpy().T
    tensors["classifier", "bias"] = state["classifier.bias"].numpy()
    return tensors


def write_h5(path, tensors, style="keras 2"):
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if style == "whole model" else file
        for name in ("input", "conv1-maxpool", "flatten"):
            root.create_group(name)
        for (layer, variable), value in tensors.items():
            name = f"{layer}/{layer}/{variable}" if style == "keras 3" else f"{layer}/{layer}_3/{variable}:0"
            root.create_dataset(name, data=value)
    return path


def random_state(name):
    torch.manual_seed(0)
    model = pitch.Crepe(name).eval()
    for key, value in model.state_dict().items():
        if "running" in key:
            value.uniform_(0.5, 1.5)
    return model, {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("style", ["keras 2", "keras 3", "whole model"])
def test_the_official_tiny_weights_come_back_bit_for_bit(style, tmp_path):
    state = read_state_dict(find_weights("tiny"))
    write_h5(tmp_path / "model-tiny.h5", keras_tensors(state), style)
    capacity = convert_file(tmp_path / "model-tiny.h5", tmp_path / "tiny.pth")
    assert capacity.name == "tiny"
    converted = read_state_dict(tmp_path / "tiny.pth")
    assert converted.keys() == state.keys()
    for key, value in state.items():
        assert converted[key].dtype == value.dtype
        assert torch.equal(converted[key], value), key


@pytest.mark.skipif(
    "CREPE_TINY_H5" not in os.environ, reason="CREPE_TINY_H5 does not name the official model-tiny.h5"
)
def test_the_official_file_itself_gives_torchcrepes_tensors(tmp_path):
    convert_file(os.environ["CREPE_TINY_H5"], tmp_path / "tiny.pth")
    official = read_state_dict(find_weights("tiny"))
    converted = read_state_dict(tmp_path / "tiny.pth")
    assert converted.keys() == official.keys()
    assert all(torch.equal(converted[key], value) for key, value in official.items())


@pytest.mark.parametrize("name", list(pitch.CAPACITIES))
def test_every_capacity_is_recognised_and_computes_the_same(name, tmp_path, capsys):
    model, state = random_state(name)
    path = write_h5(tmp_path / "model.h5", keras_tensors(state))
    if name == "tiny":
        path = tmp_path / "model.h5.bz2"
        path.write_bytes(bz2.compress((tmp_path / "model.h5").read_bytes(), 1))
    assert main(["convert", str(path), "-o", str(tmp_path / "out/w.pth")]) == 0
    printed = capsys.readouterr().out
    assert f"CREPE {name}, {pitch.CAPACITIES[name].parameters:,} parameters" in printed
    frames = torch.randn(2, 1024)
    with torch.no_grad():
        assert torch.equal(load_model(name, weights=tmp_path / "out/w.pth")(frames), model(frames))


def changed(tensors, key, value):
    return {**tensors, key: value} if value is not None else {k: v for k, v in tensors.items() if k != key}


WRONG_TENSORS = {
    "one is missing": (
        ("conv4-BN", "beta"),
        None,
        "found no tensor for conv4_BN.bias, expected all of CREPE tiny",
    ),
    "conv1 is missing": (("conv1", "bias"), None, "found no tensor conv1/bias"),
    "one too many": (
        ("conv7", "kernel"),
        np.zeros((4, 4), np.float32),
        "found a tensor conv7/kernel that no CREPE has",
    ),
    "unknown variable": (
        ("conv1", "gain"),
        np.zeros(4, np.float32),
        "found a tensor conv1/gain that no CREPE has",
    ),
    "wrong shape": (
        ("conv2", "bias"),
        np.zeros(17, np.float32),
        r"found conv2.bias of shape \(17,\), expected \(16,\) \(CREPE tiny\)",
    ),
    "no capacity": (
        ("conv1", "bias"),
        np.zeros(100, np.float32),
        "found 100 channels in conv1, expected those of a capacity",
    ),
    "integers": (
        ("conv1", "bias"),
        np.zeros(128, np.int64),
        "found a tensor conv1/conv1_3/bias:0 of int64 and 1 axes",
    ),
    "three axes": (("conv1", "bias"), np.zeros((1, 1, 128), np.float32), "bias:0 of float32 and 3 axes"),
}


@pytest.mark.parametrize("case", WRONG_TENSORS)
def test_every_tensor_is_accounted_for(case, tmp_path):
    key, value, message = WRONG_TENSORS[case]
    _, state = random_state("tiny")
    path = write_h5(tmp_path / "m.h5", changed(keras_tensors(state), key, value))
    with pytest.raises(WeightsError, match=message):
        read_keras(path)


def truncated(path: Path) -> None:
    _, state = random_state("tiny")
    write_h5(path, keras_tensors(state))
    path.write_bytes(path.read_bytes()[:100_000])


WRONG_FILES = {
    "absent": (lambda path: None, "found no file"),
    "folder": (lambda path: path.mkdir(), "found a folder"),
    "empty": (lambda path: path.write_bytes(b""), "found a file that begins with b''"),
    "torch": (lambda path: torch.save({}, path), "found a file that begins with b'PK"),
    "truncated": (truncated, "found a damaged HDF5 file"),
    "truncated bzip2": (
        lambda path: path.write_bytes(bz2.compress(b"\x89HDF" * 9999)[:40]),
        "found a damaged or truncated bzip2 file",
    ),
    "bzip2 of text": (
        lambda path: path.write_bytes(bz2.compress(b"hello")),
        "found a file that begins with b'hello'",
    ),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_wrong_files_are_refused_by_name_and_nothing_is_written(case, tmp_path, capsys):
    write, message = WRONG_FILES[case]
    path = tmp_path / "model.h5"
    write(path)
    assert main(["convert", str(path), "-o", str(tmp_path / "w.pth")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"pitch: error: {path}: {message}")
    assert error.endswith("expected the Keras weights of a CREPE (.h5 or .h5.bz2)\n")
    assert error.count("\n") == 1
    assert not (tmp_path / "w.pth").exists()
