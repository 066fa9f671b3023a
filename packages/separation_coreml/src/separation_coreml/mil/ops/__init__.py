"""The operations of the MIL language, one module a kind; importing this package fills the table."""

from separation_coreml.mil.ops import (
    activation,
    attention,
    constexpr,
    convolution,
    elementwise,
    gather_scatter,
    linear,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    shape,
    slicing,
    tensor,
)
from separation_coreml.mil.ops.registry import OPERATIONS, Definition

__all__ = [
    "OPERATIONS",
    "Definition",
    "activation",
    "attention",
    "constexpr",
    "convolution",
    "elementwise",
    "gather_scatter",
    "linear",
    "normalization",
    "pooling",
    "quantization",
    "recurrent",
    "reduction",
    "resize",
    "shape",
    "slicing",
    "tensor",
]
