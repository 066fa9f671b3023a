"""Heat maps of a film: for each frame, where the CNN found the energy of a band of the mel.

The target of frame t is the energy that the model predicts for the band at frame t, and it is differentiated
with respect to the CNN's map of the same frame t. The CNN is run once (with `layer`, once more to
differentiate what follows the layer); what follows it is `mri2speech.gradcam.readout`.

References:
    R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization",
    ICCV 2017. The other methods are those of pytorch-grad-cam, with its formulas.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the customary name

from audio_io.errors import ConfigError
from mri2speech.acoustic.model import AcousticModel
from mri2speech.config import MelConfig
from mri2speech.features import Scaler, band_centres
from mri2speech.gradcam.config import FormantBand, GradcamConfig, Method
from mri2speech.gradcam.readout import FrameReadout, evaluating


def band_rows(band: FormantBand, mel: MelConfig) -> Tensor:
    """Which mel bands a formant band holds: those whose centres are in it.

    Raises:
        ConfigError: If there is none.

    Shape:
        - output: bool `[n_mels]`
    """
    centres = band_centres(mel)
    rows = (centres >= band.low) & (centres <= band.high)
    if not rows.any():
        found = f"{band}, between the centres of two mel bands"
        raise ConfigError("formant_band", found, f"a band within {centres[0]:.0f}-{centres[-1]:.0f} Hz")
    return rows


def band_energy(mels: Tensor, rows: Tensor, scaler: Scaler, energy: str) -> Tensor:
    """Energy of a band of predicted mel frames: the target of the maps.

    Args:
        mels: Normalised, as the model gives them.
        rows: Of `band_rows`.
        scaler: Of the mels.
        energy: `log`, the sum of the normalised log mels of the band, or `power`, the level in dB of the sum
            of its mel powers, to which the strongest of them contribute most.

    Shape:
        - mels: `[M, n_mels]`
        - rows: `[n_mels]`
        - output: `[M]`
    """
    chosen = mels[:, rows]
    if energy == "log":
        return chosen.sum(-1)
    nepers = scaler.denormalise(chosen) * (math.log(10) / 10)
    return torch.logsumexp(nepers, dim=-1) * (10 / math.log(10))


def heat_maps(
    model: AcousticModel,
    frames: Tensor,
    bands: Sequence[FormantBand],
    scaler: Scaler,
    config: GradcamConfig = GradcamConfig(),  # noqa: B008 - frozen
) -> dict[str, Tensor]:
    """The map of each band for each frame, as large as the CNN's.

    Args:
        model: In any mode, in which it is left.
        frames: The film, from 0 to 1, on the model's device.
        bands: Whose energy is explained.
        scaler: Of the model's mels.
        config: Method, layer and target.

    Returns:
        By the bands' names; on the CPU, not negative, not scaled.

    Raises:
        ConfigError: If there is no such layer, its output is no map, or a band holds no mel band.

    Shape:
        - frames: `[T, H, W]`
        - output: `[T, h, w]` each
    """
    rows = {band.name: band_rows(band, scaler.mel).to(frames.device) for band in bands}
    layer = None if config.layer is None else find_layer(model, config.layer)
    portions = torch.split(torch.arange(len(frames), device=frames.device), config.chunk)
    with evaluating(model):
        with torch.no_grad():
            last = torch.cat([model.features(frames[portion, None]) for portion in portions])  # [T, C, h, w]
        pooled = last.mean(dim=(2, 3))
        readout = FrameReadout(model, pooled)
        heat: dict[str, list[Tensor]] = {name: [] for name in rows}
        for portion in portions:
            slopes = {
                name: _slope(readout, portion, pooled[portion], chosen, scaler, config.energy)
                for name, chosen in rows.items()
            }
            if layer is None:
                activations = last[portion]
                # Of a mean, every place has the same share.
                area = activations[0, 0].numel()
                gradients = {
                    name: (slope / area)[:, :, None, None].expand_as(activations)
                    for name, slope in slopes.items()
                }
            else:
                activations, gradients = _at_layer(model, layer, frames[portion], slopes)
            for name, gradient in gradients.items():
                values = combine(model, config.method, activations, gradient)
                heat[name].append(F.relu(values) if config.influence == "raises" else values.abs())
    return {name: torch.cat(parts) for name, parts in heat.items()}


def enlarged(heat: Tensor, size: int | tuple[int, int], scale: str = "film") -> Tensor:
    """Heat maps in the size of the frames, from 0 to 1.

    Args:
        heat: Of `heat_maps`.
        size: Height and width of the frames.
        scale: What is 1: the hottest place of the `film`, or of each `frame`. Without any heat all is 0.

    Shape:
        - heat: `[T, h, w]`
        - output: `[T, H, W]`
    """
    shape = (size, size) if isinstance(size, int) else size
    large = F.interpolate(heat[:, None], shape, mode="bilinear", align_corners=False)[:, 0]
    top = large.amax(dim=(1, 2), keepdim=True) if scale == "frame" else large.amax()
    return large / top.clamp(min=torch.finfo(large.dtype).tiny)


def find_layer(model: AcousticModel, name: str) -> nn.Module:
    """A module of the CNN.

    Raises:
        ConfigError: If there is none of this name.
    """
    modules: dict[str, nn.Module] = dict(model.backbone.named_modules())
    if not name or name not in modules:
        known = [key for key in modules if key and key.count(".") <= ("." in name)]
        raise ConfigError(
            "layer", repr(name), f"a module of {model.config.backbone}: {', '.join(known[:24])}"
        )
    return modules[name]


def combine(model: nn.Module, method: Method, activations: Tensor, gradients: Tensor) -> Tensor:
    """The signed heat of activations and their gradients, as the method has it; on the CPU.

    Shape:
        - activations, gradients: `[N, C, h, w]`
        - output: `[N, h, w]`
    """
    if method == "gradcam":
        # The one formula of our own: importing pytorch-grad-cam takes seconds.
        weights = gradients.mean(dim=(2, 3))
        return torch.einsum("nc,nchw->nhw", weights, activations).cpu()
    import pytorch_grad_cam as library

    kinds = {
        "gradcam++": library.GradCAMPlusPlus,
        "hirescam": library.HiResCAM,
        "layercam": library.LayerCAM,
        "eigencam": library.EigenCAM,
    }
    # Without layers it hooks nothing; only its formula is used.
    cam = kinds[method](model, [])
    arrays = activations.cpu().numpy(), gradients.cpu().contiguous().numpy()
    heat = torch.from_numpy(np.asarray(cam.get_cam_image(None, None, None, *arrays, False), dtype=np.float32))
    if method == "eigencam":
        # The sign of a principal component says nothing: its farthest value is made positive.
        turned = -heat.amin(dim=(1, 2), keepdim=True) > heat.amax(dim=(1, 2), keepdim=True)
        heat = torch.where(turned, -heat, heat)
    return heat


def _slope(
    readout: FrameReadout, index: Tensor, pooled: Tensor, rows: Tensor, scaler: Scaler, energy: str
) -> Tensor:
    """Gradient of each frame's energy with respect to its own pooled features, `[N, C]`."""
    leaf = pooled.detach().requires_grad_()
    target = band_energy(readout.mels(index, leaf), rows, scaler, energy).sum()
    return torch.autograd.grad(target, leaf)[0]


def _at_layer(
    model: AcousticModel, layer: nn.Module, frames: Tensor, slopes: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Output of a layer `[N, C, h, w]`, and its gradients for these of the pooled features."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: object) -> Tensor:
        if not isinstance(output, Tensor) or output.dim() != 4 or kept:
            raise ConfigError("layer", "one that gives no map [N, C, h, w], or several", "one that gives one")
        kept.append(output.detach().requires_grad_())
        # What follows may work in place.
        return kept[0].clone()

    handle = layer.register_forward_hook(keep)
    try:
        pooled = model.encode(frames)
    finally:
        handle.remove()
    if not kept or not pooled.requires_grad:
        raise ConfigError("layer", "one that does not reach the last map", "one that does")
    gradients = {
        name: torch.autograd.grad(pooled, kept[0], slope, retain_graph=True) for name, slope in slopes.items()
    }
    return kept[0].detach(), {name: gradient for name, (gradient,) in gradients.items()}
