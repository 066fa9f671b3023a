"""The converted network computes what Keras computes, from the files that Keras writes."""

import json
import runpy
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import pitch
from pitch import FastCrepe, WeightsError, load_model
from pitch.cli import main
from pitch.convert_keras import read_keras

GOLDENS = Path(__file__).parent / "goldens"
KERAS = runpy.run_path(str(GOLDENS / "make_keras_goldens.py"))
LAYOUTS = json.loads((GOLDENS / "keras_layouts.json").read_text(encoding="utf-8"))


def write_as_keras(path, layout, tensors):
    """A file with every dataset and group that Keras put into its own, the optimizer's included."""
    with h5py.File(path, "w") as file:
        for name, (layer, variable) in layout["tensors"].items():
            file[name] = tensors[layer, variable]
        for name, (dtype, shape) in layout["others"].items():
            file[name] = np.zeros(shape, dtype)
        for name in layout["empty_groups"]:
            file.create_group(name)
    return path


@pytest.mark.parametrize("name", list(pitch.CAPACITIES))
def test_every_capacity_computes_what_keras_computed(name, tmp_path, capsys):
    tensors = KERAS["keras_weights"](name)
    source = write_as_keras(tmp_path / "model.h5", LAYOUTS["keras 2, model.save_weights to .h5"], tensors)
    assert main(["convert", str(source), "-o", str(tmp_path / "w.pth")]) == 0
    assert f"CREPE {name}," in capsys.readouterr().out
    network = load_model(name, weights=tmp_path / "w.pth")
    with np.load(GOLDENS / "keras_posteriors.npz") as goldens:
        golden = torch.from_numpy(goldens[name])
    # The golden says something: it differs from frame to frame and is not saturated.
    assert golden.std(dim=0).mean() > 0.03
    assert 0.01 < golden.min() < 0.3
    assert 0.7 < golden.max() < 0.99
    frames = torch.from_numpy(KERAS["frames"]())
    assert (network(frames) - golden).abs().max() < 1e-5
    assert (FastCrepe(network)(frames) - golden).abs().max() < 1e-5


@pytest.mark.parametrize("how", list(LAYOUTS))
def test_every_layout_that_keras_writes_is_read(how, tmp_path):
    tensors = KERAS["keras_weights"]("tiny")
    capacity, state = read_keras(write_as_keras(tmp_path / "model.h5", LAYOUTS[how], tensors))
    assert capacity.name == "tiny"
    network = pitch.Crepe("tiny").eval()
    network.load_state_dict(state)
    with np.load(GOLDENS / "keras_posteriors.npz") as goldens, torch.no_grad():
        difference = network(torch.from_numpy(KERAS["frames"]())) - torch.from_numpy(goldens["tiny"])
    assert difference.abs().max() < 1e-5


def test_the_layouts_are_those_of_two_generations_with_an_optimizer_beside_the_weights():
    assert {how.split(",")[0] for how in LAYOUTS} == {"keras 2", "keras 3"}
    first = {how: next(name for name, key in LAYOUTS[how]["tensors"].items() if key == ["conv1", "kernel"])
             for how in LAYOUTS}  # fmt: skip
    assert first == {
        "keras 3, model.save": "model_weights/conv1/conv1/kernel",
        "keras 3, model.save_weights": "layers/conv2d/vars/0",
        "keras 2, model.save": "model_weights/conv1/conv1/kernel:0",
        "keras 2, model.save_weights": "layers/conv2d/vars/0",
        "keras 2, model.save_weights to .h5": "conv1/conv1/kernel:0",
    }
    others = LAYOUTS["keras 3, model.save_weights"]["others"]
    assert [512, 1, 1, 128] in [shape for _, shape in others.values()]


@pytest.mark.parametrize("extra", ["layers/conv2d_6/vars/0", "layers/lstm/vars/0", "layers/conv2d/vars/2"])
def test_a_numbered_layer_that_no_crepe_has_is_refused(extra, tmp_path):
    path = write_as_keras(
        tmp_path / "m.h5", LAYOUTS["keras 3, model.save_weights"], KERAS["keras_weights"]("tiny")
    )
    with h5py.File(path, "a") as file:
        file[extra] = np.zeros((64, 1, 4, 4), np.float32)
    with pytest.raises(WeightsError, match=r"found a tensor .* that no CREPE has"):
        read_keras(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(pitch.CAPACITIES))
def test_keras_itself_gives_the_goldens_and_a_file_that_is_read(name, tmp_path):
    pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")
    model = KERAS["build"](keras, name)
    frames = KERAS["frames"]()
    posteriors = torch.from_numpy(model.predict(frames, verbose=0))
    with np.load(GOLDENS / "keras_posteriors.npz") as goldens:
        assert (posteriors - torch.from_numpy(goldens[name])).abs().max() < 1e-5
    for file in ("m.h5", "m.weights.h5"):
        (model.save if file == "m.h5" else model.save_weights)(str(tmp_path / file))
        assert main(["convert", str(tmp_path / file), "-o", str(tmp_path / "w.pth")]) == 0
        network = load_model(name, weights=tmp_path / "w.pth")
        assert (network(torch.from_numpy(frames)) - posteriors).abs().max() < 1e-5
