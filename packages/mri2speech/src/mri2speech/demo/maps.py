"""Where the model looks for a formant: Grad-CAM of each frame, for the energy of a band of the mel.

The target of frame t is the sum of its normalised mels in the bands around a formant. Its gradient with
respect to the last feature map of the same frame is that with respect to the pooled features, spread evenly
over the map: the CNN is run once, and only the recurrent part is differentiated, for each frame in a copy of
its own.

Reference:
    R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks", ICCV 2017.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name

from mri2speech.acoustic.model import AcousticModel
from mri2speech.config import MelConfig
from mri2speech.features import band_centres

FORMANT_BANDS = {"F1": (300.0, 900.0), "F2": (900.0, 2500.0)}  # Hz, the brief's


def formant_maps(model: AcousticModel, frames: Tensor, band: tuple[float, float], mel: MelConfig) -> Tensor:
    """Heat maps of a band, from 0 to 1, the greatest of the film.

    Args:
        model: In evaluation mode.
        frames: The film.
        band: Lowest and highest frequency in Hz.
        mel: Settings of the model's mels.

    Shape:
        - frames: `[T, H, W]`
        - output: `[T, H, W]`
    """
    centres = band_centres(mel)
    rows = (centres >= band[0]) & (centres <= band[1])
    with torch.no_grad():
        maps = model.features(frames[:, None])  # [T, C, h, w]
    # Copy t is asked for frame t alone.
    copies = maps.mean(dim=(2, 3)).expand(len(maps), -1, -1).clone().requires_grad_()  # [T, T, C]
    energy = model.sequence(copies).diagonal().T[:, rows].sum()  # of [T, T, n_mels], [T, n_mels]
    (gradient,) = torch.autograd.grad(energy, copies)
    weights = gradient.diagonal().T  # [T, C]
    heat = F.relu(torch.einsum("tc,tchw->thw", weights, maps))
    heat = F.interpolate(heat[:, None], frames.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return heat / heat.max().clamp(min=torch.finfo(torch.float32).tiny)
