"""Real operations that Core ML's converter lacks, as ones that it has.

Each function takes the constants of the run and what torch's function takes, and returns NotImplemented where
torch's own form is good.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from separation_coreml.realize.constants import Constants, constant
from separation_coreml.realize.fourier import frame
from separation_coreml.realize.values import Pair, RealizeError, Value

OPERATIONS: dict[str, Callable[..., Value]] = {}


def _rewrite(name: str) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    def enter(function: Callable[..., Value]) -> Callable[..., Value]:
        OPERATIONS[name] = function
        return function

    return enter


@_rewrite("mT")
def _matrix_transpose(constants: Constants, x: Tensor) -> Tensor:  # noqa: ARG001
    return x.transpose(-1, -2)


@_rewrite("T")
def _transpose(constants: Constants, x: Tensor) -> Tensor:  # noqa: ARG001
    return x.permute(*range(x.dim() - 1, -1, -1))


@_rewrite("narrow")
def _narrow(constants: Constants, x: Tensor, dim: int, start: int, length: int) -> Tensor:  # noqa: ARG001
    # coremltools writes the sizes of all dimensions into its own, one that may vary among them.
    return x[(slice(None),) * (dim % x.dim()) + (slice(start, start + length),)]


@_rewrite("atan2")
def _atan2(constants: Constants, y: Tensor, x: Tensor) -> Tensor:  # noqa: ARG001
    # coremltools' own gives 0 for an angle of pi, and divides by x however small. Here the quotient is at
    # most 1, and the octant comes from comparisons.
    width, height = x.abs(), y.abs()
    longer = torch.maximum(width, height)
    quotient = torch.minimum(width, height) / longer.masked_fill(longer == 0, 1.0)
    angle = torch.atan(quotient)
    angle = torch.where(height > width, math.pi / 2 - angle, angle)
    angle = torch.where(x < 0, math.pi - angle, angle)
    return torch.where(y < 0, -angle, angle)


@_rewrite("unfold")
def _unfold(constants: Constants, x: Tensor, *args: Value, **kwargs: Value) -> Value:  # noqa: ARG001
    if len(args) != 3 or not all(isinstance(arg, int) for arg in args):
        return NotImplemented  # torch.nn.functional.unfold
    dimension, size, step = args
    frames = frame(x.movedim(dimension, -1), size, step)
    return frames.movedim(-2, dimension % x.dim())


@_rewrite("as_strided")
def _as_strided(
    constants: Constants,  # noqa: ARG001
    x: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Value:
    shape = tuple(x.shape)
    rows = tuple(math.prod(shape[dim + 1 :]) for dim in range(len(shape)))
    size, stride = tuple(size), tuple(stride)
    if not storage_offset and size[:-2] == shape[:-1] and stride[:-2] == rows[:-1] and stride[-1] == 1:
        return frame(x, size[-1], stride[-2])[..., : size[-2], :]
    if not x.is_contiguous():
        raise RealizeError("as_strided: found a tensor that is not contiguous, expected a contiguous one")

    def positions() -> Tensor:
        index = torch.full((), storage_offset or 0)
        for length, step in zip(size, stride, strict=True):
            index = index[..., None] + step * torch.arange(length)
        return index.reshape(-1)

    return x.reshape(-1).index_select(0, constant("positions", positions)).reshape(size)


@_rewrite("index_fill")
def _index_fill(constants: Constants, x: Tensor, dim: int, index: Tensor, value: Value) -> Value:
    if index not in constants:
        return NotImplemented
    shape = tuple(x.shape)

    def mask() -> Tensor:
        marks = torch.zeros(shape[dim], dtype=torch.bool)
        marks[constants.number(index).reshape(-1)] = True
        return marks.reshape([-1 if axis == dim % len(shape) else 1 for axis in range(len(shape))])

    return x.masked_fill(constant("mask", mask), value)


# --- indices ---


@_rewrite("getitem")
def _getitem(constants: Constants, x: Tensor, index: Value) -> Value:  # noqa: ARG001
    # Torch goes from left to right: a new axis before an integer is one dimension too many for a while.
    entries = index if isinstance(index, tuple) else (index,)
    if not (is_basic(index) and None in entries and any(isinstance(entry, int) for entry in entries)):
        return NotImplemented
    rest = tuple(entry for entry in entries if entry is not None)
    axes = tuple(
        slice(None) if isinstance(entry, slice) else entry for entry in entries if not isinstance(entry, int)
    )
    return x[rest][axes]


def is_basic(index: Value) -> bool:
    """Whether indexing with it gives a view: integers, slices, None and the ellipsis only."""
    entries = index if isinstance(index, tuple) else (index,)
    return all(
        entry is None
        or entry is Ellipsis
        or (isinstance(entry, (int, slice)) and not isinstance(entry, bool))
        for entry in entries
    )


def plain_index(constants: Constants, index: Value) -> Value:
    """The index with constant tensors replaced by integers and slices where they are such."""
    entries = index if isinstance(index, tuple) else (index,)
    lists = sum(isinstance(entry, (list, Tensor)) and _rank(entry) > 0 for entry in entries)
    plain = tuple(_plain(constants, entry, lists == 1) for entry in entries)
    return plain if isinstance(index, tuple) else plain[0]


def _rank(entry: Value) -> int:
    return entry.dim() if isinstance(entry, Tensor) else 1


def _plain(constants: Constants, entry: Value, alone: bool) -> Value:
    if isinstance(entry, slice):
        parts = (entry.start, entry.stop, entry.step)
        return slice(*(_plain(constants, part, False) for part in parts))
    if not isinstance(entry, Tensor) or entry not in constants:
        return entry
    numbers = constants.number(entry)
    if numbers.dtype in {torch.bool, torch.uint8}:
        return entry
    values: Value = numbers.tolist()
    if numbers.dim() == 0:
        return int(values)
    if alone and numbers.dim() == 1 and values and values == list(range(values[0], values[0] + len(values))):
        return slice(values[0], values[-1] + 1) if values[0] >= 0 else entry
    return entry


# --- assignment ---


def fill_from(target: Tensor, value: Value) -> Value:
    """`value` with the shape and the type of `target`."""
    if isinstance(target, Pair):
        re, im = (value.re, value.im) if isinstance(value, Pair) else (value, torch.zeros_like(target.im))
        return Pair(fill_from(target.re, re), fill_from(target.im, im))
    if not isinstance(value, Tensor):
        return torch.full_like(target, value)
    if isinstance(value, Pair):
        raise RealizeError("assignment: found complex values for a real tensor, expected real ones")
    value = value if value.dtype == target.dtype else value.to(target.dtype)
    return value if value.shape == target.shape else value.expand(target.shape)


def assign(constants: Constants, target: Tensor, index: Value, value: Value) -> Value:
    """What `target[index] = value` makes of the target, as a new tensor.

    Raises:
        RealizeError: If the index is neither basic nor a mask nor tensors alone.
    """
    if isinstance(target, Pair):
        re: Value
        im: Value
        if isinstance(value, complex):
            re, im = value.real, value.imag
        else:
            re, im = (value.re, value.im) if isinstance(value, Pair) else (value, 0.0)
        return Pair(assign(constants, target.re, index, re), assign(constants, target.im, index, im))
    if isinstance(value, Pair):
        raise RealizeError("assignment: found complex values for a real tensor, expected real ones")
    entries = index if isinstance(index, tuple) else (index,)
    if not is_basic(index):
        mask = entries[0] if len(entries) == 1 else None
        if (
            isinstance(mask, Tensor)
            and mask.dtype == torch.bool
            and not (isinstance(value, Tensor) and value.dim())
        ):
            mask = mask.reshape(*mask.shape, *(1,) * (target.dim() - mask.dim()))
            return torch.where(mask, fill_from(target, value), target)
        if all(isinstance(entry, Tensor) for entry in entries):
            return torch.index_put(target, entries, torch.as_tensor(value, dtype=target.dtype))
        raise RealizeError(f"assignment: found the index {index!r}, expected integers, slices or one mask")
    region = _region(entries, tuple(target.shape))
    if any(step != 1 for _, _, step in region):
        return _assign_with_steps(target, index, value, region)
    chosen = tuple(slice(start, stop) for start, stop, _ in region)
    like = target[index]
    block = fill_from(like, value).reshape([stop - start for start, stop, _ in region])
    return _put(target, chosen, block, 0)


def _region(entries: Sequence[Value], shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
    named = [entry for entry in entries if entry is not None]
    if Ellipsis not in named:
        named.append(Ellipsis)
    place = named.index(Ellipsis)
    named[place : place + 1] = [slice(None)] * (len(shape) - len(named) + 1)
    region = []
    for entry, size in zip(named, shape, strict=True):
        if isinstance(entry, slice):
            region.append(entry.indices(size))
        else:
            region.append((entry % size, entry % size + 1, 1))
    return region


def _put(target: Tensor, chosen: tuple[slice, ...], block: Tensor, dim: int) -> Tensor:
    # Beside the block stands what was there, one dimension after the other.
    while dim < len(chosen) and (chosen[dim].start, chosen[dim].stop) == (0, target.shape[dim]):
        dim += 1
    if dim == len(chosen):
        return block
    start, stop, size = chosen[dim].start, chosen[dim].stop, target.shape[dim]
    inner = _put(target.narrow(dim, start, stop - start), chosen, block, dim + 1)
    pieces = [inner]
    if start > 0:
        pieces.insert(0, target.narrow(dim, 0, start))
    if stop < size:
        pieces.append(target.narrow(dim, stop, size - stop))
    return torch.cat(pieces, dim=dim)


def _assign_with_steps(
    target: Tensor, index: Value, value: Value, region: list[tuple[int, int, int]]
) -> Tensor:
    # Every element says from which element of [target, block] it comes.
    shape = tuple(target.shape)

    def positions() -> Tensor:
        order = torch.arange(math.prod(shape)).reshape(shape)
        place = tuple(slice(start, stop, step) for start, stop, step in region)
        order[place] = math.prod(shape) + torch.arange(order[place].numel()).reshape(order[place].shape)
        return order.reshape(-1)

    block = fill_from(target[index], value).reshape(-1)
    both = torch.cat([target.reshape(-1), block])
    return both.index_select(0, constant("positions", positions)).reshape(shape)
