"""Products of matrices."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name

from separation_coreml.mil.ops.registry import operation


@operation("linear")
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """X times the transposed weight, plus bias."""
    return F.linear(x, weight, bias)


@operation("matmul", attributes=("transpose_x", "transpose_y"))
def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """Batched product of matrices; a vector is taken as a row on the left, as a column on the right."""
    if transpose_x and x.dim() > 1:
        x = x.transpose(-1, -2)
    if transpose_y and y.dim() > 1:
        y = y.transpose(-1, -2)
    return torch.matmul(x, y)


@operation("einsum", attributes=("equation",))
def einsum(values: tuple[Tensor, ...], equation: str) -> Tensor:
    """Sum of products over the axes that the equation names."""
    return torch.einsum(equation, *values)
