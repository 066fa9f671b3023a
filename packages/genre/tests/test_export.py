from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from genre import checkpoint as checkpoints
from genre.checkpoint import Checkpoint
from genre.cli import main
from genre.config import FeatureConfig, SeparationConfig, TrainConfig
from genre.export import (
    ExportError,
    GenreGraph,
    example_stems,
    expected_probabilities,
    export,
    resize_matrix,
    run_onnx,
)
from genre.features import Statistics, StemMel, picture, resize
from genre.model import GenreNet
from genre.predict import Predictor

FEATURES = FeatureConfig(duration=1.0, n_mels=32, image_size=64)


@pytest.fixture(scope="module")
def stems():
    """Tones, one stem silent, and noise."""
    windows = [
        example_stems(FEATURES),
        0.1 * torch.randn(1, 4, 22050, generator=torch.Generator().manual_seed(0)),
    ]
    joined = torch.cat(windows)
    joined[1, 2] = 0
    return joined


@pytest.fixture(scope="module")
def checkpoint(stems):
    torch.manual_seed(0)
    config = TrainConfig(backbone="efficientnet_b0", weights="none", frozen_stages=2)
    network = GenreNet(config, 3)
    statistics = Statistics((-40.0, -41.0, -42.0, -43.0), (9.0, 10.0, 11.0, 12.0))
    # With its initial statistics, a network from scratch gives the same for every input.
    pictures = picture(StemMel(FEATURES)(stems), statistics, FEATURES)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over the batches
    network.features.train()
    with torch.no_grad():
        for _ in range(4):
            network.features(pictures + 0.5 * torch.randn_like(pictures))
    return Checkpoint(
        features=FEATURES,
        separation=SeparationConfig(separator="stems"),
        train=config,
        labels=("a", "b", "c"),
        statistics=statistics,
        state=network.state_dict(),
        temperature=0.02,  # the logits are small
    )


def test_waveforms_go_in_and_the_probabilities_of_prediction_come_out(checkpoint, stems, tmp_path, capsys):
    checkpoints.save(tmp_path / "best_model.pth", checkpoint)
    target = tmp_path / "genre.onnx"
    assert main(["export", str(tmp_path / "best_model.pth"), "-o", str(target)]) == 0
    assert "by onnxruntime" in capsys.readouterr().out
    # Three windows, where the export was made with two.
    found = run_onnx(target, stems)
    predictor = Predictor(checkpoint, device="cpu")
    expected = torch.stack([torch.from_numpy(predictor.predict_stems(x).probabilities) for x in stems])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (expected[0] - expected[2]).abs().max() > 0.01  # the input matters
    model = onnx.load(target)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["labels"] == '["a", "b", "c"]'
    assert (metadata["sample_rate"], metadata["samples"]) == ("22050", "22050")
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        4,
        22050,
    ]


@pytest.mark.parametrize("image", ["native", "resize"])
@pytest.mark.parametrize("reference", ["stem", "common"])
def test_the_graph_computes_every_kind_of_picture(checkpoint, image, reference):
    features = replace(checkpoint.features, image=image, reference=reference)
    other = replace(checkpoint, features=features)
    stems = example_stems(features)
    with torch.no_grad():
        found = GenreGraph(other).eval()(stems)
    torch.testing.assert_close(found, expected_probabilities(other, stems), atol=1e-5, rtol=0)


def test_a_file_that_computes_something_else_is_not_kept(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("genre.export._write", lambda *arguments: arguments[3].write_bytes(b"graph"))
    monkeypatch.setattr("genre.export.run_onnx", lambda *_: torch.full((2, 3), float("nan")))
    with pytest.raises(ExportError, match="away from PyTorch"):
        export(checkpoint, tmp_path / "genre.onnx")
    assert not list(tmp_path.iterdir())


def test_resizing_is_two_products():
    x = torch.randn(2, 4, 32, 130)
    expected = resize(x, FeatureConfig(image_size=64))
    found = resize_matrix(32, 64) @ x @ resize_matrix(130, 64).T
    np.testing.assert_allclose(found, expected, atol=1e-5)
