"""Pre-emphasis, the first difference that flattens the spectrum of speech, and its exact inverse.

    pre-emphasis    y[n] = x[n] - c x[n - 1]
    de-emphasis     x[n] = y[n] + c x[n - 1]

Conventions differ in the sample before the first. `start="zero"` takes x[-1] = 0 (HTK, most speech code).
`start="librosa"` is librosa's default, which starts the filter's memory with 2 x[0] - x[1], so that y[0] = 3
x[0] - x[1].

De-emphasis is recursive, but need not run sample by sample. Within a block of L samples it is a product with
the lower triangular matrix c^(i - j), and from block to block its last sample obeys the same recursion with
c^L in place of c. So the function calls itself on a signal L times shorter; two or three levels cover
minutes, and gradients come for free.

Reference: librosa.effects.preemphasis, librosa.effects.deemphasis; "The HTK Book", PREEMCOEF.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from audio_io.errors import ConfigError

Start = Literal["librosa", "zero"]

_COEFFICIENT = 0.97  # PREEMCOEF of HTK and librosa's default
_BLOCK = 128


def preemphasis(x: Tensor, coef: float = _COEFFICIENT, *, start: Start = "librosa") -> Tensor:
    """The signal with its high frequencies raised.

    Args:
        x: Signal of at least two samples.
        coef: c, 0 to below 1.
        start: What the first output is computed with, see the module.

    Raises:
        ConfigError: If a setting is out of range or the signal too short.

    Shape:
        Input: [..., T]
        Output: [..., T]

    >>> preemphasis(torch.tensor([1.0, 2.0, 2.0]), 0.5, start="zero").tolist()
    [1.0, 1.5, 1.0]
    """
    _check(x, coef, start)
    y = x - coef * F.pad(x[..., :-1], (1, 0))
    if start == "zero":
        return y
    return torch.cat([3 * x[..., :1] - x[..., 1:2], y[..., 1:]], dim=-1)


def deemphasis(y: Tensor, coef: float = _COEFFICIENT, *, start: Start = "librosa") -> Tensor:
    """The signal whose `preemphasis` with the same arguments is `y`.

    Args:
        y: Pre-emphasised signal of at least two samples.
        coef: c, 0 to below 1.
        start: As it was for `preemphasis`.

    Raises:
        ConfigError: If a setting is out of range or the signal too short.

    Shape:
        Input: [..., T]
        Output: [..., T]
    """
    _check(y, coef, start)
    if start == "librosa":
        # y[0] = 3 x[0] - x[1] and y[1] = x[1] - c x[0] give x[0]; from there on both conventions are the
        # same.
        first = (y[..., :1] + y[..., 1:2]) / (3 - coef)
        y = torch.cat([first, y[..., 1:]], dim=-1)
    return _recurse(y, coef)


def _recurse(y: Tensor, coef: float) -> Tensor:
    *lead, length = y.shape
    block = min(_BLOCK, length)
    steps = torch.arange(block, dtype=torch.float64, device="cpu")
    lags = steps[:, None] - steps  # [L, L]
    response = torch.where(lags >= 0, coef ** lags.clamp(min=0), 0.0).to(y)
    n_blocks = -(-length // block)
    blocks = (
        F.pad(y, (0, n_blocks * block - length)).reshape(*lead, n_blocks, block) @ response.T
    )  # [..., B, L]
    if n_blocks > 1:
        carry = _recurse(blocks[..., :-1, -1], coef**block)  # [..., B - 1]
        decay = (coef ** (steps + 1)).to(y)  # [L]
        blocks = blocks + F.pad(carry, (1, 0)).unsqueeze(-1) * decay
    return blocks.reshape(*lead, n_blocks * block)[..., :length]


class Preemphasis(nn.Module):
    """Module twin of `preemphasis`; the arguments and shapes are the same."""

    def __init__(self, coef: float = _COEFFICIENT, *, start: Start = "librosa") -> None:
        super().__init__()
        self.coef = coef
        self.start: Start = start

    def forward(self, x: Tensor) -> Tensor:
        """`x` with its high frequencies raised."""
        return preemphasis(x, self.coef, start=self.start)


class Deemphasis(nn.Module):
    """Module twin of `deemphasis`; the arguments and shapes are the same."""

    def __init__(self, coef: float = _COEFFICIENT, *, start: Start = "librosa") -> None:
        super().__init__()
        self.coef = coef
        self.start: Start = start

    def forward(self, y: Tensor) -> Tensor:
        """The signal whose pre-emphasis is `y`."""
        return deemphasis(y, self.coef, start=self.start)


def _check(x: Tensor, coef: float, start: Start) -> None:
    if not 0 <= coef < 1:
        raise ConfigError("coef", coef, "0 to below 1")
    if start not in ("librosa", "zero"):
        raise ConfigError("start", repr(start), "librosa or zero")
    if not x.is_floating_point():
        raise ConfigError("x", f"samples of {x.dtype}", "floating-point samples")
    if x.shape[-1] < 2:
        raise ConfigError("length of x", f"{x.shape[-1]} samples", "at least 2")
