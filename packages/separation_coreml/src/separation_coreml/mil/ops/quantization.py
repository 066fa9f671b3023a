"""Activations as whole numbers and back (iOS 17)."""

import torch
from torch import Tensor

from separation_coreml.mil.ops.registry import operation


def along(parameter: Tensor, axis: int | None, rank: int) -> Tensor:
    """A vector of parameters, shaped to broadcast along an axis of a tensor of this rank."""
    if parameter.dim() != 1 or axis is None:
        return parameter
    return parameter.reshape([-1 if place == axis % rank else 1 for place in range(rank)])


@operation("quantize", attributes=("axis", "output_dtype"))
def quantize(
    input: Tensor,  # noqa: A002 - MIL's name of the parameter
    scale: Tensor,
    output_dtype: str,
    zero_point: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    """Whole numbers: input / scale, rounded, plus the zero point, within the type's range."""
    numbers = torch.round(input / along(scale, axis, input.dim()))
    if zero_point is not None:
        numbers = numbers + along(zero_point, axis, input.dim())
    limits = torch.iinfo(torch.uint8 if output_dtype == "uint8" else torch.int8)
    return numbers.clamp(limits.min, limits.max)


@operation("dequantize", attributes=("axis",))
def dequantize(
    input: Tensor,  # noqa: A002 - MIL's name of the parameter
    scale: Tensor,
    zero_point: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    """(input - zero point) times scale."""
    numbers = input.to(scale.dtype)
    if zero_point is not None:
        numbers = numbers - along(zero_point, axis, input.dim()).to(scale.dtype)
    return numbers * along(scale, axis, input.dim())
