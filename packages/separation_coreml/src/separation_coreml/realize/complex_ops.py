"""Complex operations as real ones on pairs, by the name of the operation.

Each function here takes what torch's own takes, with `Pair` where torch has a complex tensor, and is written
with real tensors only. They run inside the mode, so they may use any operation on real tensors and call each
other through torch's names.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from separation_coreml.realize.values import REAL_OF, Imaginary, Pair, UnsupportedComplexError, Value

OPERATIONS: dict[str, Callable[..., Value]] = {}


def operation(*names: str) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Enter a function under the names of the torch operations that it stands for."""

    def enter(function: Callable[..., Value]) -> Callable[..., Value]:
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
        shape = torch.broadcast_shapes(re.shape, im.shape)
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


# --- arithmetic ---


@operation("add")
def _add(a: Value, b: Value, *, alpha: Value = 1) -> Value:
    (ar, ai), (br, bi) = split(a), split(b if alpha == 1 else b * alpha)
    return join(ar + br, bi if ai is None else ai if bi is None else ai + bi)


@operation("sub", "subtract")
def _sub(a: Value, b: Value, *, alpha: Value = 1) -> Value:
    (ar, ai), (br, bi) = split(a), split(b if alpha == 1 else b * alpha)
    return join(ar - br, (None if bi is None else -bi) if ai is None else ai if bi is None else ai - bi)


@operation("rsub")
def _rsub(a: Value, b: Value, *, alpha: Value = 1) -> Value:
    return _sub(b, a if alpha == 1 else a * alpha)


def multilinear(function: Callable[..., Tensor], *operands: Value) -> Value:
    """A function that is linear in each operand, expanded over real and imaginary parts."""
    sums: list[Value] = [None, None]
    for choice in itertools.product((0, 1), repeat=len(operands)):
        parts = [split(operand)[part] for operand, part in zip(operands, choice, strict=True)]
        if any(part is None for part in parts):
            continue
        term, power = function(*parts), sum(choice)
        target = power % 2
        negative = power % 4 in {2, 3}
        if sums[target] is None:
            sums[target] = -term if negative else term
        else:
            sums[target] = sums[target] - term if negative else sums[target] + term
    return join(*sums)


@operation("mul", "multiply")
def _mul(a: Value, b: Value) -> Value:
    for number, other in ((a, b), (b, a)):
        if isinstance(number, complex) and not number.real and not isinstance(other, Pair):
            im = other * number.imag
            return Imaginary(torch.zeros_like(im), im)
    return multilinear(lambda x, y: x * y, a, b)


@operation("square")
def _square(a: Pair) -> Value:
    return _mul(a, a)


def _linear_in_each(name: str) -> Callable[..., Value]:
    return lambda *operands: multilinear(getattr(torch, name), *operands)


for _name in ("matmul", "mm", "bmm", "mv", "dot", "outer", "inner"):
    OPERATIONS[_name] = _linear_in_each(_name)


@operation("rmatmul")
def _rmatmul(a: Value, b: Value) -> Value:
    return multilinear(torch.matmul, b, a)


@operation("vdot")
def _vdot(a: Value, b: Value) -> Value:
    return multilinear(torch.dot, _conj(a), b)


@operation("einsum")
def _einsum(equation: str, *operands: Value) -> Value:
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    return multilinear(lambda *parts: torch.einsum(equation, *parts), *operands)


@operation("linear")
def _linear(x: Value, weight: Value, bias: Value = None) -> Value:
    product = multilinear(torch.nn.functional.linear, x, weight)
    return product if bias is None else _add(product, bias)


@operation("div", "divide", "true_divide", "truediv")
def _div(a: Value, b: Value, *, rounding_mode: None = None) -> Value:
    if rounding_mode is not None:
        raise UnsupportedComplexError(f"torch.div with rounding_mode={rounding_mode!r}")
    br, bi = split(b)
    if bi is None:
        return join(a.re / br, a.im / br)
    # Smith's scaling: |b| squared would leave float32's range for |b| below 1e-19 or above 1e19.
    scale = torch.maximum(br.abs(), bi.abs()) if isinstance(br, Tensor) else max(abs(br), abs(bi))
    br, bi = br / scale, bi / scale
    ar, ai = split(a)
    ar, ai = ar / scale, None if ai is None else ai / scale
    size = br * br + bi * bi
    if ai is None:
        return join(ar * br / size, -(ar * bi) / size)
    return join((ar * br + ai * bi) / size, (ai * br - ar * bi) / size)


