"""Means and norms over long spans, written so that a runtime which adds in plain order stays exact.

ONNX Runtime adds the terms of a ReduceMean one after the other in float32. Over the many thousand values
that the norms of a song see, this leaves an error of 5e-5, a hundred times that of everything else (htdemucs:
91 instead of 121 dB). Here a span of L values is added in rows of about sqrt(L), then the sums of the rows:
each value takes part in 2 sqrt(L) additions instead of L.

Reference: N. J. Higham, "The accuracy of floating point summation", SIAM J. Sci. Comput. 14,
1993, section 3.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from separation_coreml.realize.constants import Constants
from separation_coreml.realize.values import Value

LONG = 256  # values from which a sum is taken in two steps

OPERATIONS: dict[str, Callable[..., Value]] = {}


def _rewrite(function: Callable[..., Value]) -> Callable[..., Value]:
    OPERATIONS[function.__name__] = function
    return function


@_rewrite
def mean(
    constants: Constants,  # noqa: ARG001
    x: Tensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Value:
    """`torch.mean`."""
    dims = _dimensions(x, dim)
    if dtype is not None or _span(x, dims) < LONG:
        return NotImplemented
    return _mean(x, dims, keepdim)


@_rewrite
def var(constants: Constants, x: Tensor, *args: Value, **kwargs: Value) -> Value:  # noqa: ARG001
    """`torch.var`."""
    return _variance(x, *args, **kwargs)


@_rewrite
def std(constants: Constants, x: Tensor, *args: Value, **kwargs: Value) -> Value:  # noqa: ARG001
    """`torch.std`."""
    variance = _variance(x, *args, **kwargs)
    return NotImplemented if variance is NotImplemented else variance.sqrt()


@_rewrite
def group_norm(
    constants: Constants,  # noqa: ARG001
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,  # noqa: ARG001 - of `torch.group_norm`
) -> Value:
    """`torch.nn.functional.group_norm`, which calls `torch.group_norm`."""
    groups = x.reshape(x.shape[0], num_groups, -1)
    if groups.shape[-1] < LONG:
        return NotImplemented
    return _affine(_normalise(groups, eps).reshape(x.shape), weight, bias)


@_rewrite
def instance_norm(
    constants: Constants,  # noqa: ARG001
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,  # noqa: ARG001 - of the training alone
    eps: float = 1e-5,
    cudnn_enabled: bool | None = None,
) -> Value:
    """`torch.nn.functional.instance_norm`, which calls `torch.instance_norm`."""
    if cudnn_enabled is not None:
        # Of `torch.instance_norm` alone, whose arguments have another order.
        return NotImplemented
    if not use_input_stats or running_mean is not None or running_var is not None or x.dim() < 3:
        return NotImplemented
    return _affine(_normalise(x.flatten(2), eps).reshape(x.shape), weight, bias)


def _normalise(x: Tensor, eps: float) -> Tensor:
    centred = x - _mean(x, [x.dim() - 1], keepdim=True)
    variance = _mean(centred * centred, [x.dim() - 1], keepdim=True)
    return centred / torch.sqrt(variance + eps)


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = [1, -1] + [1] * (x.dim() - 2)
    if weight is not None:
        x = x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def _variance(
    x: Tensor,
    dim: int | Sequence[int] | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Value:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 0 if unbiased is False else 1
    dims = _dimensions(x, dim)
    span = _span(x, dims)
    if span < LONG:
        return NotImplemented
    centred = x - _mean(x, dims, keepdim=True)
    return _mean(centred * centred, dims, keepdim) * (span / (span - correction))


def _mean(x: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    kept = [d for d in range(x.dim()) if d not in dims]
    span = _span(x, dims)
    rows = x.permute(*kept, *dims).reshape(-1, span)
    width = math.isqrt(span - 1) + 1
    rows = F.pad(rows, (0, -span % width)).reshape(rows.shape[0], -1, width)
    means = rows.sum(-1).sum(-1) / span
    return means.reshape([1 if d in dims else x.shape[d] for d in (range(x.dim()) if keepdim else kept)])


def _dimensions(x: Tensor, dim: int | Sequence[int] | None) -> list[int]:
    if dim is None or (not isinstance(dim, int) and not dim):
        return list(range(x.dim()))
    return sorted(d % x.dim() for d in ([dim] if isinstance(dim, int) else dim))


def _span(x: Tensor, dims: Sequence[int]) -> int:
    return math.prod(x.shape[d] for d in dims)
