"""Complex operations as real ones on pairs, by the name of the operation: shape, type, making.

Each function here takes what torch's own takes, with `Pair` where torch has a complex tensor, and is written
with real tensors only. They run inside the mode, so they may use any operation on real tensors and call each
other through torch's names.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from separation_coreml.realize.values import REAL_OF, Pair, Value

Entry = TypeVar("Entry", bound=Callable[..., Value])

OPERATIONS: dict[str, Callable[..., Value]] = {}


def operation(*names: str) -> Callable[[Entry], Entry]:
    """Enter a function under the names of the torch operations that it stands for."""

    def enter(function: Entry) -> Entry:
        OPERATIONS.update(dict.fromkeys(names, function))
        return function

    return enter


def split(value: Value) -> tuple[Value, Value]:
    """Real and imaginary part of a pair, a tensor or a number; None is an imaginary part that is zero."""
    if isinstance(value, Pair):
        return value.re, value.im
    if isinstance(value, complex):
        return value.real, value.imag
    return value, None


def join(re: Value, im: Value) -> Value:
    """A pair of two parts, brought to one shape; a real tensor if the imaginary part is None."""
    if im is None:
        return re
    if not isinstance(re, Tensor):
        re = torch.full_like(im, re)
    if not isinstance(im, Tensor):
        im = torch.full_like(re, im)
    if re.shape != im.shape:
        shape = torch.broadcast_shapes(re.shape, im.shape)  # type: ignore[no-untyped-call]
        re, im = re.expand(shape), im.expand(shape)
    return Pair(re, im)


def _as_pair(value: Value, like: Tensor) -> Pair:
    re, im = split(value)
    if not isinstance(re, Tensor):
        re = torch.full((), re, dtype=like.dtype)
    return Pair(re, torch.zeros_like(re) if im is None else join(re, im).im)


# --- the same on both parts; only the first argument holds complex values ---

_COMPONENTWISE = [
    "reshape",
    "view",
    "permute",
    "transpose",
    "t",
    "T",
    "mT",
    "swapaxes",
    "movedim",
    "contiguous",
    "clone",
    "detach",
    "data",
    "cpu",
    "unsqueeze",
    "squeeze",
    "flatten",
    "ravel",
    "unflatten",
    "expand",
    "broadcast_to",
    "repeat",
    "tile",
    "repeat_interleave",
    "narrow",
    "select",
    "index_select",
    "gather",
    "roll",
    "flip",
    "fft_fftshift",
    "fft_ifftshift",
    "chunk",
    "split",
    "unbind",
    "neg",
    "negative",
    "positive",
    "sum",
    "mean",
    "cumsum",
    "diff",
    "diagonal",
    "tril",
    "triu",
    "unfold",
    "resolve_conj",
    "resolve_neg",
]


def _componentwise(name: str) -> Callable[..., Value]:
    def apply(value: Pair, *args: Value, **kwargs: Value) -> Value:
        if "dtype" in kwargs and kwargs["dtype"] in REAL_OF:
            kwargs["dtype"] = REAL_OF[kwargs["dtype"]]
        return _zip(_call(name, value.re, *args, **kwargs), _call(name, value.im, *args, **kwargs))

    return apply


def _call(name: str, value: Tensor, *args: Value, **kwargs: Value) -> Value:
    if name in {"T", "mT", "data"}:
        return getattr(value, name)
    if name.startswith("fft_"):
        return getattr(torch.fft, name[4:])(value, *args, **kwargs)
    function = getattr(value, name, None) or getattr(torch, name)
    return function(*args, **kwargs) if hasattr(value, name) else function(value, *args, **kwargs)


def _zip(re: Value, im: Value) -> Value:
    if isinstance(re, (tuple, list)):
        return type(re)(_zip(*parts) for parts in zip(re, im, strict=True))
    return Pair(re, im)


for _name in _COMPONENTWISE:
    OPERATIONS[_name] = _componentwise(_name)


@operation("getitem")
def _getitem(value: Pair, index: Value) -> Pair:
    return Pair(value.re[index], value.im[index])


@operation("iter")
def _iter(value: Pair) -> Value:
    return iter(value.unbind(0))


@operation("view_as", "reshape_as", "expand_as")
def _shape_of(value: Tensor, other: Tensor) -> Value:
    shape = other.shape
    return value.expand(shape) if value.dim() < len(shape) else value.expand(shape).reshape(shape)


@operation("cat", "concat", "concatenate")
def _cat(values: Sequence[Value], dim: int = 0, **kwargs: Value) -> Pair:
    return _joined(torch.cat, values, kwargs.get("axis", dim))


@operation("stack")
def _stack(values: Sequence[Value], dim: int = 0) -> Pair:
    return _joined(torch.stack, values, dim)


def _joined(function: Callable[..., Tensor], values: Sequence[Value], dim: int) -> Pair:
    like = next(value.re for value in values if isinstance(value, Pair))
    pairs = [_as_pair(value, like) for value in values]
    return Pair(function([pair.re for pair in pairs], dim), function([pair.im for pair in pairs], dim))


@operation("pad")
def _pad(x: Pair, pad: Sequence[int], mode: str | float = "constant", value: Value = None) -> Pair:
    if not isinstance(mode, str):
        mode, value = "constant", mode
    fills = split(0.0 if value is None else value) if mode == "constant" else (None, None)
    re, im = (
        torch.nn.functional.pad(part, pad, mode, fill) for part, fill in zip((x.re, x.im), fills, strict=True)
    )
    return Pair(re, im)


@operation("where")
def _where(condition: Tensor, value: Value, other: Value) -> Pair:
    like = value.re if isinstance(value, Pair) else other.re
    chosen, rest = _as_pair(value, like), _as_pair(other, like)
    return Pair(torch.where(condition, chosen.re, rest.re), torch.where(condition, chosen.im, rest.im))


@operation("masked_fill", "index_fill")
def _fill(value: Pair, *where_and_fill: Value) -> Pair:
    *place, fill = where_and_fill
    re, im = split(fill)
    name = "masked_fill" if len(place) == 1 else "index_fill"
    return Pair(
        getattr(value.re, name)(*place, re), getattr(value.im, name)(*place, 0.0 if im is None else im)
    )


def _scattering(name: str) -> Callable[..., Pair]:
    def apply(value: Value, dim: int, index: Tensor, source: Value) -> Pair:
        like = value.re if isinstance(value, Pair) else source.re
        target, added = _as_pair(value, like), _as_pair(source, like)
        return Pair(
            getattr(target.re, name)(dim, index, added.re), getattr(target.im, name)(dim, index, added.im)
        )

    return apply


for _name in ("scatter", "scatter_add", "index_add"):
    OPERATIONS[_name] = _scattering(_name)


# --- type and making ---


@operation("to", "type", "cfloat", "cdouble")
def _to(value: Value, *args: Value, **kwargs: Value) -> Value:
    wanted = next((a for a in (*args, *kwargs.values()) if isinstance(a, torch.dtype)), None)
    wanted = wanted or next((a.dtype for a in args if isinstance(a, Tensor)), None)
    real_type = REAL_OF.get(wanted, wanted) if wanted is not None else None
    if not isinstance(value, Pair):
        part = value if real_type is None else value.to(real_type)
        return Pair(part, torch.zeros_like(part))
    if wanted is not None and wanted not in REAL_OF:
        # torch drops the imaginary part, with a warning.
        return value.re.to(real_type)
    return value if real_type is None else Pair(value.re.to(real_type), value.im.to(real_type))


@operation("type_as")
def _type_as(value: Value, other: Tensor) -> Value:
    return _to(value, other.dtype)


@operation("zeros_like", "empty_like", "new_zeros", "new_empty", "zeros")
def _zeros(value: Value, *size: Value, **kwargs: Value) -> Value:
    return _filled(value, size, 0.0, kwargs)


@operation("ones_like", "new_ones", "ones")
def _ones(value: Value, *size: Value, **kwargs: Value) -> Value:
    return _filled(value, size, 1.0, kwargs)


@operation("full_like", "new_full", "full")
def _full(value: Value, *size_and_fill: Value, **kwargs: Value) -> Value:
    *size, fill = (*size_and_fill, kwargs.pop("fill_value")) if "fill_value" in kwargs else size_and_fill
    return _filled(value, size, fill, kwargs)


def _filled(value: Value, size: Sequence[Value], fill: Value, kwargs: dict[str, Value]) -> Value:
    dtype = kwargs.get("dtype") or value.dtype
    if not isinstance(value, Tensor):
        shape = (value,) if isinstance(value, int) else tuple(value)
        shape += tuple(size)
    elif not size:
        shape = tuple(value.shape)
    else:
        shape = tuple(size[0]) if isinstance(size[0], (tuple, list)) else tuple(size)
    re, im = split(fill)
    real = torch.full(shape, re, dtype=REAL_OF.get(dtype, dtype))
    return Pair(real, torch.full_like(real, im or 0.0)) if dtype in REAL_OF else real


@operation("eq")
def _eq(a: Value, b: Value) -> Value:
    (ar, ai), (br, bi) = split(a), split(b)
    return (ar == br) & ((0 if ai is None else ai) == (0 if bi is None else bi))


@operation("ne", "not_equal")
def _ne(a: Value, b: Value) -> Value:
    return ~_eq(a, b)
