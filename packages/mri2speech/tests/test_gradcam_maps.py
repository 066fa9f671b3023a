import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from torch import nn

from audio_io.errors import ConfigError
from mri2speech.acoustic.config import AcousticConfig
from mri2speech.acoustic.model import AcousticModel
from mri2speech.config import MelConfig
from mri2speech.features import Scaler, band_centres
from mri2speech.gradcam.config import FORMANT_BANDS, FormantBand, GradcamConfig
from mri2speech.gradcam.maps import band_energy, band_rows, enlarged, heat_maps
from mri2speech.gradcam.readout import FrameReadout, differentiable

SCALER = Scaler(-50.0, 20.0, MelConfig())
F1 = FORMANT_BANDS[0]


def acoustic(**changes):
    torch.manual_seed(0)
    settings = {"backbone": "test_resnet", "stage": -2, "image_size": 64, "hidden": 24, **changes}
    model = AcousticModel(AcousticConfig(**settings)).eval()
    with torch.no_grad():
        # With these weights the energy rises with the activations: what Grad-CAM keeps is not all 0.
        model.head.weight.neg_()
    return model


@pytest.fixture(scope="module")
def frames():
    return torch.rand(9, 64, 64, generator=torch.Generator().manual_seed(3))


def one_by_one(model, frames, rows, energy):
    """A backward pass through the whole model for each frame, in double precision."""
    model = model.double()
    heat = []
    for index in range(len(frames)):
        maps = model.features(frames[:, None].double()).detach().requires_grad_()
        mels = model.sequence(maps.mean(dim=(2, 3))[None])[0]
        band_energy(mels[index : index + 1], rows, SCALER, energy).sum().backward()
        weights = maps.grad[index].mean(dim=(1, 2))
        heat.append((weights[:, None, None] * maps[index].detach()).sum(0).abs())
    return torch.stack(heat).float()


@pytest.mark.parametrize(
    "changes", [{}, {"bidirectional": False}, {"layers": 2}], ids=["two directions", "one", "two layers"]
)
@pytest.mark.parametrize("energy", ["log", "power"])
def test_one_pass_gives_the_maps_of_a_backward_pass_for_each_frame(frames, changes, energy):
    model = acoustic(**changes)
    config = GradcamConfig(energy=energy, influence="both", chunk=4)
    found = heat_maps(model, frames, [F1], SCALER, config)["F1"]
    expected = one_by_one(model, frames, band_rows(F1, SCALER.mel), energy)
    assert expected.max() > 0
    assert (found - expected).abs().max() < 1e-5 * expected.max()


def test_a_frame_is_read_out_as_in_a_film_in_which_it_was_exchanged(frames):
    for model in (acoustic(), acoustic(layers=2)):
        with torch.no_grad():
            pooled = model.encode(frames)
            index = torch.tensor([0, 4, 4, 8])
            others = torch.randn(4, model.channels)
            found = FrameReadout(model, pooled).mels(index, others)
            for case in range(4):
                film = pooled.clone()
                film[index[case]] = others[case]
                expected = model.sequence(film[None])[0, index[case]]
                torch.testing.assert_close(found[case], expected, rtol=0, atol=1e-6)


def test_training_mode_of_the_lstm_changes_nothing_and_modes_come_back(frames):
    model = acoustic(layers=2)
    model.lstm.dropout = 0.5
    pooled = model.encode(frames)[None].detach()
    expected = model.sequence(pooled)
    with differentiable(model.lstm):
        assert model.lstm.training
        assert torch.equal(model.sequence(pooled), expected)
    assert not model.lstm.training
    assert model.lstm.dropout == 0.5
    model.train()
    model.backbone.eval()
    modes = [module.training for module in model.modules()]
    first = heat_maps(model, frames, [F1], SCALER)["F1"]
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(first, heat_maps(model.eval(), frames, [F1], SCALER)["F1"])


class _Still(nn.Module):
    """The model on the middle frame of a film whose other frames do not change, for pytorch-grad-cam."""

    def __init__(self, model, frames, index):
        super().__init__()
        self.model, self.index = model, index
        with torch.no_grad():
            self.pooled = model.encode(frames)

    def forward(self, frame):
        row = self.model.encode(frame[:, 0])
        film = torch.cat([self.pooled[: self.index], row, self.pooled[self.index + 1 :]])
        with differentiable(self.model.lstm):
            return self.model.sequence(film[None])[:, self.index]


