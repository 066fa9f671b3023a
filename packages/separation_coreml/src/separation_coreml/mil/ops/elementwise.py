"""Arithmetic, comparison and logic, element by element, with NumPy's broadcasting."""

from collections.abc import Callable

import torch
from torch import Tensor

from separation_coreml.mil.ops.registry import define, operation

UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "acos": torch.acos,
    "asin": torch.asin,
    "atan": torch.atan,
    "atanh": torch.atanh,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "floor": torch.floor,
    "logical_not": torch.logical_not,
    "round": torch.round,
    "sign": torch.sign,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tan": torch.tan,
    "tanh": torch.tanh,
}
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "equal": torch.eq,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "mod": torch.remainder,
    "mul": torch.mul,
    "not_equal": torch.ne,
    "pow": torch.pow,
    "real_div": torch.div,
    "sub": torch.sub,
}
CAST = {
    "bool": torch.bool,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
}


def _define_tables() -> None:
    def unary(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: function(x)  # noqa: PLW0108 - MIL names the parameter

    def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda x, y: function(x, y)  # noqa: PLW0108 - MIL names the parameters

    for kind, function in UNARY.items():
        define(kind, unary(function))
    for kind, pair_function in BINARY.items():
        define(kind, binary(pair_function))


_define_tables()


@operation("floor_div")
def floor_div(x: Tensor, y: Tensor) -> Tensor:
    """Quotient, rounded towards minus infinity."""
    return torch.div(x, y, rounding_mode="floor")


@operation("inverse")
def inverse(x: Tensor, epsilon: Tensor | float = 1e-4) -> Tensor:
    """1 / (x + epsilon)."""
    return torch.reciprocal(x + epsilon)


@operation("log")
def log(x: Tensor, epsilon: Tensor | float = 1e-45) -> Tensor:
    """Natural logarithm of x + epsilon."""
    return torch.log(x + epsilon)


@operation("rsqrt")
def rsqrt(x: Tensor, epsilon: Tensor | float = 1e-12) -> Tensor:
    """1 / sqrt(x + epsilon)."""
    return torch.rsqrt(x + epsilon)


@operation("clip")
def clip(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """X limited to [alpha, beta]."""
    return torch.clamp(x, alpha, beta)


@operation("threshold")
def threshold(x: Tensor, alpha: Tensor) -> Tensor:
    """The greater of x and alpha."""
    return torch.maximum(x, alpha)


@operation("cast", attributes=("dtype",))
def cast(x: Tensor, dtype: str) -> Tensor:
    """X as another type; the interpreter rounds to float16 itself, by the declared type of the output."""
    if dtype in {"uint16", "uint32"}:
        return torch.bitwise_and(x.to(torch.int64), 2 ** int(dtype.removeprefix("uint")) - 1)
    target = CAST.get(dtype)
    if target is not None:
        return x.to(target)
    return x if x.is_floating_point() else x.to(torch.float64)


@operation("select")
def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A where the condition holds, b elsewhere."""
    return torch.where(cond, a, b)
