"""Interpolation along the last axes.

An axis of `size` elements is read at `count` points; which points these are is what the sampling modes
differ in (coremltools' documentation of `resize_bilinear`).
"""

import torch
from torch import Tensor

from separation_coreml.mil.ops.registry import operation


def _points(size: int, count: int, mode: str) -> Tensor:
    """Where an axis is read.

    Shape: [count], float64, from 0 to size - 1.
    """
    index = torch.arange(count, dtype=torch.float64)
    if mode in {"STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"}:
        if count == 1:
            points = torch.full((1,), 0.0 if mode == "STRICT_ALIGN_CORNERS" else (size - 1) / 2)
        else:
            points = index * ((size - 1) / (count - 1))
    elif mode == "DEFAULT":
        points = index * (size / count)
    elif mode == "OFFSET_CORNERS":
        points = (index + 0.5) * (max(1, size - 1) / count)
    else:
        points = (index + 0.5) * (size / count) - 0.5
    return points.to(torch.float64).clamp(0, size - 1)


def _linear(x: Tensor, axis: int, count: int, mode: str) -> Tensor:
    size = x.shape[axis]
    points = _points(size, count, mode)
    low = points.floor().to(torch.long)
    weight = (points - low).to(x.dtype).reshape([-1 if axis % x.dim() == at else 1 for at in range(x.dim())])
    below = x.index_select(axis, low)
    above = x.index_select(axis, (low + 1).clamp(max=size - 1))
    return torch.lerp(below, above, weight)


def _nearest(x: Tensor, axis: int, count: int) -> Tensor:
    places = torch.arange(count) * x.shape[axis] // count
    return x.index_select(axis, places)


@operation("resize", attributes=("shape", "resized_dims", "interpolation_mode", "sampling_mode"))
def resize(
    x: Tensor,
    shape: list[int],
    resized_dims: int,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    """The last axes at new sizes; 0 keeps a size."""
    for axis, count in enumerate(shape[len(shape) - resized_dims :], start=-resized_dims):
        if count in {0, x.shape[axis]}:
            continue
        if interpolation_mode == "LINEAR":
            x = _linear(x, axis, count, sampling_mode)
        elif sampling_mode == "DEFAULT":
            x = _nearest(x, axis, count)
        else:
            raise NotImplementedError(f"nearest neighbour with the sampling mode {sampling_mode}")
    return x


@operation("resize_bilinear", attributes=("target_size_height", "target_size_width", "sampling_mode"))
def resize_bilinear(
    x: Tensor, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    """The last two axes at new sizes, linearly."""
    x = _linear(x, -2, target_size_height, sampling_mode)
    return _linear(x, -1, target_size_width, sampling_mode)


@operation("resize_nearest_neighbor", attributes=("target_size_height", "target_size_width"), moves=True)
def resize_nearest_neighbor(x: Tensor, target_size_height: int, target_size_width: int) -> Tensor:
    """The last two axes at new sizes, by repeating elements."""
    return _nearest(_nearest(x, -2, target_size_height), -1, target_size_width)


@operation("upsample_nearest_neighbor", attributes=("scale_factor_height", "scale_factor_width"), moves=True)
def upsample_nearest_neighbor(
    x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1
) -> Tensor:
    """The last two axes longer by a factor, by repeating elements."""
    height, width = int(x.shape[-2] * scale_factor_height), int(x.shape[-1] * scale_factor_width)
    return resize_nearest_neighbor(x, height, width)


@operation(
    "upsample_bilinear",
    attributes=("scale_factor_height", "scale_factor_width", "align_corners", "half_pixel_centers"),
)
def upsample_bilinear(
    x: Tensor,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    """The last two axes longer by a factor, linearly."""
    height, width = int(x.shape[-2] * scale_factor_height), int(x.shape[-1] * scale_factor_width)
    if align_corners:
        mode = "STRICT_ALIGN_CORNERS"
    else:
        mode = "DEFAULT" if half_pixel_centers is False else "UNALIGN_CORNERS"
    return resize_bilinear(x, height, width, mode)
