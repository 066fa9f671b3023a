"""A converted model as something that runs, with torch, on any platform."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audio_io.errors import ConfigError, FileError
from separation_coreml.mil.graph import Operation, read_graph
from separation_coreml.mil.interpreter import (
    CompiledBlock,
    Compiler,
    Environment,
    OperationError,
    check_operations,
    run_block,
    run_step,
)
from separation_coreml.mil.reader import Package, open_package
from separation_coreml.mil.values import TensorType


@dataclass(frozen=True)
class Feature:
    """An input or an output of a model.

    Attributes:
        name: As an app names it.
        type: Number type and shape; None where the size may vary.
        default: The shape that the converter was given.
        shapes: The only shapes accepted, if the model enumerates them.
        ranges: Least and greatest size (None: no limit) of each axis, if the model declares them.
    """

    name: str
    type: TensorType
    default: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[tuple[int, int | None], ...] = ()

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape can be given."""
        if len(shape) != len(self.type.shape):
            return False
        pairs = zip(shape, self.type.shape, strict=True)
        if any(declared is not None and size != declared for size, declared in pairs):
            return False
        if self.shapes and shape not in self.shapes:
            return False
        return not self.ranges or all(
            low <= size and (high is None or size <= high)
            for size, (low, high) in zip(shape, self.ranges, strict=True)
        )


class Program:
    """A loaded ML program; made by `load_program`.

    Attributes:
        path: The package.
        inputs: What `run` takes.
        outputs: What it gives.
        metadata: Description, author, licence and version of the model, and the converter's entries.
        operations: In the order in which they run; constants are not among them.
        dtype: In which floating-point numbers are computed; see `separation_coreml.mil.interpreter`.
    """

    def __init__(
        self,
        package: Package,
        operations: tuple[Operation, ...],
        block: CompiledBlock,
        dtype: torch.dtype,
    ) -> None:
        self.path = package.path
        self.operations = operations
        self.dtype = dtype
        self.metadata = _metadata(package)
        self._block = block
        declared = {value.name: value.type for value in block.inputs}
        description = package.specification.description
        self.inputs = tuple(_feature(item, declared.get(item.name)) for item in description.input)
        self.outputs = tuple(_feature(item, None) for item in description.output)
        if set(declared) != {feature.name for feature in self.inputs} or not {
            feature.name for feature in self.outputs
        } <= set(block.outputs):
            raise FileError(
                self.path, "inputs or outputs that the program does not have", "a description of the program"
            )

    @torch.no_grad()
    def run(self, **tensors: Tensor) -> dict[str, Tensor]:
        """Compute the outputs.

        Args:
            tensors: One tensor for each input, by name.

        Returns:
            The outputs by name, in the order of `outputs`.

        Raises:
            ConfigError: If an input is missing, unknown, or of another shape or kind.
            FileError: If an operation cannot be computed as the program says.
        """
        try:
            results = run_block(self._block, self._environment(tensors))
        except OperationError as error:
            raise self._broken(error) from error
        by_name = dict(zip(self._block.outputs, results, strict=True))
        return {feature.name: by_name[feature.name] for feature in self.outputs}

    @torch.no_grad()
    def trace(self, **tensors: Tensor) -> Iterator[tuple[Operation, tuple[Tensor, ...]]]:
        """Run the program one operation at a time.

        Args:
            tensors: As `run` takes them.

        Yields:
            Each operation with its outputs, in the order of `operations`.

        Raises:
            ConfigError: As `run` does.
            FileError: As `run` does.
        """
        environment = self._environment(tensors)
        environment.update(self._block.constants)
        for step in self._block.steps:
            try:
                values = run_step(step, environment)
            except OperationError as error:
                raise self._broken(error) from error
            yield step.operation, values

    def _broken(self, error: OperationError) -> FileError:
        found = f"{error.operation}, which cannot be computed ({error})"
        return FileError(self.path, found, "a valid program")

    def _environment(self, tensors: Mapping[str, Tensor]) -> Environment:
        names = [feature.name for feature in self.inputs]
        if set(tensors) != set(names):
            raise ConfigError("inputs", ", ".join(tensors) or "none", "exactly " + ", ".join(names))
        environment: Environment = {}
        for feature in self.inputs:
            tensor = tensors[feature.name]
            if not feature.accepts(tuple(tensor.shape)):
                expected = str(feature.type)
                raise ConfigError(feature.name, f"the shape {list(tensor.shape)}", expected)
            floating = feature.type.dtype.startswith("float")
            if tensor.is_floating_point() != floating:
                raise ConfigError(feature.name, str(tensor.dtype), feature.type.dtype)
            if feature.type.dtype == "float16" and self.dtype != torch.float64:
                tensor = tensor.half()
            environment[feature.name] = tensor.to(self.dtype if floating else torch.int32)
        return environment


def load_program(path: str | Path, *, dtype: torch.dtype = torch.float32) -> Program:
    """Read a `.mlpackage` and make it ready to run.

    Args:
        path: The package.
        dtype: float32: values that the program holds in float16 are rounded to it. float64: no rounding at
            all, for finding out what rounding does.

    Raises:
        FileError: If the package is incomplete, damaged or holds no ML program; if it names files outside of
            itself; if it has operations that are not known (all are named).
    """
    if dtype not in {torch.float32, torch.float64}:
        raise ConfigError("dtype", str(dtype), "torch.float32 or torch.float64")
    package = open_package(path)
    graph = read_graph(package)
    check_operations(graph, package)
    try:
        with torch.no_grad():
            block = Compiler(package, dtype).compile(graph)
    except OperationError as error:
        found = f"{error.operation}, whose weights cannot be decompressed ({error})"
        raise FileError(package.path, found, "a valid program") from error
    return Program(package, tuple(step.operation for step in block.steps), block, dtype)


def _metadata(package: Package) -> dict[str, str]:
    metadata = package.specification.description.metadata
    fields = {
        "description": metadata.shortDescription,
        "author": metadata.author,
        "licence": metadata.license,
        "version": metadata.versionString,
    }
    return {**{key: text for key, text in fields.items() if text}, **dict(metadata.userDefined)}


def _feature(message: Any, declared: TensorType | None) -> Feature:  # noqa: ANN401 - messages have no types
    array = message.type.multiArrayType
    default = tuple(array.shape)
    if declared is None:
        name = array.ArrayDataType.Name(array.dataType).lower() if array.dataType else "float32"
        declared = TensorType({"double": "float64"}.get(name, name), default)
    flexibility = array.WhichOneof("ShapeFlexibility")
    shapes: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[tuple[int, int | None], ...] = ()
    if flexibility == "enumeratedShapes":
        shapes = tuple(tuple(item.shape) for item in array.enumeratedShapes.shapes)
    elif flexibility == "shapeRange":
        ranges = tuple(
            (item.lowerBound, item.upperBound if item.upperBound >= 0 else None)
            for item in array.shapeRange.sizeRanges
        )
    return Feature(message.name, declared, default, shapes, ranges)