@operation("rdiv", "rtruediv")
def _rdiv(a: Value, b: Value) -> Value:
    return _div(b, a)


@operation("reciprocal")
def _reciprocal(a: Pair) -> Value:
    return _div(1.0, a)


@operation("pow")
def _pow(a: Value, exponent: Value) -> Value:
    if not isinstance(a, Pair) or isinstance(exponent, (Tensor, complex)):
        raise UnsupportedComplexError("torch.pow with a complex exponent or a tensor of exponents")
    if exponent == int(exponent) and 0 < abs(exponent) <= 8:
        result: Value = a
        for _ in range(abs(int(exponent)) - 1):
            result = _mul(result, a)
        return result if exponent > 0 else _reciprocal(result)
    return _polar(_abs(a) ** exponent, _angle(a) * exponent)


@operation("sqrt")
def _sqrt(a: Pair) -> Pair:
    # The branch without cancellation: sqrt((|z| + |re|) / 2) is one part, im / 2 over it the other.
    large = torch.sqrt((_abs(a) + a.re.abs()) / 2)
    small = a.im.abs() / (2 * large).masked_fill(large == 0, 1.0)
    right = a.re >= 0
    re, im = torch.where(right, large, small), torch.where(right, small, large)
    return Pair(re, torch.where(a.im < 0, -im, im))


@operation("exp")
def _exp(a: Pair) -> Pair:
    if isinstance(a, Imaginary):
        return Pair(torch.cos(a.im), torch.sin(a.im))
    return _polar(a.re.exp(), a.im)


@operation("log")
def _log(a: Pair) -> Pair:
    return Pair(_abs(a).log(), _angle(a))


# --- between real and complex ---


@operation("abs", "absolute")
def _abs(a: Pair) -> Tensor:
    return torch.sqrt(a.re * a.re + a.im * a.im)


@operation("angle")
def _angle(a: Pair) -> Tensor:
    return torch.atan2(a.im, a.re)


@operation("sgn")
def _sgn(a: Pair) -> Pair:
    size = _abs(a)
    safe = size.masked_fill(size == 0, 1.0)
    return Pair(a.re / safe, a.im / safe)


@operation("norm", "linalg_norm", "linalg_vector_norm")
def _norm(a: Pair, *args: Value, **kwargs: Value) -> Tensor:
    return torch.linalg.vector_norm(_abs(a), *args, **kwargs)


@operation("real")
def _real(a: Pair) -> Tensor:
    return a.re


@operation("imag")
def _imag(a: Pair) -> Tensor:
    return a.im


@operation("conj", "conj_physical")
def _conj(a: Value) -> Value:
    return Pair(a.re, -a.im) if isinstance(a, Pair) else a


@operation("H", "mH", "adjoint")
def _adjoint(a: Pair) -> Value:
    return _conj(a).mT


@operation("view_as_real")
def _view_as_real(a: Pair) -> Tensor:
    return torch.stack([a.re, a.im], dim=-1)


@operation("view_as_complex")
def _view_as_complex(a: Tensor) -> Pair:
    return Pair(a[..., 0], a[..., 1])


@operation("complex")
def _complex(re: Tensor, im: Tensor) -> Value:
    return join(re, im)


@operation("polar")
def _polar(size: Tensor, angle: Tensor) -> Value:
    return join(size * torch.cos(angle), size * torch.sin(angle))


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
def _eq(a: Value, b: Value) -> Tensor:
    (ar, ai), (br, bi) = split(a), split(b)
    return (ar == br) & ((0 if ai is None else ai) == (0 if bi is None else bi))


@operation("ne", "not_equal")
def _ne(a: Value, b: Value) -> Tensor:
    return ~_eq(a, b)
