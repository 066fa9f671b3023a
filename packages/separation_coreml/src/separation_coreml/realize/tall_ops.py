"""Operations on tensors of more than 5 dimensions, carried out with at most 5.

Row-major data does not care how its neighbouring dimensions are grouped. A reshape of a `Tall` only changes
its label; a permutation moves whole groups of dimensions that stay neighbours; an operation along one
dimension sees [before, dimension, after].
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from separation_coreml.realize.values import MAX_RANK, Tall, UnsupportedRankError, Value

Entry = TypeVar("Entry", bound=Callable[..., Value])

OPERATIONS: dict[str, Callable[..., Value]] = {}

ELEMENTWISE = frozenset(
    [
        "add",
        "sub",
        "mul",
        "div",
        "truediv",
        "true_divide",
        "multiply",
        "subtract",
        "pow",
        "rsub",
        "rdiv",
        "rtruediv",
        "maximum",
        "minimum",
        "where",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "neg",
        "negative",
        "abs",
        "sqrt",
        "exp",
        "log",
        "sin",
        "cos",
        "tanh",
        "sigmoid",
        "relu",
        "gelu",
        "silu",
        "clamp",
        "clamp_min",
        "square",
        "reciprocal",
        "atan2",
        "float",
        "double",
        "half",
        "to",
        "type",
        "clone",
        "contiguous",
        "detach",
        "logical_and",
        "logical_or",
        "logical_not",
    ]
)


def wrap(data: Tensor, shape: Sequence[int]) -> Tensor:
    """The data in the given shape: itself reshaped if Core ML takes the shape, a `Tall` else."""
    shape = tuple(shape)
    return data.reshape(shape) if len(shape) <= MAX_RANK else Tall(data, shape)


def unwrap(x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Data in at most 5 dimensions, and the shape that the model sees."""
    return (x.data_, x.logical) if isinstance(x, Tall) else (x, tuple(x.shape))


def _operation(*names: str) -> Callable[[Entry], Entry]:
    def enter(function: Entry) -> Entry:
        OPERATIONS.update(dict.fromkeys(names, function))
        return function

    return enter


def _dims(arguments: Sequence[Value]) -> tuple[int, ...]:
    first: Value = arguments[0] if len(arguments) == 1 else arguments
    return tuple(first) if isinstance(first, (tuple, list)) else (int(first),)


def _group(x: Tensor, dim: int) -> tuple[Tensor, tuple[int, ...], int]:
    # [before, dimension, after]
    data, shape = unwrap(x)
    dim %= len(shape)
    grouped = data.reshape(math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :]))
    return grouped, shape, dim


# --- shape ---


@_operation("reshape", "view")
def _reshape(x: Tensor, *shape: Value, **kwargs: Value) -> Tensor:
    data, logical = unwrap(x)
    wanted = list(_dims((kwargs["shape"],) if "shape" in kwargs else shape))
    if -1 in wanted:
        known = math.prod(size for size in wanted if size != -1)
        wanted[wanted.index(-1)] = math.prod(logical) // known
    return wrap(data, wanted)


@_operation("flatten")
def _flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    data, shape = unwrap(x)
    start, stop = start_dim % len(shape), end_dim % len(shape) + 1
    return wrap(data, (*shape[:start], math.prod(shape[start:stop]), *shape[stop:]))


@_operation("unflatten")
def _unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    data, shape = unwrap(x)
    dim %= len(shape)
    sizes = [int(size) for size in sizes]
    if -1 in sizes:
        sizes[sizes.index(-1)] = shape[dim] // -math.prod(sizes)
    return wrap(data, (*shape[:dim], *sizes, *shape[dim + 1 :]))


@_operation("unsqueeze")
def _unsqueeze(x: Tensor, dim: int) -> Tensor:
    data, shape = unwrap(x)
    dim %= len(shape) + 1
    return wrap(data, (*shape[:dim], 1, *shape[dim:]))


@_operation("squeeze")
def _squeeze(x: Tensor, *dims: Value) -> Tensor:
    data, shape = unwrap(x)
    chosen = {dim % len(shape) for dim in _dims(dims)} if dims else set(range(len(shape)))
    return wrap(data, [size for dim, size in enumerate(shape) if not (dim in chosen and size == 1)])


