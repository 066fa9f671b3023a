"""Normalisations."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name

from separation_coreml.mil.ops.registry import operation


@operation("batch_norm", attributes=("epsilon",))
def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """Each channel with the mean and variance of training."""
    return F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=epsilon)


@operation("instance_norm", attributes=("epsilon",))
def instance_norm(
    x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5
) -> Tensor:
    """Each channel of each example with its own mean and variance."""
    return F.instance_norm(x, weight=gamma, bias=beta, eps=epsilon)


@operation("layer_norm", attributes=("axes", "epsilon"))
def layer_norm(
    x: Tensor,
    axes: list[int] | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """Mean and variance over the given axes; gamma and beta have those axes' sizes."""
    rank = x.dim()
    over = sorted(axis % rank for axis in axes) if axes is not None else list(range(rank))
    sizes = [x.shape[axis] for axis in over]
    if over == list(range(rank - len(over), rank)):
        return F.layer_norm(x, sizes, gamma, beta, epsilon)
    centred = x - x.mean(over, keepdim=True)
    out = centred / torch.sqrt(centred.square().mean(over, keepdim=True) + epsilon)
    shape = [size if axis in over else 1 for axis, size in enumerate(x.shape)]
    if gamma is not None:
        out = out * gamma.reshape(shape)
    return out if beta is None else out + beta.reshape(shape)


@operation("l2_norm", attributes=("epsilon",))
def l2_norm(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """The last three axes divided by the root of the sum of their squares."""
    return x / torch.sqrt(x.square().sum((-3, -2, -1), keepdim=True) + epsilon)


@operation("local_response_norm", attributes=("size", "alpha", "beta", "k"))
def local_response_norm(
    x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Each channel divided by a power of the mean square of its neighbours."""
    return F.local_response_norm(x, size, alpha, beta, k)
