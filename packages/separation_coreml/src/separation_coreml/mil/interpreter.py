"""Runs a program with torch.

When a program is loaded, its constants are decompressed and brought into torch's types once, and every
operation becomes a `Step`: a function, its constant arguments, and the names of those that are computed.
Running it is then one Python call an operation; a value is freed after its last use.

Arithmetic. Every floating-point value is held in one type, float32 unless another is asked for; the result of
an operation that the program declares as float16 is rounded to float16 (moves of data need no rounding). So a
float16 program shows the rounding of every stored value, not that of the sums inside an operation, which is
up to the device. In float64 nothing is rounded: this is what the program would compute with exact arithmetic.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audio_io.errors import FileError
from separation_coreml.mil.graph import Block, Literal, Operation, Value, constant
from separation_coreml.mil.ops import OPERATIONS
from separation_coreml.mil.ops.registry import IGNORED
from separation_coreml.mil.reader import Package
from separation_coreml.mil.values import read_value

CONTROL = frozenset({"cond", "while_loop"})
# Parameters of several values, which stay a tuple if there is only one.
SEVERAL = frozenset({"values", "ref_tensors", "begins", "ends", "end_masks", "loop_vars"})
FLOATS = {"float16", "float32", "float64"}
# Whole numbers that torch cannot compute with are held in the next larger type.
INTEGERS = {
    "bool": torch.bool,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "int4": torch.int8,
    "uint16": torch.int32,
    "uint32": torch.int64,
    "uint64": torch.int64,
    **{f"uint{bits}": torch.uint8 for bits in (1, 2, 3, 4, 6, 8)},
}

# What torch raises when arguments do not fit together.
FAILURES = (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError, KeyError, AssertionError)

Environment = dict[str, Any]


class UnknownOperationError(FileError):
    """A program has operations, or parameters of them, that the interpreter does not know."""


class OperationError(Exception):
    """An operation could not be computed; its cause is what torch said."""

    def __init__(self, operation: Operation, cause: Exception) -> None:
        self.operation = operation
        super().__init__(str(cause).strip().split("\n")[0])


@dataclass(frozen=True)
class Step:
    """An operation, ready to run.

    Attributes:
        operation: What it is.
        function: Called with the constants and the computed arguments.
        constants: Arguments that are the same every time.
        computed: Parameter, its sources (names, or tensors where it takes several values), and whether the
            function wants a Python value instead of a tensor.
        results: Name, type and whether to round to float16, of each output.
        last_uses: Values that nothing needs afterwards.
        blocks: Of `cond` and `while_loop`.
    """

    operation: Operation
    function: Callable[..., Any]
    constants: Mapping[str, Any]
    computed: tuple[tuple[str, tuple[str | Tensor, ...], bool], ...]
    results: tuple[tuple[str, torch.dtype, bool], ...]
    last_uses: tuple[str, ...]
    blocks: tuple["CompiledBlock", ...] = ()


@dataclass(frozen=True)
class CompiledBlock:
    """A block, ready to run."""

    inputs: tuple[Value, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    constants: Mapping[str, Tensor]


def check_operations(block: Block, package: Package) -> None:
    """Refuse programs that cannot be run, before anything of them is.

    Raises:
        UnknownOperationError: If there are such; all are named.
    """
    unknown: dict[str, str] = {}
    for operation in block.walk():
        if operation.kind == "const" or operation.kind in CONTROL:
            continue
        definition = OPERATIONS.get(operation.kind)
        if definition is None:
            unknown.setdefault(operation.kind, operation.kind)
            continue
        parameters = definition.parameters
        strange = set(operation.inputs) - set(parameters) - IGNORED
        missing = {name for name, optional in parameters.items() if not optional} - set(operation.inputs)
        for name in sorted(strange):
            unknown.setdefault(f"{operation.kind}.{name}", f"{operation.kind} with a parameter {name}")
        for name in sorted(missing):
            unknown.setdefault(f"{operation.kind}-{name}", f"{operation.kind} without its parameter {name}")
    if unknown:
        names = ", ".join(sorted(unknown.values()))
        found = f"operations that are not known here: {names}"
        raise UnknownOperationError(package.path, found, "known operations")


class Compiler:
    """Turns blocks into steps.

    Args:
        package: Where the constants are.
        dtype: Type of all floating-point values; see the module.
    """

    def __init__(self, package: Package, dtype: torch.dtype) -> None:
        self.package = package
        self.dtype = dtype
        self.rounding = dtype == torch.float32

    def compile(self, block: Block, constants: Mapping[str, Any] | None = None) -> CompiledBlock:
        """The steps of a block; `constants` are those of the blocks around it."""
        known: dict[str, Any] = dict(constants or {})
        steps: list[Step] = []
        defined = {value.name for value in block.inputs}
        for operation in block.operations:
            if operation.kind == "const":
                known[operation.outputs[0].name] = constant(operation, self.package)
                continue
            step = self._step(operation, known)
            defined |= {name for name, _, _ in step.results}
            if operation.kind.startswith("constexpr_"):
                environment: Environment = {}
                run_step(step, environment)
                known.update(environment)
            else:
                steps.append(step)
        needed = set(block.outputs)
        results = {name: self.tensor(known[name]) for name in needed - defined if name in known}
        return CompiledBlock(block.inputs, block.outputs, _with_last_uses(steps, needed), results)

    def tensor(self, value: Any) -> Tensor:  # noqa: ANN401 - NumPy or torch
        """A constant as a tensor in the types of the run."""
        if isinstance(value, Tensor):
            return value
        array = np.asarray(value)
        if array.dtype.kind == "f":
            return torch.from_numpy(array.astype(np.float64 if self.dtype == torch.float64 else np.float32))
        # A copy, because the weight file is mapped read-only.
        return torch.from_numpy(array.astype(str(INTEGERS[array.dtype.name]).removeprefix("torch.")))

    def _step(self, operation: Operation, known: Mapping[str, Any]) -> Step:
        definition = OPERATIONS.get(operation.kind)
        attributes = definition.attributes if definition else frozenset()
        constants: dict[str, Any] = {}
        computed: list[tuple[str, tuple[str | Tensor, ...], bool]] = []
        for parameter, sources in operation.inputs.items():
            if parameter in IGNORED:
                continue
            values = [self._constant(source, known) for source in sources]
            plain = parameter in attributes
            several = parameter in SEVERAL
            if all(value is not None for value in values):
                parts = [_python(value) if plain else self.tensor(value) for value in values]
                constants[parameter] = parts[0] if len(parts) == 1 and not several else tuple(parts)
            else:
                mixed = tuple(
                    str(source) if value is None else self.tensor(value)
                    for source, value in zip(sources, values, strict=True)
                )
                computed.append((parameter, mixed, plain))
        if definition and definition.prepare:
            if any(parameter.startswith(("weight", "bias")) for parameter, _, _ in computed):
                raise FileError(self.package.path, f"{operation} with computed weights", "constant weights")
            constants = definition.prepare(constants)
        moves = definition is not None and definition.moves
        results = tuple(
            (value.name, self._dtype(value), self.rounding and value.type.dtype == "float16" and not moves)
            for value in operation.outputs
        )
        blocks = tuple(self.compile(block, known) for block in operation.blocks)
        function = definition.function if definition else _control
        return Step(operation, function, constants, tuple(computed), results, (), blocks)

    def _constant(self, source: str | Literal, known: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of any kind
        return known.get(source) if isinstance(source, str) else read_value(source.message, self.package)

    def _dtype(self, value: Value) -> torch.dtype:
        if value.type.dtype in FLOATS:
            return self.dtype
        if value.type.dtype not in INTEGERS:
            raise FileError(self.package.path, f"a computed value of the type {value.type}", "numbers")
        return INTEGERS[value.type.dtype]


def run_block(block: CompiledBlock, environment: Environment) -> list[Tensor]:
    """Run the steps of a block.

    Args:
        block: What to run.
        environment: The values known at its start; changed.

    Returns:
        The outputs, in order.
    """
    environment.update(block.constants)
    for step in block.steps:
        run_step(step, environment)
    return [environment[name] for name in block.outputs]


def run_step(step: Step, environment: Environment) -> tuple[Tensor, ...]:
    """Run one step, forget the values that were used for the last time, and give its outputs."""
    arguments = dict(step.constants)
    for parameter, sources, plain in step.computed:
        values = [environment[source] if isinstance(source, str) else source for source in sources]
        if plain:
            values = [value.tolist() for value in values]
        arguments[parameter] = tuple(values) if parameter in SEVERAL else values[0]
    if step.blocks:
        results = _run_control(step, arguments, environment)
    else:
        try:
            results = step.function(**arguments)
        except FAILURES as error:
            raise OperationError(step.operation, error) from error
    kept: list[Tensor] = []
    results = results if isinstance(results, tuple | list) else (results,)
    for tensor, (name, dtype, rounding) in zip(results, step.results, strict=True):
        settled = tensor if tensor.dtype is dtype else tensor.to(dtype)
        if rounding:
            settled = settled.half().to(dtype)
        environment[name] = settled
        kept.append(settled)
    for name in step.last_uses:
        del environment[name]
    return tuple(kept)


def _control(**_: object) -> None:
    raise NotImplementedError("a control operation without blocks")


def _run_control(step: Step, arguments: Mapping[str, Any], environment: Environment) -> Iterable[Tensor]:
    first, second = step.blocks
    if step.operation.kind == "cond":
        chosen = first if bool(arguments["pred"]) else second
        return run_block(chosen, dict(environment))
    state: Sequence[Tensor] = arguments["loop_vars"]
    while True:
        inner = {**environment, **_bound(first, state)}
        if not bool(run_block(first, inner)[0]):
            return state
        state = run_block(second, {**environment, **_bound(second, state)})


def _bound(block: CompiledBlock, values: Iterable[Tensor]) -> Environment:
    return {value.name: tensor for value, tensor in zip(block.inputs, values, strict=True)}


def _python(value: Any) -> Any:  # noqa: ANN401 - of any kind
    return value.tolist() if isinstance(value, np.ndarray | Tensor) else value


def _with_last_uses(steps: list[Step], needed: set[str]) -> tuple[Step, ...]:
    """The steps, each with the values that it is the last to use or that nothing uses."""
    alive = set(needed)
    result = []
    for step in reversed(steps):
        touched = _names(step) | {name for name, _, _ in step.results}
        ends = tuple(sorted(touched - alive))
        alive |= touched
        result.append(
            Step(
                step.operation,
                step.function,
                step.constants,
                step.computed,
                step.results,
                ends,
                step.blocks,
            )
        )
    return tuple(reversed(result))


def _names(step: Step) -> set[str]:
    """Values from outside that a step reads, in its blocks too."""
    names = {source for _, sources, _ in step.computed for source in sources if isinstance(source, str)}
    for block in step.blocks:
        own = {value.name for value in block.inputs} | set(block.constants)
        for inner in block.steps:
            names |= _names(inner) - own
            own |= {name for name, _, _ in inner.results}
        names |= set(block.outputs) - own
    return names
