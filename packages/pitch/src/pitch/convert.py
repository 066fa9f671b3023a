"""Pitch units: bins of the network, cents above 10 Hz, Hz.

The names and meanings are those of `torchcrepe.convert`. Where torchcrepe always adds random dither, it can
be switched off here: `dither=False` gives the exact centre of a bin.

Reference:
    torchcrepe/convert.py (maxrmorrison/torchcrepe 0.0.24); `pitch.constants` for the mapping itself.
"""

from collections.abc import Callable
from typing import overload

import torch
from torch import Tensor

from pitch.constants import CENTS_PER_BIN, FIRST_BIN_CENTS, REFERENCE_HZ


def bins_to_cents(bins: Tensor, *, dither: bool = True) -> Tensor:
    """Cents above 10 Hz of pitch bins.

    Args:
        bins: Bin numbers from 0 to 359; fractions are meaningful.
        dither: Whether to add noise (see `dither`), as torchcrepe does.

    Shape:
        Any; the output has the input's.
    """
    cents = CENTS_PER_BIN * bins + FIRST_BIN_CENTS
    return _with_noise(cents) if dither else cents


def bins_to_frequency(bins: Tensor, *, dither: bool = True) -> Tensor:
    """Frequency in Hz of pitch bins; see `bins_to_cents`."""
    return cents_to_frequency(bins_to_cents(bins, dither=dither))


def cents_to_bins(cents: Tensor, quantize_fn: Callable[[Tensor], Tensor] = torch.floor) -> Tensor:
    """Pitch bins (int32) of cents above 10 Hz, rounded by `quantize_fn`."""
    return quantize_fn((cents - FIRST_BIN_CENTS) / CENTS_PER_BIN).int()


@overload
def cents_to_frequency(cents: Tensor) -> Tensor: ...
@overload
def cents_to_frequency(cents: float) -> float: ...
def cents_to_frequency(cents: Tensor | float) -> Tensor | float:
    """Frequency in Hz of cents above 10 Hz."""
    return REFERENCE_HZ * 2 ** (cents / 1200)


def frequency_to_bins(frequency: Tensor, quantize_fn: Callable[[Tensor], Tensor] = torch.floor) -> Tensor:
    """Pitch bins (int32) of frequencies in Hz, rounded by `quantize_fn`."""
    return cents_to_bins(frequency_to_cents(frequency), quantize_fn)


def frequency_to_cents(frequency: Tensor) -> Tensor:
    """Cents above 10 Hz of frequencies in Hz."""
    return 1200 * torch.log2(frequency / REFERENCE_HZ)


def dither(cents: Tensor) -> Tensor:
    """The pitch with triangular noise of up to one bin (20 cents) either way.

    It trades the staircase of quantised pitch for noise: wanted when pitch is a feature of a neural network,
    unwanted when it is measured. The noise follows torch's global seed.
    """
    # The sum of two uniform variables is triangular.
    first, second = torch.rand(2, *cents.shape, dtype=torch.float64, device="cpu")
    noise = first + second - 1
    noisy: Tensor = cents + (CENTS_PER_BIN * noise).to(device=cents.device, dtype=cents.dtype)
    return noisy


def _with_noise(cents: Tensor) -> Tensor:
    # The functions above have a parameter of that name. Looked up at each call, since code written for
    # torchcrepe puts another function in its place to be rid of the noise.
    return dither(cents)