@pytest.mark.parametrize(
    ("method", "library"),
    [("gradcam", GradCAM), ("gradcam++", GradCAMPlusPlus), ("hirescam", HiResCAM), ("layercam", LayerCAM)],
)
@pytest.mark.parametrize("layer", ["layer3", "layer2"])
def test_maps_are_those_of_pytorch_grad_cam_on_a_single_frame(frames, method, library, layer):
    model, index = acoustic(), 5
    rows = band_rows(F1, SCALER.mel)
    ours = heat_maps(model, frames, [F1], SCALER, GradcamConfig(method=method, layer=layer))["F1"][index]
    cam = library(_Still(model, frames, index), [model.backbone.get_submodule(layer)])
    theirs = cam(frames[index : index + 1, None], targets=[lambda mels: mels[rows].sum()])[0]
    # The library stretches each map from 0 to 1 before and after it enlarges it.
    scaled = (ours - ours.min()) / ours.max().sub(ours.min())
    large = torch.nn.functional.interpolate(scaled[None, None], (64, 64), mode="bilinear")[0, 0]
    large = (large - large.min()) / (large.max() - large.min())
    assert ours.max() > 0
    np.testing.assert_allclose(large, theirs, atol=1e-4)


def test_the_last_map_is_the_last_layer_s(frames):
    model = acoustic()
    named = heat_maps(model, frames, [F1], SCALER, GradcamConfig(layer="layer3"))["F1"]
    torch.testing.assert_close(named, heat_maps(model, frames, [F1], SCALER)["F1"], rtol=1e-4, atol=1e-7)


def test_eigencam_is_the_first_principal_component_of_the_map(frames):
    model = acoustic()
    found = heat_maps(model, frames, [F1], SCALER, GradcamConfig(method="eigencam"))["F1"]
    with torch.no_grad():
        rows = model.features(frames[:1, None])[0].flatten(1).T.double()
    rows = rows - rows.mean(0)
    component = rows @ torch.linalg.svd(rows, full_matrices=False)[2][0]
    component *= torch.sign(component[component.abs().argmax()])
    torch.testing.assert_close(found[0].flatten().double(), component.clamp(min=0), rtol=1e-4, atol=1e-5)


def test_a_model_that_sees_one_patch_lights_there():
    model = acoustic()
    # Channel 0 is the brightness of each cell, the LSTM lets it through, and the head adds it up.
    patch = torch.zeros(8, 8)
    patch[5, 2] = 1.0

    class Eye(nn.Module):
        def forward(self, frames):
            cells = nn.functional.avg_pool2d(frames, 8) * patch
            return [cells.expand(-1, model.channels, -1, -1)]

    model.backbone = Eye()
    film = torch.rand(6, 64, 64)
    for weights in (model.lstm.weight_ih_l0, model.lstm.weight_ih_l0_reverse, model.head.weight):
        nn.init.constant_(weights, 0.05)
    heat = enlarged(heat_maps(model, film, [F1], SCALER)["F1"], 64, "frame")
    places = heat.flatten(1).argmax(1)
    assert ((places // 64 // 8 == 5) & (places % 64 // 8 == 2)).all()
    assert torch.allclose(heat.amax(dim=(1, 2)), torch.ones(6))


def test_bands_hold_the_mel_bands_centred_in_them_and_others_are_refused():
    centres = band_centres(SCALER.mel)
    rows = band_rows(F1, SCALER.mel)
    assert centres[rows].min() >= 300
    assert centres[rows].max() <= 900
    assert rows.sum() == 14
    with pytest.raises(ConfigError, match="between the centres of two mel bands"):
        band_rows(FormantBand("F9", 2000.0, 2001.0), SCALER.mel)
    for wrong in ("300-900", "F1:900-300", "F 1:3-9", "F1:a-b"):
        with pytest.raises(ConfigError, match="formant_band"):
            FormantBand.parse(wrong)
    with pytest.raises(ConfigError, match="layer1"):
        heat_maps(acoustic(), torch.rand(4, 64, 64), [F1], SCALER, GradcamConfig(layer="blocks.3"))
