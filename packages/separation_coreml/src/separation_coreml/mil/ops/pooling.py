"""Pooling, in one to three dimensions."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name

from separation_coreml.mil.ops.convolution import pad_explicitly, paddings
from separation_coreml.mil.ops.registry import operation

MAX: dict[int, Callable[..., Tensor]] = {
    1: F.max_pool1d,
    2: F.max_pool2d,
    3: F.max_pool3d,
}
AVERAGE: dict[int, Callable[..., Tensor]] = {
    1: F.avg_pool1d,
    2: F.avg_pool2d,
    3: F.avg_pool3d,
}
ATTRIBUTES = ("kernel_sizes", "strides", "pad_type", "pad", "ceil_mode")


def _pairs(
    x: Tensor, kernel_sizes: list[int], strides: list[int] | None, pad_type: str, pad: list[int] | None
) -> list[tuple[int, int]]:
    return paddings(pad_type, pad, list(x.shape[2:]), kernel_sizes, strides or [1] * len(kernel_sizes))


@operation("max_pool", attributes=ATTRIBUTES)
def max_pool(
    x: Tensor,
    kernel_sizes: list[int],
    strides: list[int] | None = None,
    pad_type: str = "valid",
    pad: list[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Greatest element of each window; padding never wins."""
    rank = x.dim() - 2
    pairs = _pairs(x, kernel_sizes, strides, pad_type, pad)
    x = x if ceil_mode else pad_explicitly(x, pairs, -torch.inf)
    padding = [before for before, _ in pairs] if ceil_mode else 0
    return MAX[rank](x, kernel_sizes, strides or 1, padding, ceil_mode=ceil_mode)


@operation("avg_pool", attributes=("exclude_padding_from_average", *ATTRIBUTES))
def avg_pool(
    x: Tensor,
    kernel_sizes: list[int],
    strides: list[int] | None = None,
    pad_type: str = "valid",
    pad: list[int] | None = None,
    ceil_mode: bool = False,
    exclude_padding_from_average: bool = False,
) -> Tensor:
    """Mean of each window, with or without the padding."""
    rank = x.dim() - 2
    pairs = _pairs(x, kernel_sizes, strides, pad_type, pad)
    step = strides or 1
    if all(before == after for before, after in pairs):
        padding = [before for before, _ in pairs]
        return AVERAGE[rank](x, kernel_sizes, step, padding, ceil_mode, not exclude_padding_from_average)
    mean = AVERAGE[rank](pad_explicitly(x, pairs), kernel_sizes, step)
    if not exclude_padding_from_average:
        return mean
    return mean / AVERAGE[rank](pad_explicitly(torch.ones_like(x[:1, :1]), pairs), kernel_sizes, step)


@operation("l2_pool", attributes=ATTRIBUTES)
def l2_pool(
    x: Tensor,
    kernel_sizes: list[int],
    strides: list[int] | None = None,
    pad_type: str = "valid",
    pad: list[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Root of the sum of squares of each window."""
    count = 1
    for size in kernel_sizes:
        count *= size
    return torch.sqrt(avg_pool(x.square(), kernel_sizes, strides, pad_type, pad, ceil_mode) * count)
