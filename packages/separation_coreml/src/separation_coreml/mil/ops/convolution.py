"""Convolutions and their transposes, in one to three dimensions."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name

from separation_coreml.mil.ops.registry import operation

CONV: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def paddings(
    pad_type: str,
    pad: list[int] | None,
    sizes: list[int],
    kernel: list[int],
    strides: list[int],
) -> list[tuple[int, int]]:
    """How many elements go before and after each spatial dimension.

    Args:
        pad_type: `valid` (none), `custom` (as `pad` says), `same` or `same_lower` (the output has
            ceil(size / stride) elements; of an odd number of them the additional one goes after, or before).
        pad: Before and after, for each dimension in turn; only used with `custom`.
        sizes: Of the input.
        kernel: Sizes of the kernel, dilation included.
        strides: One a dimension.
    """
    if pad_type == "valid":
        return [(0, 0)] * len(kernel)
    if pad_type == "custom":
        numbers = pad or [0] * 2 * len(kernel)
        return list(zip(numbers[::2], numbers[1::2], strict=True))
    result = []
    for size, width, stride in zip(sizes, kernel, strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + width - size)
        less, more = total // 2, total - total // 2
        result.append((less, more) if pad_type == "same" else (more, less))
    return result


def pad_explicitly(x: Tensor, pairs: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    """X with its last dimensions padded; `pairs` go from the first of them to the last."""
    if not any(before or after for before, after in pairs):
        return x
    flat = [number for pair in reversed(pairs) for number in pair]
    return F.pad(x, flat, value=value)


@operation("conv", attributes=("strides", "pad_type", "pad", "dilations", "groups"))
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: list[int] | None = None,
    pad_type: str = "valid",
    pad: list[int] | None = None,
    dilations: list[int] | None = None,
    groups: int = 1,
) -> Tensor:
    """Convolution (without reversal of the kernel)."""
    rank = x.dim() - 2
    strides = strides or [1] * rank
    dilations = dilations or [1] * rank
    kernel = [(size - 1) * dilation + 1 for size, dilation in zip(weight.shape[2:], dilations, strict=True)]
    pairs = paddings(pad_type, pad, list(x.shape[2:]), kernel, strides)
    if all(before == after for before, after in pairs):
        return CONV[rank](x, weight, bias, strides, [before for before, _ in pairs], dilations, groups)
    return CONV[rank](pad_explicitly(x, pairs), weight, bias, strides, 0, dilations, groups)


@operation("conv_transpose", attributes=("pad", "output_shape", "pad_type", "strides", "dilations", "groups"))
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: list[int] | None = None,
    output_shape: list[int] | None = None,
    pad_type: str = "valid",
    strides: list[int] | None = None,
    dilations: list[int] | None = None,
    groups: int = 1,
) -> Tensor:
    """Transposed convolution; padding removes elements of the result, as `output_shape` does at its end."""
    rank = x.dim() - 2
    strides = strides or [1] * rank
    dilations = dilations or [1] * rank
    full = [
        (size - 1) * stride + (kernel - 1) * dilation + 1
        for size, stride, kernel, dilation in zip(
            x.shape[2:], strides, weight.shape[2:], dilations, strict=True
        )
    ]
    crops = _crops(pad_type, pad, full, list(x.shape[2:]), strides, output_shape)
    arguments: dict[str, Any] = {"stride": strides, "dilation": dilations, "groups": groups}
    additional = [before - after for before, after in crops]
    if all(
        0 <= number < max(stride, dilation)
        for number, stride, dilation in zip(additional, strides, dilations, strict=True)
    ):
        padding = [before for before, _ in crops]
        return CONV_TRANSPOSE[rank](x, weight, bias, padding=padding, output_padding=additional, **arguments)
    out = CONV_TRANSPOSE[rank](x, weight, **arguments)
    # F.pad with negative numbers crops.
    out = pad_explicitly(out, [(-before, -after) for before, after in crops])
    return out if bias is None else out + bias.reshape(-1, *[1] * rank)


def _crops(
    pad_type: str,
    pad: list[int] | None,
    full: list[int],
    sizes: list[int],
    strides: list[int],
    output_shape: list[int] | None,
) -> list[tuple[int, int]]:
    """How many elements of the full result go away at the beginning and the end of each dimension."""
    if pad_type.startswith("same"):
        wanted = (
            output_shape[2:]
            if output_shape
            else [size * stride for size, stride in zip(sizes, strides, strict=True)]
        )
        totals = [length - size for length, size in zip(full, wanted, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    pairs = paddings(pad_type, pad, sizes, full, strides)
    if output_shape:
        return [
            (before, length - before - size)
            for (before, _), length, size in zip(pairs, full, output_shape[2:], strict=True)
        ]
    return pairs
