"""Changes of shape and order of axes; no number is computed."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name

from separation_coreml.mil.ops.registry import operation


@operation("transpose", attributes=("perm",), moves=True)
def transpose(x: Tensor, perm: list[int]) -> Tensor:
    """The axes in another order."""
    return x.permute(perm)


@operation("reshape", attributes=("shape",), moves=True)
def reshape(x: Tensor, shape: list[int]) -> Tensor:
    """The same elements in another shape; 0 takes the size of x counted from the last axis, -1 the rest."""
    if 0 in shape:
        shift = x.dim() - len(shape)
        shape = [
            size or (x.shape[axis + shift] if axis + shift >= 0 else 1) for axis, size in enumerate(shape)
        ]
    return x.reshape(shape)


@operation("reshape_like", attributes=("begins", "ends", "end_masks"), moves=True)
def reshape_like(
    x: Tensor,
    ref_tensors: tuple[Tensor, ...],
    begins: list[int],
    ends: list[int],
    end_masks: list[bool],
) -> Tensor:
    """X in a shape put together from ranges of the shapes of other tensors."""
    sizes: list[int] = []
    for tensor, begin, end, to_the_end in zip(ref_tensors, begins, ends, end_masks, strict=True):
        sizes += tensor.shape[begin : None if to_the_end else end]
    return x.reshape(sizes)


@operation("expand_dims", attributes=("axes",), moves=True)
def expand_dims(x: Tensor, axes: list[int]) -> Tensor:
    """Axes of size 1 put in at places of the result."""
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@operation("squeeze", attributes=("axes",), moves=True)
def squeeze(x: Tensor, axes: list[int] | None = None) -> Tensor:
    """Without the given axes of size 1, or without any."""
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


@operation("flatten2d", attributes=("axis",), moves=True)
def flatten2d(x: Tensor, axis: int = 1) -> Tensor:
    """A matrix: the axes before `axis` times the others."""
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operation("identity", moves=True)
def identity(x: Tensor) -> Tensor:
    """X."""
    return x


@operation("concat", attributes=("axis", "interleave"), moves=True)
def concat(values: tuple[Tensor, ...], axis: int, interleave: bool = False) -> Tensor:
    """Tensors one after the other along an axis, or with their elements in turn."""
    if interleave:
        axis %= values[0].dim()
        return torch.stack(values, axis + 1).flatten(axis, axis + 1)
    if values[0].dim() == 0:
        return torch.stack(values)
    return torch.cat(values, axis)


@operation("stack", attributes=("axis",), moves=True)
def stack(values: tuple[Tensor, ...], axis: int) -> Tensor:
    """Tensors of one shape along a new axis."""
    return torch.stack(values, axis)


@operation("split", attributes=("num_splits", "split_sizes", "axis"), moves=True)
def split(
    x: Tensor, axis: int, num_splits: int | None = None, split_sizes: list[int] | None = None
) -> tuple[Tensor, ...]:
    """Pieces along an axis, of given sizes or of equal ones."""
    if split_sizes is None:
        split_sizes = [x.shape[axis] // (num_splits or 1)] * (num_splits or 1)
    return torch.split_with_sizes(x, split_sizes, axis)


@operation("tile", attributes=("reps",), moves=True)
def tile(x: Tensor, reps: list[int]) -> Tensor:
    """X repeated along each axis."""
    return x.repeat(reps)


@operation("reverse", attributes=("axes",), moves=True)
def reverse(x: Tensor, axes: list[int] | None = None) -> Tensor:
    """The elements of some axes, or of all, in reverse order."""
    return x.flip(list(range(x.dim())) if axes is None else axes)


@operation("reverse_sequence", attributes=("lengths", "seq_axis", "batch_axis"), moves=True)
def reverse_sequence(x: Tensor, lengths: list[int], seq_axis: int = 0, batch_axis: int = 0) -> Tensor:
    """The first elements of each example in reverse order, as many as `lengths` says."""
    out = x.clone()
    for place, length in enumerate(lengths):
        example = x.select(batch_axis, place).narrow(seq_axis - (batch_axis < seq_axis), 0, length)
        target = out.select(batch_axis, place).narrow(seq_axis - (batch_axis < seq_axis), 0, length)
        target.copy_(example.flip(seq_axis - (batch_axis < seq_axis)))
    return out


@operation("sliding_windows", attributes=("axis", "size", "stride"), moves=True)
def sliding_windows(x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    """Windows along an axis; the elements of a window lie on a new axis behind it."""
    return x.unfold(axis, size, stride).movedim(-1, axis % x.dim() + 1)


@operation("pixel_shuffle", attributes=("upscale_factor",), moves=True)
def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """Channels to space, channel slowest."""
    return F.pixel_shuffle(x, upscale_factor)


@operation("pixel_unshuffle", attributes=("downscale_factor",), moves=True)
def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """Space to channels, channel slowest."""
    return F.pixel_unshuffle(x, downscale_factor)


@operation("depth_to_space", attributes=("block_size",), moves=True)
def depth_to_space(x: Tensor, block_size: int) -> Tensor:
    """Channels to space, place in the block slowest."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, block_size, block_size, -1, height, width).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(batch, channels // block_size**2, height * block_size, width * block_size)


@operation("space_to_depth", attributes=("block_size",), moves=True)
def space_to_depth(x: Tensor, block_size: int) -> Tensor:
    """Space to channels, place in the block slowest."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, channels, height // block_size, block_size, width // block_size, block_size)
    blocks = blocks.permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(batch, -1, height // block_size, width // block_size)


@operation("space_to_batch", attributes=("block_shape", "paddings"), moves=True)
def space_to_batch(x: Tensor, block_shape: list[int], paddings: list[list[int]]) -> Tensor:
    """Blocks of the padded space to the batch axis."""
    (top, bottom), (left, right) = paddings
    x = F.pad(x, (left, right, top, bottom))
    batch, channels, height, width = x.shape
    rows, columns = block_shape
    blocks = x.reshape(batch, channels, height // rows, rows, width // columns, columns)
    return blocks.permute(3, 5, 0, 1, 2, 4).reshape(-1, channels, height // rows, width // columns)


@operation("batch_to_space", attributes=("block_shape", "crops"), moves=True)
def batch_to_space(x: Tensor, block_shape: list[int], crops: list[list[int]]) -> Tensor:
    """The batch axis to blocks of space, which is cropped then."""
    (top, bottom), (left, right) = crops
    _, channels, height, width = x.shape
    rows, columns = block_shape
    blocks = x.reshape(rows, columns, -1, channels, height, width).permute(2, 3, 4, 0, 5, 1)
    space = blocks.reshape(-1, channels, height * rows, width * columns)
    return F.pad(space, (-left, -right, -top, -bottom))
