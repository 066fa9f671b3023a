import pytest
import timm
import torch
from torch import nn

from audio_io.errors import ConfigError, FileError
from mri2speech.acoustic import checkpoint
from mri2speech.acoustic.config import AcousticConfig
from mri2speech.acoustic.loss import MaskedMSEMAE
from mri2speech.acoustic.model import AcousticModel
from mri2speech.config import MelConfig
from mri2speech.features import Scaler

FULL = AcousticConfig()
SMALL = AcousticConfig(backbone="lcnet_035", image_size=64, hidden=16)
SCALER = Scaler(-41.5, 17.25, MelConfig())


class Original(nn.Module):
    """The architecture as the brief puts it: frames replicated to three channels, all in plain PyTorch."""

    def __init__(self, config):
        super().__init__()
        self.cnn = timm.create_model(config.backbone, features_only=True)
        self.rnn = nn.LSTM(
            self.cnn.feature_info.channels()[-1], config.hidden, batch_first=True, bidirectional=True
        )
        self.fc = nn.Linear(config.hidden, config.n_mels)
        self.hidden = config.hidden

    def forward(self, mri):
        x = self.cnn(mri.flatten(0, 1)[:, None].repeat(1, 3, 1, 1))[-1]
        y, _ = self.rnn(x.mean((2, 3)).view(*mri.shape[:2], -1))
        return self.fc(y[..., : self.hidden] + y[..., self.hidden :])


def film(batch=2, frames=5, size=64, seed=0):
    return torch.rand(batch, frames, size, size, generator=torch.Generator().manual_seed(seed))


def model(config=SMALL, seed=0):
    torch.manual_seed(seed)
    return AcousticModel(config)


