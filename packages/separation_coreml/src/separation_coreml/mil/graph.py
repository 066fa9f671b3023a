"""The program of a package as plain Python objects: blocks of operations between named values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from audio_io.errors import FileError
from separation_coreml.mil.reader import Package
from separation_coreml.mil.values import TensorType, read_type, read_value


@dataclass(frozen=True)
class Value:
    """A named result.

    Attributes:
        name: Unique in its block.
        type: As the program declares it.
    """

    name: str
    type: TensorType


@dataclass(frozen=True)
class Literal:
    """A constant that stands in an operation itself; `message` is read when it is needed."""

    message: Any


@dataclass(frozen=True)
class Operation:
    """One step of a program.

    Attributes:
        kind: Such as `conv`.
        name: Given by the converter, mostly after the layer it comes from.
        inputs: For each parameter the names of values, or constants.
        outputs: What it computes.
        blocks: Of `cond` and `while_loop`.
    """

    kind: str
    name: str
    inputs: Mapping[str, tuple[str | Literal, ...]]
    outputs: tuple[Value, ...]
    blocks: tuple["Block", ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}'"


@dataclass(frozen=True)
class Block:
    """Operations in order, with what they start from and what they give."""

    inputs: tuple[Value, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]

    def walk(self) -> Iterator[Operation]:
        """All operations, those of nested blocks included."""
        for operation in self.operations:
            yield operation
            for block in operation.blocks:
                yield from block.walk()


def read_graph(package: Package) -> Block:
    """The main function of a package.

    Raises:
        FileError: If there is none, or a value is of a type that is not handled.
    """
    program = package.specification.mlProgram
    name = package.specification.description.defaultFunctionName or "main"
    if name not in program.functions:
        raise FileError(package.path, f"no function {name!r} in the program", "a program with that function")
    function = program.functions[name]
    if function.opset not in function.block_specializations:
        raise FileError(
            package.path,
            f"a program without a block for {function.opset or 'its opset'}",
            "a complete program",
        )
    block = _read_block(function.block_specializations[function.opset], package)
    return Block(_values(function.inputs, package), block.outputs, block.operations)


def constant(operation: Operation, package: Package) -> Any:  # noqa: ANN401 - of any kind
    """The value of a `const` operation."""
    literal = operation.inputs["val"][0]
    assert isinstance(literal, Literal)
    return read_value(literal.message, package)


def _values(messages: Any, package: Package) -> tuple[Value, ...]:  # noqa: ANN401 - messages have no types
    return tuple(Value(item.name, read_type(item.type, package)) for item in messages)


def _read_block(message: Any, package: Package) -> Block:  # noqa: ANN401 - messages have no types
    operations = tuple(_read_operation(item, package) for item in message.operations)
    return Block(_values(message.inputs, package), tuple(message.outputs), operations)


def _read_operation(message: Any, package: Package) -> Operation:  # noqa: ANN401 - messages have no types
    inputs: dict[str, tuple[str | Literal, ...]] = {
        name: tuple(
            binding.name if binding.WhichOneof("binding") == "name" else Literal(binding.value)
            for binding in argument.arguments
        )
        for name, argument in message.inputs.items()
    }
    name = ""
    for key, value in message.attributes.items():
        if key == "name":
            name = str(read_value(value, package))
        else:
            inputs[key] = (Literal(value),)
    if message.type == "const" and "val" not in inputs:
        raise FileError(package.path, f"a constant '{name}' without a value", "a complete program")
    return Operation(
        message.type,
        name or (message.outputs[0].name if message.outputs else ""),
        inputs,
        _values(message.outputs, package),
        tuple(_read_block(block, package) for block in message.blocks),
    )
