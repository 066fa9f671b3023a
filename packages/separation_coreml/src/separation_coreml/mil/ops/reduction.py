"""Sums, extremes and norms over axes, and the order of elements along one."""

import torch
from torch import Tensor

from separation_coreml.mil.ops.registry import operation

AXES = ("axes", "keep_dims")


def _all_axes(x: Tensor, axes: list[int] | None) -> list[int]:
    return list(range(x.dim())) if axes is None else axes


@operation("reduce_sum", attributes=AXES)
def reduce_sum(x: Tensor, axes: list[int] | None = None, keep_dims: bool = False) -> Tensor:
    """Sum."""
    return x.sum(_all_axes(x, axes), keepdim=keep_dims)


@operation("reduce_mean", attributes=AXES)
def reduce_mean(x: Tensor, axes: list[int] | None = None, keep_dims: bool = False) -> Tensor:
    """Mean; of integers it is cut towards zero."""
    wide = x if x.is_floating_point() else x.to(torch.float64)
    return wide.mean(_all_axes(x, axes), keepdim=keep_dims)


@operation("reduce_max", attributes=AXES, moves=True)
def reduce_max(x: Tensor, axes: list[int] | None = None, keep_dims: bool = False) -> Tensor:
    """Greatest element."""
    return x.amax(_all_axes(x, axes), keepdim=keep_dims)


@operation("reduce_min", attributes=AXES, moves=True)
def reduce_min(x: Tensor, axes: list[int] | None = None, keep_dims: bool = False) -> Tensor:
    """Least element."""
    return x.amin(_all_axes(x, axes), keepdim=keep_dims)


@operation("reduce_prod", attributes=AXES)
def reduce_prod(x: Tensor, axes: list[int] | None = None, keep_dims: bool = False) -> Tensor:
    """Product."""
    for axis in sorted((axis % x.dim() for axis in _all_axes(x, axes)), reverse=True):
        x = x.prod(axis, keepdim=keep_dims)
    return x


@operation("reduce_l1_norm", attributes=AXES)
def reduce_l1_norm(x: Tensor, axes: list[int] | None = None, keep_dims: bool = False) -> Tensor:
    """Sum of absolute values."""
    return reduce_sum(x.abs(), axes, keep_dims)


@operation("reduce_l2_norm", attributes=AXES)
def reduce_l2_norm(x: Tensor, axes: list[int] | None = None, keep_dims: bool = False) -> Tensor:
    """Root of the sum of squares."""
    return torch.sqrt(reduce_sum(x.square(), axes, keep_dims))


@operation("reduce_sum_square", attributes=AXES)
def reduce_sum_square(x: Tensor, axes: list[int] | None = None, keep_dims: bool = False) -> Tensor:
    """Sum of squares."""
    return reduce_sum(x.square(), axes, keep_dims)


@operation("reduce_log_sum", attributes=AXES)
def reduce_log_sum(x: Tensor, axes: list[int] | None = None, keep_dims: bool = False) -> Tensor:
    """Logarithm of the sum."""
    return torch.log(reduce_sum(x, axes, keep_dims))


@operation("reduce_log_sum_exp", attributes=AXES)
def reduce_log_sum_exp(x: Tensor, axes: list[int] | None = None, keep_dims: bool = False) -> Tensor:
    """Logarithm of the sum of exponentials."""
    return torch.logsumexp(x, _all_axes(x, axes), keepdim=keep_dims)


@operation("reduce_argmax", attributes=("axis", "keep_dims", "output_dtype"))
def reduce_argmax(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    """Place of the greatest element; the interpreter sees to the type of the indices."""
    del output_dtype
    return x.argmax(axis, keepdim=keep_dims)


@operation("reduce_argmin", attributes=("axis", "keep_dims", "output_dtype"))
def reduce_argmin(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    """Place of the least element; the interpreter sees to the type of the indices."""
    del output_dtype
    return x.argmin(axis, keepdim=keep_dims)


@operation("argsort", attributes=("axis", "ascending"))
def argsort(x: Tensor, axis: int = -1, ascending: bool = False) -> Tensor:
    """Places of the elements in order; equal elements keep theirs."""
    return torch.argsort(x, stable=True, dim=axis, descending=not ascending)


@operation(
    "topk",
    attributes=("k", "axis", "ascending", "sort", "return_indices", "output_indices_dtype"),
    moves=True,
)
def topk(
    x: Tensor,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> Tensor | tuple[Tensor, ...]:
    """The k first elements in order, and their places; all of them for k = -1."""
    del sort, output_indices_dtype
    places = argsort(x, axis, ascending)
    places = places.narrow(axis, 0, x.shape[axis] if k == -1 else k)
    values = torch.gather(x, axis, places)
    return (values, places) if return_indices else values


@operation("cumsum", attributes=("axis", "exclusive", "reverse"))
def cumsum(x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Running sum from the beginning or the end, with or without the element itself."""
    x = x.flip(axis) if reverse else x
    out = x.cumsum(axis)
    if exclusive:
        zero = torch.zeros_like(out.narrow(axis, 0, 1))
        out = torch.cat((zero, out.narrow(axis, 0, x.shape[axis] - 1)), axis)
    return out.flip(axis) if reverse else out
