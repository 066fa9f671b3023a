"""Parts of tensors by index, and padding."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name

from separation_coreml.mil.ops.convolution import pad_explicitly
from separation_coreml.mil.ops.registry import operation

SLICE = ("begin", "end", "stride", "begin_mask", "end_mask", "squeeze_mask")
Mask = list[bool] | None


def _indices(
    x: Tensor,
    begin: list[int],
    end: list[int],
    stride: list[int] | None,
    masks: tuple[Mask, Mask, Mask],
) -> tuple[slice | int | Tensor, ...]:
    """NumPy's index of each axis; reversed ranges, which torch has not, are lists of places."""
    begin_mask, end_mask, squeeze_mask = (mask or [False] * x.dim() for mask in masks)
    stride = stride or [1] * x.dim()
    result: list[slice | int | Tensor] = []
    for axis, size in enumerate(x.shape):
        if squeeze_mask[axis]:
            result.append(0 if begin_mask[axis] else begin[axis])
            continue
        part = slice(
            None if begin_mask[axis] else begin[axis], None if end_mask[axis] else end[axis], stride[axis]
        )
        result.append(
            part if stride[axis] > 0 else torch.tensor(range(*part.indices(size)), dtype=torch.long)
        )
    return tuple(result)


def _apply(x: Tensor, indices: tuple[slice | int | Tensor, ...]) -> Tensor:
    # One axis at a time: together, lists of places would select points instead of a block.
    for axis, index in reversed(list(enumerate(indices))):
        if isinstance(index, Tensor):
            x = x.index_select(axis, index)
    return x[tuple(slice(None) if isinstance(index, Tensor) else index for index in indices)]


@operation("slice_by_index", attributes=SLICE, moves=True)
def slice_by_index(
    x: Tensor,
    begin: list[int],
    end: list[int],
    stride: list[int] | None = None,
    begin_mask: Mask = None,
    end_mask: Mask = None,
    squeeze_mask: Mask = None,
) -> Tensor:
    """NumPy's `x[begin:end:stride]` for every axis; a mask ignores begin or end, or removes the axis."""
    return _apply(x, _indices(x, begin, end, stride, (begin_mask, end_mask, squeeze_mask)))


@operation("slice_by_size", attributes=("begin", "size"), moves=True)
def slice_by_size(x: Tensor, begin: list[int], size: list[int]) -> Tensor:
    """From `begin` on, `size` elements of every axis; -1 takes the rest."""
    for axis, (first, count) in enumerate(zip(begin, size, strict=True)):
        first %= max(x.shape[axis], 1)  # noqa: PLW2901 - negative numbers count from the end
        x = x.narrow(axis, first, x.shape[axis] - first if count == -1 else count)
    return x


@operation("slice_update", attributes=SLICE, moves=True)
def slice_update(
    x: Tensor,
    update: Tensor,
    begin: list[int],
    end: list[int],
    stride: list[int] | None = None,
    begin_mask: Mask = None,
    end_mask: Mask = None,
    squeeze_mask: Mask = None,
) -> Tensor:
    """X with the part that `slice_by_index` gives replaced (iOS 18)."""
    indices = _indices(x, begin, end, stride, (begin_mask, end_mask, squeeze_mask))
    places = _apply(torch.arange(x.numel()).reshape(x.shape), indices)
    return x.flatten().scatter(0, places.flatten(), update.flatten()).reshape(x.shape)


@operation("crop", attributes=("crop_height", "crop_width"), moves=True)
def crop(x: Tensor, crop_height: list[int], crop_width: list[int]) -> Tensor:
    """Without some elements at both ends of the last two axes."""
    (top, bottom), (left, right) = crop_height, crop_width
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


@operation("pad", attributes=("pad", "mode", "constant_val"), moves=True)
def pad(x: Tensor, pad: list[int], mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """The last axes made longer: with a constant, a mirror image, or the outermost element."""
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    if mode == "constant":
        return pad_explicitly(x, pairs, constant_val)
    if not any(pad[:-2]) and x.is_floating_point():
        flat = F.pad(x.reshape(1, -1, x.shape[-1]), pairs[-1], mode)
        return flat.reshape(*x.shape[:-1], -1)
    for axis, (before, after) in enumerate(pairs, start=x.dim() - len(pairs)):
        if before or after:
            last = x.shape[axis] - 1
            places = torch.arange(-before, last + 1 + after)
            places = last - (last - places.abs()).abs() if mode == "reflect" else places.clamp(0, last)
            x = x.index_select(axis, places)
    return x
