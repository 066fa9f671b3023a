"""The loss of the brief: squared and absolute error, weighted by band and time, with three more terms.

With e = predicted - target in normalised mels, w_b the weight of the band and w_t that of the frame::

    loss = mean[w_b w_t ((1 - a) e^2 + a |e|)]
         + c_delta mean[w_b (e_t - e_(t-1))^2] + c_accel mean[w_b (e_t - 2 e_(t-1) + e_(t-2))^2]
         + c_latest mean[w_b e_last^2]

Means are over what the mask lets through, and weighted: they are divided by the sum of their weights, so
that the ramp shifts the emphasis and not the size of the loss. Weights begin at 1 and reach their targets,
linearly, after `ramp_steps`; the coefficients likewise from their first to their last value. Weights over
time apply to the first frames of what is passed, a window or an utterance.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mri2speech.acoustic.config import BANDS, LossConfig


class Terms(NamedTuple):
    """The loss and what it is made of; all are scalars.

    `bands` is the mean absolute error of each of `BANDS`, in units of normalised mels, detached.
    """

    total: Tensor
    mse: Tensor
    mae: Tensor
    delta: Tensor
    accel: Tensor
    latest: Tensor
    bands: dict[str, Tensor]


class MaskedMSEMAE(nn.Module):
    """See the module.

    Args:
        config: Weights and coefficients.
        n_mels: Mel bands. The edges of `BANDS` are moved in proportion if they are not 64.
    """

    bands: Tensor

    def __init__(self, config: LossConfig = LossConfig(), n_mels: int = 64) -> None:  # noqa: B008 - frozen
        super().__init__()
        self.config = config
        self.slices = {name: slice(_edge(first, n_mels), _edge(end, n_mels)) for name, first, end in BANDS}
        bands = torch.ones(n_mels)
        for name, part in self.slices.items():
            bands[part] = getattr(config, f"weight_{name.lower()}")
        self.register_buffer("bands", bands, persistent=False)

    def forward(self, predicted: Tensor, target: Tensor, mask: Tensor, step: int | None = None) -> Terms:
        """The loss of one batch.

        Args:
            predicted: Normalised mels. The loss is computed in float32 whatever they are.
            target: What they should be. It may hold anything where the mask is False, NaN included.
            mask: True where the target counts; nothing else has any influence, on gradients neither.
            step: Optimizer steps taken, the place on the ramp; None is its end, for validations that can be
                compared over a whole run.

        Shape:
            - predicted, target: `[B, T, n_mels]`
            - mask: `[B, T]`, or `[B, T, n_mels]`
        """
        config = self.config
        ramp = 1.0 if step is None or not config.ramp_steps else min(1.0, step / config.ramp_steps)
        valid = (mask if mask.ndim == 3 else mask[..., None]).expand(target.shape) > 0
        error = torch.where(valid, predicted.float() - target.float(), 0.0)
        bands = 1 + ramp * (self.bands - 1)
        both = bands * (1 + ramp * (self._time_weights(target.shape[1], error.device) - 1))[:, None]

        mse, mae = _mean(error**2, both, valid), _mean(error.abs(), both, valid)
        pairs = valid[:, 1:] & valid[:, :-1]
        delta = _mean(error.diff(dim=1) ** 2, bands, pairs)
        accel = _mean(error.diff(n=2, dim=1) ** 2, bands, pairs[:, 1:] & pairs[:, :-1])
        count = torch.arange(1, target.shape[1] + 1, device=error.device)
        last = (valid.any(-1) * count).argmax(dim=1)
        items = torch.arange(len(error), device=error.device)
        latest = _mean(error[items, last] ** 2, bands, valid[items, last])

        total = (
            (1 - config.mae_share) * mse
            + config.mae_share * mae
            + _between(config.delta_from, config.delta_to, ramp) * delta
            + _between(config.accel_from, config.accel_to, ramp) * accel
            + _between(config.latest_from, config.latest_to, ramp) * latest
        )
        size = error.detach().abs()
        band_errors = {
            name: size[..., part].sum() / valid[..., part].sum().clamp(min=1)
            for name, part in self.slices.items()
        }
        return Terms(total, mse, mae, delta, accel, latest, band_errors)

    def _time_weights(self, frames: int, device: torch.device) -> Tensor:
        weights = torch.ones(frames, device=device)
        config = self.config
        first = torch.linspace(config.time_first, config.time_last, config.time_frames, device=device)
        weights[: config.time_frames] = first[:frames]
        return weights


def _mean(values: Tensor, weights: Tensor, valid: Tensor) -> Tensor:
    """Weighted mean over what is valid; 0, with a gradient of 0, if nothing is."""
    weights = weights * valid
    return (values * weights).sum() / weights.sum().clamp(min=torch.finfo(torch.float32).tiny)


def _between(first: float, last: float, ramp: float) -> float:
    return first + ramp * (last - first)


def _edge(band: int, n_mels: int) -> int:
    return round(band * n_mels / BANDS[-1][2])
