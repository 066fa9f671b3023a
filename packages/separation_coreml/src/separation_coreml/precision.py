"""Which operations of a program stay in float32 when the others compute in float16.

float16 has 11 bits and ends at 65504. Sums over many values (norms, softmax, the Fourier transform), squares,
and quotients of small numbers lose most there; convolutions and linear layers carry the cost and lose little.
"""

from collections.abc import Callable, Iterable
from typing import Any

# Operations of MIL have no public type.
Operation = Any

# What begins the names of the constants of a Fourier transform; see `realize.fourier`.
TRANSFORM = "dft_"

SENSITIVE = frozenset(
    [
        "batch_norm",
        "instance_norm",
        "layer_norm",
        "l2_norm",
        "local_response_norm",
        "softmax",
        "scaled_dot_product_attention",
        "reduce_mean",
        "reduce_sum",
        "reduce_sum_square",
        "reduce_l2_norm",
        "reduce_log_sum_exp",
        "cumsum",
        "square",
        "sqrt",
        "rsqrt",
        "inverse",
        "real_div",
        "exp",
        "exp2",
        "log",
        "pow",
        "sin",
        "cos",
        "tan",
        "atan",
    ]
)
# They keep what is divided by above 0, with a limit that float16 does not have.
_LIMITING = frozenset(["maximum", "clip"])
_MOVING = frozenset(
    [
        "reshape",
        "transpose",
        "slice_by_index",
        "slice_by_size",
        "slice_update",
        "concat",
        "split",
        "stack",
        "pad",
        "expand_dims",
        "squeeze",
        "tile",
        "reverse",
        "select",
        "gather",
        "gather_along_axis",
        "identity",
        "add",
        "sub",
        "mul",
    ]
)


# They carry the cost; matmul too, unless it is a Fourier transform.
_LAYERS = frozenset(
    ["conv", "conv_transpose", "linear", "lstm", "gru", "rnn", "scaled_dot_product_attention"]
)


def in_float16() -> Callable[[Operation], bool]:
    """A selector for `coremltools.transform.FP16ComputePrecision` that leaves the sensitive operations out.

    Kept in float32 are the operations of `SENSITIVE`, the two products of attention, Fourier transforms
    from the first sample of their input to the last of their output, and what comes after the last layers:
    masks and filters, whose products of powers and small divisors are beyond the range of float16.
    """
    kept: dict[Operation, bool] = {}
    last: dict[Any, set[Operation]] = {}

    def select(operation: Operation) -> bool:
        block = operation.enclosing_block
        # Before the first operation is changed.
        if block not in last:
            last[block] = behind_layers(block.operations)
        return operation not in last[block] and not keeps_float32(operation, kept)

    return select


def keeps_float32(operation: Operation, known: dict[Operation, bool]) -> bool:
    """Whether an operation stays in float32; `known` remembers answers."""
    if operation.op_type in SENSITIVE:
        return True
    if operation.op_type in _LIMITING:
        return any(producer.op_type in SENSITIVE for producer in _producers(operation))
    if operation.op_type == "matmul":
        return uses_transform(operation) or _beside_softmax(operation)
    return _in_transform(operation, known)


def behind_layers(operations: Iterable[Operation]) -> set[Operation]:
    """Those operations of a block from which no layer is reached any more."""
    found: set[Operation] = set()
    for operation in reversed(list(operations)):
        is_layer = operation.op_type in _LAYERS or (
            operation.op_type == "matmul" and not uses_transform(operation)
        )
        if not is_layer and all(consumer in found for consumer in _consumers(operation)):
            found.add(operation)
    return found


def uses_transform(operation: Operation) -> bool:
    """Whether one of an operation's constants belongs to a Fourier transform."""
    return any(value.name.startswith(TRANSFORM) for value in _inputs(operation) if _is_constant(value))


def _in_transform(operation: Operation, known: dict[Operation, bool]) -> bool:
    if operation not in known:
        known[operation] = False
        known[operation] = uses_transform(operation) or (
            operation.op_type in _MOVING
            and (_all(_producers(operation), known) or _all(_consumers(operation), known))
        )
    return known[operation]


def _all(operations: Iterable[Operation], known: dict[Operation, bool]) -> bool:
    neighbours = list(operations)
    return bool(neighbours) and all(
        uses_transform(neighbour) or (neighbour.op_type in _MOVING and _in_transform(neighbour, known))
        for neighbour in neighbours
    )


def _beside_softmax(operation: Operation) -> bool:
    def near(start: Operation, step: Callable[[Operation], Iterable[Operation]]) -> bool:
        # Between a product and its softmax stand a scale, a mask or a reshape at most.
        reached = [start]
        for _ in range(4):
            reached = [other for one in reached for other in step(one)]
            if any(one.op_type == "softmax" for one in reached):
                return True
            reached = [one for one in reached if one.op_type in _MOVING or one.op_type == "cast"]
        return False

    return near(operation, _consumers) or near(operation, _producers)


def _inputs(operation: Operation) -> list[Any]:
    values: list[Any] = []
    for value in operation.inputs.values():
        values.extend(value if isinstance(value, (list, tuple)) else [value])
    return [value for value in values if value is not None]


def _is_constant(value: Any) -> bool:  # noqa: ANN401 - see Operation
    return value.op is not None and value.op.op_type == "const"


def _producers(operation: Operation) -> list[Operation]:
    return [value.op for value in _inputs(operation) if value.op is not None and not _is_constant(value)]


def _consumers(operation: Operation) -> list[Operation]:
    return [child for output in operation.outputs for child in output.child_ops]