@_operation("permute")
def _permute(x: Tensor, *dims: Value) -> Tensor:
    data, shape = unwrap(x)
    order = [dim % len(shape) for dim in _dims(dims)]
    groups = _neighbours([dim for dim in order if shape[dim] != 1])
    present = sorted(groups)
    sizes = [math.prod(shape[dim] for dim in group) for group in present]
    if len(groups) <= MAX_RANK:
        data = data.reshape(sizes)
        data = data.permute([present.index(group) for group in groups]) if len(groups) > 1 else data
    else:
        # An insertion sort of the groups, each step a swap of two neighbouring blocks.
        for place, group in enumerate(groups):
            found = present.index(group)
            if found == place:
                continue
            before, block = math.prod(sizes[:place]), math.prod(sizes[place:found])
            data = data.reshape(before, block, sizes[found], math.prod(sizes[found + 1 :])).transpose(1, 2)
            present.insert(place, present.pop(found))
            sizes.insert(place, sizes.pop(found))
    return wrap(data, [shape[dim] for dim in order])


def _neighbours(order: list[int]) -> list[list[int]]:
    # Dimensions of size 1 have been left out, so "next" means the next of those that are there.
    following = dict(zip(sorted(order), sorted(order)[1:], strict=False))
    groups: list[list[int]] = []
    for dim in order:
        if groups and following.get(groups[-1][-1]) == dim:
            groups[-1].append(dim)
        else:
            groups.append([dim])
    return groups


@_operation("transpose", "swapaxes", "swapdims")
def _transpose(x: Tensor, a: int, b: int) -> Tensor:
    order = list(range(len(unwrap(x)[1])))
    order[a], order[b] = order[b], order[a]
    return _permute(x, order)


@_operation("mT")
def _matrix_transpose(x: Tensor) -> Tensor:
    return _transpose(x, -1, -2)


@_operation("movedim", "moveaxis")
def _movedim(x: Tensor, source: int, destination: int) -> Tensor:
    rank = len(unwrap(x)[1])
    order = [dim for dim in range(rank) if dim != source % rank]
    order.insert(destination % rank, source % rank)
    return _permute(x, order)


@_operation("expand", "broadcast_to")
def _expand(x: Tensor, *sizes: Value) -> Tensor:
    wanted = _dims(sizes)
    _, shape = unwrap(x)
    shape = (1,) * (len(wanted) - len(shape)) + shape
    x = _reshape(x, shape)
    for dim, (have, want) in enumerate(zip(shape, wanted, strict=True)):
        if have == 1 and want not in {1, -1}:
            grouped, current, _ = _group(x, dim)
            repeated = grouped.expand(grouped.shape[0], want, grouped.shape[2])
            x = wrap(repeated, (*current[:dim], want, *current[dim + 1 :]))
    return x


# --- along one dimension ---


@_operation("select")
def _select(x: Tensor, dim: int, index: int) -> Tensor:
    grouped, shape, dim = _group(x, dim)
    return wrap(grouped[:, index], (*shape[:dim], *shape[dim + 1 :]))


@_operation("narrow")
def _narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    grouped, shape, dim = _group(x, dim)
    return wrap(grouped[:, start : start + length], (*shape[:dim], length, *shape[dim + 1 :]))


@_operation("getitem")
def _getitem(x: Tensor, index: Value) -> Tensor:
    entries = list(index) if isinstance(index, tuple) else [index]
    rank = len(unwrap(x)[1])
    named = sum(entry is not None and entry is not Ellipsis for entry in entries)
    place = next((i for i, entry in enumerate(entries) if entry is Ellipsis), len(entries))
    entries[place : place + 1] = [slice(None)] * (rank - named)
    dim = 0
    for entry in entries:
        if entry is None:
            x, dim = _unsqueeze(x, dim), dim + 1
        elif isinstance(entry, int):
            x = _select(x, dim, entry)
        elif isinstance(entry, slice):
            size = unwrap(x)[1][dim]
            start, stop, step = entry.indices(size)
            if (start, stop, step) != (0, size, 1):
                grouped, shape, _ = _group(x, dim)
                kept = grouped[:, start:stop:step]
                x = wrap(kept, (*shape[:dim], kept.shape[1], *shape[dim + 1 :]))
            dim += 1
        else:
            raise UnsupportedRankError("indexing by a tensor", unwrap(x)[1])
    return x


@_operation("unbind")
def _unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    return tuple(_select(x, dim, index) for index in range(unwrap(x)[1][dim]))


