"""Smoothing over time that ignores NaN, the mark of unvoiced frames.

Names and meanings are those of `torchcrepe.filter`. One difference: the mean of a window of zeros is 0, where
torchcrepe gives NaN.

Reference:
    torchcrepe/filter.py (maxrmorrison/torchcrepe 0.0.24).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name


def mean(signals: Tensor, win_length: int = 9) -> Tensor:
    """Mean of the numbers within a window around each frame; NaN where it holds none.

    Args:
        signals: Pitch or periodicity.
        win_length: Window in frames, odd; shorter at the ends.

    Shape:
        `[B, T]`, in and out
    """
    return _windows(signals, win_length).nanmean(dim=-1)


def median(signals: Tensor, win_length: int) -> Tensor:
    """Median (the lower one of two) of the numbers within a window around each frame, or NaN.

    See `mean` for arguments and shapes.
    """
    return _windows(signals, win_length).nanmedian(dim=-1).values


def nanfilter(signals: Tensor, win_length: int, filter_fn: Callable[[Tensor], Tensor]) -> Tensor:
    """What `filter_fn` makes of the window around each frame; it takes `[B, w]` and returns `[B]`.

    See `mean` for arguments and shapes.
    """
    half = win_length // 2
    columns = [filter_fn(signals[:, max(0, i - half) : i + half + 1]) for i in range(signals.shape[1])]
    return torch.stack(columns, dim=1)


def nanmean(signals: Tensor) -> Tensor:
    """Mean of the numbers of each row, `[B, T]` to `[B]`."""
    return signals.nanmean(dim=1)


def nanmedian(signals: Tensor) -> Tensor:
    """Median (the lower one of two) of the numbers of each row, `[B, T]` to `[B]`."""
    return signals.nanmedian(dim=1).values


def nanmedian1d(signal: Tensor) -> Tensor | float:
    """Median (the lower one of two) of a signal without NaN; NaN if it is empty."""
    return torch.median(signal) if signal.numel() else float("nan")


def _windows(signals: Tensor, win_length: int) -> Tensor:
    half = win_length // 2
    return F.pad(signals, (half, half), value=torch.nan).unfold(1, win_length, 1)  # [B, T, win_length]
