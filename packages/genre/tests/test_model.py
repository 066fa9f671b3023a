from dataclasses import replace
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import nn

from audio_io.errors import ConfigError, FileError
from genre import checkpoint as checkpoints
from genre.checkpoint import Checkpoint
from genre.config import FeatureConfig, SeparationConfig, TrainConfig
from genre.features import Statistics
from genre.model import GenreNet, PretrainedWeightsError, build_network, widened

SMALL = TrainConfig(backbone="efficientnet_b0", weights="none", frozen_stages=3)


def randomised(network, seed=0):
    """BatchNorm as after training: statistics and factors that are not 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
    network._folded.clear()
    return network


def test_the_network_of_the_brief():
    network = GenreNet(TrainConfig(), 10)
    assert len(network.features) == 9
    assert network.frozen_stages == 6
    layers = [type(layer).__name__ for layer in network.head]
    assert layers == [
        "Dropout",
        "Linear",
        "ReLU",
        "Dropout",
        "Linear",
    ]
    assert (network.head[0].p, network.head[3].p) == (0.5, 0.3)
    assert (network.head[1].in_features, network.head[1].out_features) == (1536, 512)
    assert (network.head[4].in_features, network.head[4].out_features) == (512, 10)
    first = network.features[0][0]
    assert first.weight.shape == (40, 4, 3, 3)
    assert (first.stride, first.padding, first.bias) == ((2, 2), (1, 1), None)
    frozen = {n.split(".")[1] for n, p in network.named_parameters() if not p.requires_grad}
    assert frozen == set("012345")


def test_the_first_convolution_keeps_the_weights_and_adds_their_mean(tmp_path):
    stock = torchvision.models.efficientnet_b0()
    torch.save(stock.state_dict(), tmp_path / "weights.pth")
    network = build_network(replace(SMALL, weights=str(tmp_path / "weights.pth")), 3)
    old, new = stock.features[0][0].weight, network.features[0][0].weight
    assert torch.equal(new[:, :3], old)
    assert torch.equal(new[:, 3], old.mean(dim=1))
    others = stock.features[1:].state_dict()
    assert all(torch.equal(v, others[k]) for k, v in network.features[1:].state_dict().items())
    # A fourth channel of zeros leaves torchvision's own features.
    x = torch.randn(1, 3, 64, 64)
    widened_input = torch.cat([x, torch.zeros(1, 1, 64, 64)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(network.eval().features(widened_input), stock.eval().features(x))


def test_frozen_means_weights_statistics_and_gradients():
    network = randomised(GenreNet(SMALL, 3)).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    network(torch.randn(2, 4, 64, 64)).sum().backward()
    optimizer.step()
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert not any(k.startswith(("features.0.", "features.1.", "features.2.")) for k in changed)
    assert any(k.startswith("features.3.") and "running_mean" in k for k in changed)
    assert all(p.grad is None for p in network.features[:3].parameters())
    assert not any(module.training for stage in network.features[:3] for module in stage.modules())


def test_folding_and_channels_last_change_nothing():
    network = randomised(GenreNet(replace(SMALL, frozen_stages=6), 3)).eval()
    x = torch.randn(2, 4, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(network(x), network.plain_forward(x), rtol=1e-4, atol=1e-5)
        assert not any(isinstance(m, nn.BatchNorm2d) for m in network._folded[0].modules())
        # Other weights, another copy.
        other = randomised(GenreNet(replace(SMALL, frozen_stages=6), 3), seed=1)
        network.load_state_dict(other.state_dict())
        torch.testing.assert_close(network(x), other.eval().plain_forward(x), rtol=1e-4, atol=1e-5)
    assert not any("_folded" in name for name in network.state_dict())


def test_all_may_be_trained_or_all_but_the_head_frozen():
    x = torch.randn(2, 4, 64, 64)
    everything = GenreNet(replace(SMALL, frozen_stages=0), 3).train()
    everything(x).sum().backward()
    assert everything.features[0][0].weight.grad is not None
    head = GenreNet(replace(SMALL, frozen_stages=9), 3).train()
    assert {n.split(".")[0] for n, p in head.named_parameters() if p.requires_grad} == {"head"}
    head(x).sum().backward()


def test_the_fourth_channel_is_the_mean():
    weight = torch.randn(8, 3, 3, 3)
    assert torch.equal(widened(weight)[:, 3], weight.mean(dim=1))


def test_settings_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(ConfigError, match="backbone: found 'resnet18'"):
        GenreNet(TrainConfig(backbone="resnet18"), 10)
    with pytest.raises(FileError, match="no file"):
        build_network(replace(SMALL, weights=str(tmp_path / "none.pth")), 3)
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(FileError, match="no weights"):
        build_network(replace(SMALL, weights=str(tmp_path / "text.pth")), 3)
    torch.save(torchvision.models.efficientnet_b1().state_dict(), tmp_path / "b1.pth")
    with pytest.raises(FileError, match="do not fit"):
        build_network(replace(SMALL, weights=str(tmp_path / "b1.pth")), 3)


def test_missing_imagenet_weights_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    with pytest.raises(PretrainedWeightsError) as raised:
        build_network(TrainConfig(), 10)
    message = str(raised.value)
    assert "efficientnet_b3_rwightman-b3899882.pth: found neither in" in message
    assert str(tmp_path) in message
    assert "https://download.pytorch.org/models/efficientnet_b3_rwightman-b3899882.pth" in message


def make_checkpoint(n_classes=3):
    network = GenreNet(SMALL, n_classes)
    return Checkpoint(
        features=FeatureConfig(duration=2.0, reference="stem"),
        separation=SeparationConfig(separator="stems"),
        train=SMALL,
        labels=("a", "b", "c"),
        statistics=Statistics((-40.0, -41.0, -42.0, -43.0), (9.0, 10.0, 11.0, 12.0)),
        state=network.state_dict(),
        temperature=1.5,
        training=("x", "y"),
        scores={"val_accuracy": 0.5},
    )


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    original = make_checkpoint()
    checkpoints.save(tmp_path / "best_model.pth", original)
    found = checkpoints.load(tmp_path / "best_model.pth")
    assert replace(found, state={}) == replace(original, state={})
    assert all(torch.equal(found.state[k], v) for k, v in original.state.items())
    assert not found.network().training


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(FileError, match="found nothing"):
        checkpoints.load(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("text")
    with pytest.raises(FileError, match="cannot be read"):
        checkpoints.load(tmp_path / "text.pth")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(FileError, match="another kind"):
        checkpoints.load(tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="weights of another network"):
        replace(make_checkpoint(), labels=("a",)).network()
