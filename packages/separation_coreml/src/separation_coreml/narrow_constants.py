"""A pass over coremltools' programs: constants that repeat along an axis keep one of the copies.

coremltools computes what depends on weights alone, expansions included: the embedding of frequencies that
HTDemucs adds to each frame becomes a constant of every frame, 33 of 211 MB for 7.8 s. The operation that uses
it broadcasts just as well.
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from separation_coreml.core_ml_tools import coremltools

_NAME = "separation_coreml::narrow_constants"
# Before the types are chosen, and after everything constant has been computed.
_BEFORE = "common::add_fp16_cast"
_BROADCASTING = frozenset(["add", "sub", "mul", "real_div", "maximum", "minimum"])
# Values of which it is worth the while.
_LEAST = 1024


def pipeline() -> Any:  # noqa: ANN401 - coremltools has no types
    """The passes of coremltools, and this one."""
    _register()
    passes = coremltools().PassPipeline()
    passes.insert_pass(passes.passes.index(_BEFORE), _NAME)
    return passes


def narrowed(value: npt.NDArray[Any], other: tuple[Any, ...]) -> npt.NDArray[Any]:
    """The constant with length 1 along each axis on which it repeats and the other operand is as long.

    Args:
        value: The constant.
        other: Shape of the other operand, aligned at its end.

    Example:
        >>> narrowed(np.ones((4, 3)) * np.arange(3), (2, 4, 3)).shape
        (1, 3)
    """
    for axis in range(value.ndim):
        back = axis - value.ndim
        if value.shape[axis] < 2 or -back > len(other) or other[back] != value.shape[axis]:
            continue
        first = value.take([0], axis=axis)
        if np.array_equal(value, np.broadcast_to(first, value.shape)):
            value = first
    return np.ascontiguousarray(value)


@functools.cache
def _register() -> None:
    graph: Any = coremltools("converters.mil.mil.passes.graph_pass")
    registry: Any = coremltools("converters.mil.mil.passes.pass_registry")
    builder: Any = coremltools("converters.mil.mil").Builder

    class NarrowConstants(graph.AbstractGraphPass):  # type: ignore[misc]  # coremltools has no types
        def apply(self, program: Any) -> None:  # noqa: ANN401
            for function in program.functions.values():
                _narrow(function, builder)

    registry.register_pass(namespace="separation_coreml", name="narrow_constants")(NarrowConstants)


def _narrow(block: Any, builder: Any) -> None:  # noqa: ANN401
    for operation in list(block.operations):
        for inner in operation.blocks:
            _narrow(inner, builder)
        if operation.op_type not in _BROADCASTING:
            continue
        operands = {"x": operation.x, "y": operation.y}
        for name, other in (("x", operation.y), ("y", operation.x)):
            constant = operands[name]
            value = constant.val
            if value is None or np.size(value) < _LEAST or other.val is not None:
                continue
            smaller = narrowed(value, tuple(other.shape))
            if smaller.size == value.size:
                continue
            with block:
                operands[name] = builder.const(
                    val=smaller, name=f"{constant.name}_narrow", before_op=operation
                )
                result = getattr(builder, operation.op_type)(
                    **operands, name=operation.name, before_op=operation
                )
            block.replace_uses_of_var_after_op(
                anchor_op=operation, old_var=operation.outputs[0], new_var=result
            )
            block.remove_ops([operation])
            break