def randomised(network):
    """Statistics of BatchNorm as after training, so that evaluation mode is not the identity."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.2, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    return network


@pytest.mark.parametrize("config", [FULL, SMALL], ids=["full", "small"])
def test_one_channel_gives_the_numbers_of_three_in_a_checkpoint_of_the_original(tmp_path, config):
    torch.manual_seed(0)
    original = randomised(Original(config)).eval()
    torch.save({"model_state_dict": original.state_dict()}, tmp_path / "mri.pt")
    SCALER.save(tmp_path / "scaler.json")
    ours, scaler, mel = checkpoint.load(tmp_path / "mri.pt", expected=config, scaler=tmp_path / "scaler.json")
    assert (scaler, mel) == (SCALER, SCALER.mel)
    frames = film(1, 3, config.image_size)
    with torch.no_grad():
        expected, found = original(frames), ours(frames)
    assert expected.std() > 1e-3
    assert (found - expected).abs().max() < 1e-5
    with pytest.raises(ConfigError, match=r"scaler: found none.*mri.pt holds weights alone"):
        checkpoint.load(tmp_path / "mri.pt", expected=config)
    Scaler(-50.0, 20.0, MelConfig(n_mels=80)).save(tmp_path / "scaler.json")
    with pytest.raises(FileError, match=r"scaler.json: found made with n_mels = 80, expected n_mels = 64"):
        checkpoint.load(tmp_path / "mri.pt", expected=config, scaler=tmp_path / "scaler.json")
    torch.save({**original.state_dict(), "other.weight": torch.zeros(64, 8)}, tmp_path / "mri.pt")
    SCALER.save(tmp_path / "scaler.json")
    with pytest.raises(FileError, match=r"found other.weight, a second one of head.weight"):
        checkpoint.load(tmp_path / "mri.pt", expected=config, scaler=tmp_path / "scaler.json")


def test_the_full_model_takes_a_training_step_and_a_round_trip(tmp_path):
    network = model(FULL).train()
    assert network.features(film(1, 2, 256)[0][:, None]).shape == (2, 208, 8, 8)
    mri, target = film(1, 4, 256), torch.randn(1, 4, 64)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    before = {key: value.clone() for key, value in network.named_parameters()}
    predicted = network(mri)
    assert predicted.shape == (1, 4, 64)
    MaskedMSEMAE()(predicted, target, torch.ones(1, 4, dtype=torch.bool), 0).total.backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in network.parameters())
    optimizer.step()
    assert all(not torch.equal(value, before[key]) for key, value in network.named_parameters())
    checkpoint.save(tmp_path / "best.pt", network, SCALER)
    read, scaler, _ = checkpoint.load(tmp_path / "best.pt", expected=FULL)
    assert scaler == SCALER
    with torch.no_grad():
        assert torch.equal(read(mri), network.eval()(mri))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_padding_has_no_influence(training, layers):
    config = AcousticConfig(backbone="lcnet_035", image_size=64, hidden=16, layers=layers, dropout=0.0)
    short, long = film(1, 3, seed=1), film(1, 7, seed=2)
    results = []
    for filling in (0.0, 1e3):
        network = randomised(model(config)).train(training)
        padded = torch.cat([nn.functional.pad(short, (0, 0, 0, 0, 0, 4), value=filling), long])
        predicted = network(padded, torch.tensor([3, 7]))
        (predicted[0, :3].square().sum() + predicted[1].square().sum()).backward()
        results.append((predicted[0, :3], network.lstm.weight_ih_l0.grad, network.state_dict()))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    if not training:
        torch.testing.assert_close(results[0][0], network(short)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("backbone", ["tf_efficientnetv2_b2", "lcnet_035", "test_resnet", "test_vit"])
@pytest.mark.parametrize("segments", [1, 2])
def test_activation_checkpoints_change_neither_gradients_nor_statistics(backbone, segments):
    config = AcousticConfig(backbone=backbone, image_size=32, hidden=8, dropout=0.0)
    if backbone == "test_vit":
        config = AcousticConfig(backbone=backbone, image_size=256, hidden=8, dropout=0.0)
    results = []
    for used in (0, segments):
        network = model(config).train()
        network.checkpoint_segments = used
        network(film(2, 2, config.image_size)).square().mean().backward()
        gradients = {key: part.grad for key, part in network.named_parameters() if part.grad is not None}
        results.append((gradients, network.state_dict()))
    assert any(key.startswith("backbone") for key in results[0][0])
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)


def test_frame_by_frame_equals_the_whole_film_without_the_backward_direction():
    config = AcousticConfig(backbone="lcnet_035", image_size=64, hidden=16, bidirectional=False, layers=2)
    network, frames, state = randomised(model(config)).eval(), film(2, 5), None
    with torch.no_grad():
        whole = network(frames)
        for i in range(5):
            mel, state = network.step(frames[:, i], state)
            torch.testing.assert_close(mel, whole[:, i], rtol=0, atol=1e-5)
    with pytest.raises(ConfigError, match="bidirectional: found true, expected false"):
        model().step(frames[:, 0])


def test_larger_frames_are_averaged_and_odd_ones_refused():
    network = model().eval()
    frames = film(1, 2, 128)
    averaged = frames.view(1, 2, 64, 2, 64, 2).mean((3, 5))
    torch.testing.assert_close(network(frames), network(averaged), rtol=0, atol=1e-6)
    with pytest.raises(
        ConfigError, match="found frames of 100x100, expected square frames, a multiple of 64"
    ):
        network(film(1, 2, 100))


def test_an_earlier_stage_is_a_finer_map_and_leaves_out_what_follows():
    finer = model(AcousticConfig(backbone="lcnet_035", image_size=64, hidden=16, stage=-2))
    assert finer.features(film()[0][:, None]).shape[-2:] == (4, 4)
    finer(film()).sum().backward()
    assert all(part.grad is not None for part in finer.parameters())


def test_a_checkpoint_of_another_architecture_is_refused_by_what_differs_first(tmp_path):
    path = tmp_path / "best.pt"
    checkpoint.save(path, model(), SCALER)
    with pytest.raises(FileError, match=r"best.pt: found a model with backbone = lcnet_035, expected"):
        checkpoint.load(path, expected=FULL)
    content = torch.load(path, weights_only=True)
    renamed = content | {"state_dict": dict(content["state_dict"])}
    renamed["state_dict"]["backbone.extra"] = renamed["state_dict"].pop("lstm.bias_hh_l0")
    torch.save(renamed, path)
    with pytest.raises(FileError, match=r"without lstm.bias_hh_l0, expected lstm.bias_hh_l0 64"):
        checkpoint.load(path)
    torch.save(model(AcousticConfig(backbone="lcnet_035", hidden=8)).state_dict(), path)
    SCALER.save(tmp_path / "scaler.json")
    with pytest.raises(FileError, match=r"lstm.weight_ih_l0 32x176, expected 64x176"):
        checkpoint.load(path, expected=SMALL, scaler=tmp_path / "scaler.json")


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_what_is_no_checkpoint_is_refused_by_name(tmp_path, content):
    path = tmp_path / "best.pt"
    if content is None:
        with pytest.raises(FileError, match=r"best.pt: found no such file"):
            checkpoint.load(path)
        torch.save([1, 2], path)
    else:
        path.write_bytes(content)
    with pytest.raises(FileError, match=r"best.pt: found a"):
        checkpoint.load(path)


def test_backbone_weights_come_from_a_file_of_timm_with_three_channels(tmp_path):
    torch.manual_seed(1)
    whole = timm.create_model("lcnet_035")
    torch.save(whole.state_dict(), tmp_path / "lcnet.pth")
    network = AcousticModel(SMALL, backbone_weights=tmp_path / "lcnet.pth")
    expected = whole.conv_stem.weight.sum(1, keepdim=True)
    torch.testing.assert_close(network.backbone.conv_stem.weight, expected)
    with pytest.raises(FileError, match=r"lcnet.pth: found other weights"):
        AcousticModel(AcousticConfig(backbone="resnet10t"), backbone_weights=tmp_path / "lcnet.pth")
    with pytest.raises(FileError, match=r"none.pth: found no such file"):
        AcousticModel(SMALL, backbone_weights=tmp_path / "none.pth")


def test_unknown_backbones_and_weights_out_of_reach_are_one_sentence(monkeypatch):
    with pytest.raises(ConfigError, match="backbone: found 'lcnet_37', expected the name of a model in timm"):
        AcousticModel(AcousticConfig(backbone="lcnet_37"))

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", offline)
    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_url", offline)
    with pytest.raises(ConfigError, match=r"could not be fetched \(no network\).*--backbone-weights FILE"):
        AcousticModel(AcousticConfig(backbone="lcnet_050"), pretrained=True)
