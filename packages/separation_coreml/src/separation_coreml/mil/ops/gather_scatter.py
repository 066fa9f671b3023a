"""Elements at places that a tensor of indices names. Negative indices count from the end."""

import math

import torch
from torch import Tensor

from separation_coreml.mil.ops.registry import operation

REDUCE = {"mul": "prod", "div": "prod", "max": "amax", "min": "amin"}


def _places(indices: Tensor, size: int) -> Tensor:
    indices = indices.to(torch.long)
    return torch.where(indices < 0, indices + size, indices)


@operation("gather", attributes=("axis", "batch_dims"), moves=True)
def gather(x: Tensor, indices: Tensor, axis: int = 0, batch_dims: int = 0) -> Tensor:
    """Slices of x along an axis; the first `batch_dims` axes of x and indices go together."""
    axis %= x.dim()
    places = _places(indices, x.shape[axis])
    if batch_dims == 0:
        out = x.index_select(axis, places.flatten())
        return out.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])
    batch = x.shape[:batch_dims]
    rows = x.reshape(-1, *x.shape[batch_dims:])
    groups = places.reshape(-1, *places.shape[batch_dims:])
    parts = [gather(row, group, axis - batch_dims) for row, group in zip(rows, groups, strict=True)]
    return torch.stack(parts).reshape(*batch, *parts[0].shape)


@operation("gather_along_axis", attributes=("axis",), moves=True)
def gather_along_axis(x: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    """One element of x along an axis for every index."""
    return torch.gather(x, axis, _places(indices, x.shape[axis]))


@operation("gather_nd", attributes=("batch_dims",), moves=True)
def gather_nd(x: Tensor, indices: Tensor, batch_dims: int = 0) -> Tensor:
    """The parts of x whose leading indices lie on the last axis of `indices`."""
    batch = x.shape[:batch_dims]
    depth = indices.shape[-1]
    flat = _flat_places(indices, x.shape[batch_dims : batch_dims + depth])
    rows = x.reshape(*batch, -1, *x.shape[batch_dims + depth :])
    return gather(rows, flat, batch_dims, batch_dims)


def _flat_places(indices: Tensor, sizes: tuple[int, ...] | torch.Size) -> Tensor:
    """The tuples on the last axis as places in an array of these sizes, flattened."""
    flat = torch.zeros(indices.shape[:-1], dtype=torch.long)
    for place, size in zip(indices.unbind(-1), sizes, strict=True):
        flat = flat * size + _places(place, size)
    return flat


@operation("scatter_along_axis", attributes=("axis", "mode"))
def scatter_along_axis(
    data: Tensor, indices: Tensor, updates: Tensor, axis: int = 0, mode: str = "add"
) -> Tensor:
    """Data with elements along an axis replaced by, or combined with, the updates."""
    places = _places(indices, data.shape[axis])
    if mode == "update":
        return data.scatter(axis, places, updates)
    if mode in {"add", "sub"}:
        return data.scatter_add(axis, places, updates if mode == "add" else -updates)
    if mode == "div":
        updates = 1 / updates
    return data.scatter_reduce(axis, places, updates, REDUCE[mode])


@operation("scatter", attributes=("axis", "mode"))
def scatter(data: Tensor, indices: Tensor, updates: Tensor, axis: int = 0, mode: str = "add") -> Tensor:
    """Data with slices along an axis replaced by, or combined with, the updates."""
    axis %= data.dim()
    shape = [1] * data.dim()
    shape[axis] = -1
    places = indices.reshape(shape).expand(updates.shape)
    return scatter_along_axis(data, places, updates, axis, mode)


@operation("scatter_nd", attributes=("mode",))
def scatter_nd(data: Tensor, indices: Tensor, updates: Tensor, mode: str = "add") -> Tensor:
    """Data with the parts that `gather_nd` would give replaced by, or combined with, the updates."""
    depth = indices.shape[-1]
    flat = _flat_places(indices, data.shape[:depth]).flatten()
    rows = data.reshape(math.prod(data.shape[:depth]), -1)
    out = scatter(rows, flat, updates.reshape(flat.numel(), -1), 0, mode)
    return out.reshape(data.shape)
