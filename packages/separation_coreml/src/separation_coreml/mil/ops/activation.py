"""Activation functions."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name

from separation_coreml.mil.ops.registry import operation


def per_channel(parameter: Tensor, x: Tensor) -> Tensor:
    """A parameter of one number a channel, shaped to broadcast along the second axis of x."""
    return parameter.reshape(1, -1, *[1] * (x.dim() - 2))


@operation("relu")
def relu(x: Tensor) -> Tensor:
    """The greater of x and 0."""
    return torch.relu(x)


@operation("relu6")
def relu6(x: Tensor) -> Tensor:
    """X limited to [0, 6]."""
    return F.relu6(x)


@operation("clamped_relu")
def clamped_relu(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """X, or alpha x where x is negative, at most beta."""
    return torch.minimum(torch.where(x >= 0, x, alpha * x), beta)


@operation("thresholded_relu")
def thresholded_relu(x: Tensor, alpha: Tensor) -> Tensor:
    """X where it is at least alpha, 0 elsewhere."""
    return torch.where(x >= alpha, x, torch.zeros_like(x))


@operation("leaky_relu")
def leaky_relu(x: Tensor, alpha: Tensor) -> Tensor:
    """X, or alpha x where x is negative."""
    return torch.where(x >= 0, x, alpha * x)


@operation("prelu")
def prelu(x: Tensor, alpha: Tensor) -> Tensor:
    """X, or alpha x where x is negative, with one alpha a channel."""
    return torch.where(x >= 0, x, per_channel(alpha, x) * x)


@operation("elu")
def elu(x: Tensor, alpha: Tensor) -> Tensor:
    """X, or alpha (exp(x) - 1) where x is negative."""
    return torch.where(x > 0, x, alpha * torch.expm1(x))


@operation("gelu", attributes=("mode",))
def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    """Gaussian error linear unit: exact, or one of its two approximations."""
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


@operation("linear_activation")
def linear_activation(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Alpha x + beta."""
    return alpha * x + beta


@operation("scaled_tanh")
def scaled_tanh(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Alpha tanh(beta x)."""
    return alpha * torch.tanh(beta * x)


@operation("sigmoid")
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid(x)


@operation("sigmoid_hard")
def sigmoid_hard(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Alpha x + beta, limited to [0, 1]."""
    return torch.clamp(alpha * x + beta, 0, 1)


@operation("silu")
def silu(x: Tensor) -> Tensor:
    """X sigmoid(x)."""
    return F.silu(x)


@operation("softplus")
def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x))."""
    return torch.logaddexp(x, torch.zeros_like(x))


@operation("softplus_parametric")
def softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Alpha log(1 + exp(beta x)), with one alpha and beta a channel."""
    return per_channel(alpha, x) * softplus(per_channel(beta, x) * x)


@operation("softsign")
def softsign(x: Tensor) -> Tensor:
    """X / (1 + |x|)."""
    return F.softsign(x)


@operation("softmax", attributes=("axis",))
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Exponentials divided by their sum along an axis."""
    return torch.softmax(x, axis)
