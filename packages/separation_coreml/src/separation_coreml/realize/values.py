"""What stands for a tensor during capture: a pair for a complex one, a reshaped one for a tall one.

A tall tensor has more than 5 dimensions. Both stand-ins are subclasses of `Tensor`, because models and
einops ask with `isinstance`; they hold no storage of their own. The operations on them are in
`complex_ops` and `tall_ops`; the mode in `mode` calls those.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from audio_io.errors import UserError
from audio_io.tracing import sizes

# Arguments of torch's functions have no common type.
Value = Any

# Core ML's own limit.
MAX_RANK = 5

COMPLEX_OF = {
    torch.float16: torch.complex32,
    torch.float32: torch.complex64,
    torch.float64: torch.complex128,
}
REAL_OF = {complex_type: real_type for real_type, complex_type in COMPLEX_OF.items()}


class RealizeError(UserError):
    """A model cannot be rewritten with real tensors of at most 5 dimensions."""


class UnsupportedComplexError(RealizeError):
    """An operation on complex tensors has no real form here."""

    def __init__(self, operation: str) -> None:
        super().__init__(
            f"{operation}: found a complex operation without a real form, "
            "expected one of separation_coreml.realize.supported_operations()"
        )


class UnsupportedRankError(RealizeError):
    """An operation on tensors of more than 5 dimensions has no form with fewer."""

    def __init__(self, operation: str, shape: tuple[int, ...]) -> None:
        super().__init__(
            f"{operation}: found a tensor of {len(shape)} dimensions {list(shape)}, "
            f"expected at most {MAX_RANK}, as Core ML takes"
        )


class _Standin(Tensor):
    """A tensor without storage whose operations are the mode's business."""

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Value],
        types: tuple[type, ...],
        args: tuple[Value, ...] = (),
        kwargs: dict[str, Value] | None = None,
    ) -> Value:
        """Metadata is answered; anything else was meant for the mode and came past it."""
        if operation_name(func) in METADATA:
            return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        raise UnsupportedComplexError(str(torch.overrides.resolve_name(func)))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch calls it as a class method
        cls,
        func: Value,
        types: tuple[type, ...],
        args: tuple[Value, ...] = (),
        kwargs: dict[str, Value] | None = None,
    ) -> Value:
        """Whatever reaches the dispatcher has no real form."""
        raise UnsupportedComplexError(str(func))


class Pair(_Standin):
    """A complex tensor as its real and its imaginary part, two real tensors of one shape.

    Attributes:
        re: Real part.
        im: Imaginary part.
    """

    re: Tensor
    im: Tensor

    def __new__(cls, re: Tensor, im: Tensor) -> "Pair":  # noqa: D102
        shape = re.logical if isinstance(re, Tall) else sizes(re)
        pair = Tensor._make_wrapper_subclass(cls, shape, dtype=COMPLEX_OF[re.dtype], device=re.device)
        pair.re, pair.im = re, im
        return pair

    def __init__(self, re: Tensor, im: Tensor) -> None:
        pass


class Imaginary(Pair):
    """A pair whose real part is known to be zero: `exp` of it needs no exponential."""


class Tall(_Standin):
    """A real tensor of more than 5 dimensions, held with fewer.

    Attributes:
        data: The same numbers in the same (row-major) order, in at most 5 dimensions.
        logical: The shape that the model sees.
    """

    data_: Tensor
    logical: tuple[int, ...]

    def __new__(cls, data: Tensor, logical: tuple[int, ...]) -> "Tall":  # noqa: D102
        tall = Tensor._make_wrapper_subclass(cls, logical, dtype=data.dtype, device=data.device)
        tall.data_, tall.logical = data, tuple(logical)
        return tall

    def __init__(self, data: Tensor, logical: tuple[int, ...]) -> None:
        pass


# Questions about a tensor that a stand-in can answer by itself.
METADATA = frozenset(
    [
        "dtype",
        "device",
        "layout",
        "requires_grad",
        "is_complex",
        "is_floating_point",
        "is_cuda",
        "is_mps",
        "is_cpu",
        "is_sparse",
        "is_nested",
        "is_quantized",
        "is_meta",
        "is_leaf",
        "grad",
        "grad_fn",
        "is_contiguous",
        "is_conj",
        "is_neg",
        "is_inference",
        "names",
        "is_xla",
        "is_xpu",
        "dim",
        "ndim",
        "ndimension",
        "get_device",
        "is_signed",
        "repr",
        "format",
        "hash",
        "element_size",
        "itemsize",
        "is_mkldnn",
        "is_vulkan",
        "is_ipu",
        "is_maia",
        "is_mtia",
        "is_hpu",
        "_version",
        "is_same_size",
        "is_sparse_csr",
        "has_names",
    ]
)


def operation_name(func: Callable[..., Value]) -> str:
    """The bare name of an operation, whichever way it was called.

    `torch.abs`, `Tensor.abs` and `Tensor.__abs__` are all `abs`; a property is its own name; `torch.fft.fft`
    is `fft_fft`.
    """
    name = str(getattr(func, "__name__", func))
    owner = getattr(func, "__self__", None)
    if name in {"__get__", "__set__"}:
        name = str(getattr(owner, "__name__", name))
    if name.startswith("__") and name.endswith("__"):
        return name.strip("_")
    return name


def leaves(value: Value) -> Iterator[Value]:
    """Everything inside nested tuples, lists, dictionaries and slices."""
    if isinstance(value, (list, tuple)):
        for entry in value:
            yield from leaves(entry)
    elif isinstance(value, dict):
        for entry in value.values():
            yield from leaves(entry)
    elif isinstance(value, slice):
        yield from (value.start, value.stop, value.step)
    else:
        yield value


def map_leaves(function: Callable[[Value], Value], value: Value) -> Value:
    """The same nesting with `function` applied to every leaf."""
    if isinstance(value, torch.Size):
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_leaves(function, entry) for entry in value))
    if isinstance(value, (list, tuple)):
        return type(value)(map_leaves(function, entry) for entry in value)
    if isinstance(value, dict):
        return {key: map_leaves(function, entry) for key, entry in value.items()}
    if isinstance(value, slice):
        return slice(*(map_leaves(function, part) for part in (value.start, value.stop, value.step)))
    return function(value)
