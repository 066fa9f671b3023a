"""Complex operations as real ones on pairs, by the name of the operation: arithmetic."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from separation_coreml.realize.complex_ops import OPERATIONS, join, operation, split
from separation_coreml.realize.values import Imaginary, Pair, UnsupportedComplexError, Value

__all__ = ["OPERATIONS"]


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
def _exp(a: Pair) -> Value:
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
def _norm(a: Pair, *args: Value, **kwargs: Value) -> Value:
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
