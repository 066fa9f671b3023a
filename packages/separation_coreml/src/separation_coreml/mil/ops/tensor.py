"""Tensors made from sizes and numbers, and masks."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name

from separation_coreml.mil.ops.registry import operation


@operation("shape")
def shape(x: Tensor) -> Tensor:
    """The sizes of x."""
    return torch.tensor(x.shape, dtype=torch.int32)


@operation("fill", attributes=("shape",))
def fill(shape: list[int], value: Tensor | float = 0.0) -> Tensor:
    """A tensor of one number."""
    return torch.as_tensor(value).expand(shape).clone()


@operation("fill_like")
def fill_like(ref_tensor: Tensor, value: Tensor | float = 0.0) -> Tensor:
    """A tensor of one number, as large as another."""
    return fill(list(ref_tensor.shape), value)


@operation("range_1d", attributes=("end", "start", "step"))
def range_1d(end: float, start: float, step: float) -> Tensor:
    """Numbers from `start`, before `end`, `step` apart."""
    return torch.arange(start, end, step)


@operation("one_hot", attributes=("one_hot_vector_size", "axis"))
def one_hot(
    indices: Tensor,
    one_hot_vector_size: int,
    axis: int = -1,
    on_value: Tensor | int = 1,
    off_value: Tensor | int = 0,
) -> Tensor:
    """A new axis on which the place that an index names has one value and all others have another."""
    marks = F.one_hot(indices.to(torch.long), one_hot_vector_size).bool().movedim(-1, axis)
    return torch.where(marks, torch.as_tensor(on_value), torch.as_tensor(off_value))


@operation("non_zero")
def non_zero(x: Tensor) -> Tensor:
    """The places of elements that are not zero, one a row."""
    return torch.nonzero(x)


@operation("band_part", attributes=("lower", "upper"), moves=True)
def band_part(x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """Matrices with zeros outside a band around the diagonal; a negative width keeps that whole side."""
    if lower >= 0:
        x = x.triu(-lower)
    return x.tril(upper) if upper >= 0 else x
