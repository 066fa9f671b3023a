"""Compressed weights: quantised, looked up in palettes, sparse, and combinations. Computed once, at load.

Those of iOS 16 and 17 carry packed bits and a shape; those of iOS 18 carry tensors of small integers.
"""

import torch
from torch import Tensor

from separation_coreml.mil.ops.quantization import along
from separation_coreml.mil.ops.registry import operation


def _bits(packed: Tensor, bits: int, count: int) -> Tensor:
    """Numbers of `bits` bits from bytes, lowest bit first."""
    stream = (packed.reshape(-1, 1).to(torch.int32) >> torch.arange(8, dtype=torch.int32)) & 1
    digits = stream.reshape(-1)[: count * bits].reshape(count, bits)
    return (digits << torch.arange(bits, dtype=torch.int32)).sum(1)


def _blocks(parameter: Tensor, sizes: torch.Size) -> Tensor:
    """Parameters of blocks repeated over the elements of their blocks, along the first axes."""
    for axis, size in enumerate(sizes):
        repeats = size // parameter.shape[axis]
        if repeats > 1 and parameter.shape[axis] > 1:
            parameter = parameter.repeat_interleave(repeats, axis)
    return parameter


@operation("constexpr_cast", attributes=("output_dtype",))
def constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:
    """Weights that are stored as float16 and used as float32."""
    del output_dtype
    return source_val


@operation("constexpr_affine_dequantize", attributes=("axis",))
def constexpr_affine_dequantize(
    quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: int
) -> Tensor:
    """(number - zero point) times scale."""
    rank = quantized_data.dim()
    numbers = quantized_data.to(scale.dtype) - along(zero_point, axis, rank).to(scale.dtype)
    return numbers * along(scale, axis, rank)


@operation("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """(number - offset) times scale, with a scale and an offset for each block (iOS 18)."""
    numbers = data.to(scale.dtype)
    if offset is not None:
        numbers = numbers - _blocks(offset, data.shape).to(scale.dtype)
    return numbers * _blocks(scale, data.shape)


@operation("constexpr_lut_to_dense", attributes=("shape", "vector_axis"))
def constexpr_lut_to_dense(
    indices: Tensor, lut: Tensor, shape: list[int] | None = None, vector_axis: int | None = None
) -> Tensor:
    """Entries of a palette."""
    if shape is not None:
        bits = (lut.numel() - 1).bit_length()
        count = torch.Size(shape).numel()
        return lut[_bits(indices, bits, count)].reshape(shape)
    rank = indices.dim()
    palettes = _blocks(lut, indices.shape).expand(*indices.shape, *lut.shape[-2:])
    places = indices.to(torch.long)[..., None, None].expand(*indices.shape, 1, lut.shape[-1])
    vectors = palettes.gather(rank, places).squeeze(rank)
    if vector_axis is None:
        return vectors.squeeze(-1)
    axis = vector_axis % rank
    return vectors.movedim(-1, axis + 1).flatten(axis, axis + 1)


@operation("constexpr_sparse_to_dense", attributes=("shape",))
def constexpr_sparse_to_dense(nonzero_data: Tensor, mask: Tensor, shape: list[int] | None = None) -> Tensor:
    """Zeros, and the given numbers where the mask is set."""
    if shape is not None:
        mask = _bits(mask, 1, torch.Size(shape).numel()).reshape(shape)
    dense = torch.zeros(mask.shape, dtype=nonzero_data.dtype)
    dense[mask != 0] = nonzero_data
    return dense


@operation("constexpr_lut_to_sparse", attributes=("vector_axis",))
def constexpr_lut_to_sparse(
    indices_mask: Tensor, indices_nonzero_data: Tensor, lut: Tensor, vector_axis: int | None = None
) -> tuple[Tensor, Tensor]:
    """The mask and the numbers of a sparse tensor whose numbers are entries of a palette (iOS 18)."""
    indices = constexpr_sparse_to_dense(indices_nonzero_data, indices_mask)
    dense = constexpr_lut_to_dense(indices, lut, vector_axis=vector_axis)
    mask = indices_mask
    if vector_axis is not None:
        mask = mask.repeat_interleave(lut.shape[-1], vector_axis)
    return mask, dense[mask != 0]


@operation("constexpr_sparse_blockwise_shift_scale")
def constexpr_sparse_blockwise_shift_scale(
    data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The mask and the numbers of a sparse tensor that is quantised in blocks (iOS 18)."""
    data = constexpr_sparse_to_dense(nonzero_data, data_mask)
    dense = constexpr_blockwise_shift_scale(data, scale, offset)
    return data_mask, dense[data_mask != 0]