@_operation("chunk")
def _chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    return _split(x, -(-unwrap(x)[1][dim] // chunks), dim)


@_operation("split", "split_with_sizes")
def _split(x: Tensor, sizes: Value, dim: int = 0) -> tuple[Tensor, ...]:
    total = unwrap(x)[1][dim]
    if isinstance(sizes, int):
        sizes = [min(sizes, total - start) for start in range(0, total, sizes)]
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    return tuple(_narrow(x, dim, start, size) for start, size in zip(starts, sizes, strict=True))


def _reduction(name: str) -> Callable[..., Tensor]:
    def apply(x: Tensor, dim: Value = None, keepdim: bool = False, **kwargs: Value) -> Tensor:
        shape = unwrap(x)[1]
        dims = range(len(shape)) if dim is None else _dims((dim,))
        for axis in sorted((axis % len(shape) for axis in dims), reverse=True):
            grouped, current, _ = _group(x, axis)
            reduced = getattr(torch, name)(grouped, dim=1, **kwargs)
            x = wrap(reduced, (*current[:axis], *((1,) if keepdim else ()), *current[axis + 1 :]))
        return x

    return apply


for _name in ("sum", "mean", "amax", "amin"):
    OPERATIONS[_name] = _reduction(_name)


@_operation("softmax")
def _softmax(x: Tensor, dim: int, **kwargs: Value) -> Tensor:
    grouped, shape, _ = _group(x, dim)
    return wrap(torch.softmax(grouped, dim=1, **kwargs), shape)


@_operation("stack")
def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    dim %= len(unwrap(tensors[0])[1]) + 1
    return _cat([_unsqueeze(x, dim) for x in tensors], dim)


@_operation("cat", "concat", "concatenate")
def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    groups = [_group(x, dim) for x in tensors]
    _, shape, dim = groups[0]
    joined = torch.cat([grouped for grouped, _, _ in groups], dim=1)
    return wrap(joined, (*shape[:dim], joined.shape[1], *shape[dim + 1 :]))


# --- element by element ---


def elementwise(func: Callable[..., Tensor], args: Sequence[Value], kwargs: dict[str, Value]) -> Tensor:
    """An operation on broadcast operands, with neighbouring dimensions merged where all operands agree.

    Raises:
        UnsupportedRankError: If more than 5 dimensions remain after merging.
    """
    shapes = [unwrap(arg)[1] for arg in args if isinstance(arg, Tensor)]
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    full = tuple(max(sizes) for sizes in zip(*padded, strict=True))
    patterns = [tuple(shape[dim] == 1 for shape in padded) for dim in range(rank)]
    groups: list[list[int]] = []
    for dim in (dim for dim in range(rank) if full[dim] != 1):
        if groups and patterns[groups[-1][-1]] == patterns[dim]:
            groups[-1].append(dim)
        else:
            groups.append([dim])
    if len(groups) > MAX_RANK:
        raise UnsupportedRankError(getattr(func, "__name__", str(func)), full)
    merged = iter(padded)

    def regroup(arg: Value) -> Value:
        if not isinstance(arg, Tensor):
            return arg
        shape = next(merged)
        return unwrap(arg)[0].reshape([math.prod(shape[dim] for dim in group) for group in groups])

    return wrap(func(*[regroup(arg) for arg in args], **kwargs), full)


def rank_after(  # noqa: PLR0911 - a table
    name: str, args: Sequence[Value], kwargs: dict[str, Value]
) -> int:
    """Dimensions of the result of an operation that can add some; 0 for any other operation."""
    rank = len(unwrap(args[0])[1]) if args and isinstance(args[0], Tensor) else 0
    rest = args[1:]
    if name in {"reshape", "view", "expand"} and rest and not isinstance(rest[0], (torch.dtype, Tensor)):
        return len(_dims(rest))
    if name == "reshape" and "shape" in kwargs:
        return len(kwargs["shape"])
    if name == "unflatten":
        sizes: Sequence[int] = kwargs["sizes"] if "sizes" in kwargs else rest[-1]
        return rank + len(sizes) - 1
    if name == "unsqueeze":
        return rank + 1
    if name == "stack":
        return len(unwrap(args[0][0])[1]) + 1
    if name == "getitem":
        entries = rest[0] if isinstance(rest[0], tuple) else (rest[0],)
        removed = sum(isinstance(entry, int) for entry in entries)
        return rank + sum(entry is None for entry in entries) - removed
    return 0
