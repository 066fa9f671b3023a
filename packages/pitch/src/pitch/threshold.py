"""Which frames are voiced: thresholds on periodicity, and silence.

Names and meanings are those of `torchcrepe.threshold`: unvoiced frames become `UNVOICED`, NaN.

Reference:
    torchcrepe/threshold.py (maxrmorrison/torchcrepe 0.0.24).
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pitch.constants import SAMPLE_RATE, UNVOICED
from pitch.loudness import a_weighted


class At:
    """Voiced from a fixed periodicity on.

    Args:
        value: Least periodicity of a voiced frame.
    """

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, pitch: Tensor, periodicity: Tensor) -> Tensor:
        """A copy of the pitch with NaN in unvoiced frames; all `[B, T]`."""
        return torch.where(periodicity < self.value, UNVOICED, pitch)


class Hysteresis:
    """Voiced where the periodicity stays above a lower bound and somewhere passes an upper one.

    The lower bound rises for pitch far from the recording's mean: an unlikely pitch needs more confidence.

    Args:
        lower_bound: Least periodicity of a voiced frame.
        upper_bound: Periodicity that a voiced stretch passes somewhere.
        width: How fast the bound rises with the squared distance from the mean, in standard deviations.
        stds: Distance at which it begins to rise, in standard deviations of the logarithmic pitch.
        return_threshold: Whether to return the bound of each frame too.
    """

    def __init__(
        self,
        lower_bound: float = 0.19,
        upper_bound: float = 0.31,
        width: float = 0.2,
        stds: float = 1.7,
        return_threshold: bool = False,
    ) -> None:
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        self.width = width
        self.stds = stds
        self.return_threshold = return_threshold

    def __call__(self, pitch: Tensor, periodicity: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """The pitch with NaN in unvoiced frames, and the bounds if asked for; `[1, T]`, the bounds `[T]`."""
        confidence = periodicity.detach().flatten().cpu().numpy()
        octaves = torch.log2(pitch).detach().flatten().cpu().numpy()
        octaves[confidence < self.lower_bound] = UNVOICED
        if np.isnan(octaves).all():
            bound = np.full_like(octaves, self.lower_bound)
        else:
            bound = self._bound((octaves - np.nanmean(octaves)) / np.nanstd(octaves))
        self._raise_where_never_confident(bound, confidence)
        octaves[confidence < bound] = UNVOICED
        voiced = torch.tensor(2**octaves, device=pitch.device)[None]
        return (voiced, torch.tensor(bound, device=pitch.device)) if self.return_threshold else voiced

    def _bound(self, distance: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        rise = self.width * (distance**2 - self.stds**2)
        bound = self.lower_bound + np.clip(rise, 0, 1 - self.lower_bound)
        return np.where(np.isnan(bound), self.lower_bound, bound).astype(distance.dtype)

    def _raise_where_never_confident(
        self, bound: npt.NDArray[np.float32], confidence: npt.NDArray[np.float32]
    ) -> None:
        """Set the bound to 1 over stretches above it that never pass the upper bound; in place."""
        above = np.concatenate([[False], confidence > bound, [False]])
        changes = np.flatnonzero(above[1:] != above[:-1])
        for start, end in zip(changes[::2], changes[1::2], strict=True):
            # As upstream has it, a stretch that begins with the recording, or touches its bound, is kept.
            begins_below = start > 0 and confidence[start - 1] < bound[start - 1]
            if begins_below and not (confidence[start:end] > self.upper_bound).any():
                bound[start:end] = 1


class Silence:
    """Periodicity 0 where the recording is silent.

    Args:
        value: Greatest A-weighted loudness of silence, in dB.
    """

    def __init__(self, value: float = -60.0) -> None:
        self.value = value

    def __call__(
        self,
        periodicity: Tensor,
        audio: Tensor,
        sample_rate: int = SAMPLE_RATE,
        hop_length: int | None = None,
        pad: bool = True,
    ) -> Tensor:
        """A copy of the periodicity; see `pitch.loudness.a_weighted` for the other arguments."""
        loudness = a_weighted(audio, sample_rate, hop_length, pad)
        return torch.where(loudness.to(periodicity.device) < self.value, 0.0, periodicity)
