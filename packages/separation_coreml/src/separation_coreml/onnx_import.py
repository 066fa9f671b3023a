"""The weights of a published ONNX file: the layers of its graph, in the order of computation.

This is no general importer. It reads chains of convolutions, linear layers, batch norms and ReLU, as the
exporter of PyTorch writes them: norms may be folded into the convolutions before them, weights of linear
layers transposed, constants shared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from separation_coreml.checkpoints import CheckpointError
from separation_coreml.runtimes import require_onnx

_WEIGHTED = {"Conv": 4, "ConvTranspose": 4, "MatMul": 2}  # and the axes of their weights
_PLAIN = frozenset({"Relu", "Add", "Mul", "Transpose"})
_NORM_INPUTS = ("weight", "bias", "running_mean", "running_var")


@dataclass
class Layer:
    """A layer with weights.

    Attributes:
        kind: `Conv`, `ConvTranspose` or `MatMul`, as ONNX calls them.
        weight: As torch stores it.
        bias: If it has one.
        norm: `weight`, `bias`, `running_mean` and `running_var` of the batch norm that follows, if one does.
        epsilon: Of that norm.
    """

    kind: str
    weight: Tensor
    bias: Tensor | None = None
    norm: dict[str, Tensor] = field(default_factory=dict)
    epsilon: float = 0.0


@dataclass(frozen=True)
class Network:
    """What a file holds.

    Attributes:
        layers: Those with weights, in the order of computation.
        operations: Kinds of all operations in this order; batch norms and biases count with their layer.
    """

    layers: list[Layer]
    operations: list[str]


def read_network(path: Path, content: bytes | None = None) -> Network:
    """The layers of an ONNX file.

    Args:
        path: The file, or the archive that it is in.
        content: Its bytes, if they are from an archive.

    Raises:
        MissingOnnxError: If the extra `onnx` is not installed.
        CheckpointError: If it is no ONNX file, or holds an operation that has no place here.
    """
    require_onnx(path.name)
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships none

    if content is None and not path.is_file():
        raise CheckpointError(path, "a folder" if path.is_dir() else "no file", "an ONNX file")
    try:
        graph = onnx.load_model_from_string(path.read_bytes() if content is None else content).graph
    except DecodeError as error:
        raise CheckpointError(path, "a file that cannot be read", "an ONNX file") from error
    if not graph.node:
        raise CheckpointError(path, "no operations", "an ONNX file")
    reader = _Reader(path)
    for tensor in graph.initializer:
        reader.constants[tensor.name] = reader.tensor(tensor)
    for node in graph.node:
        try:
            reader.take(node)
        except (LookupError, RuntimeError, ValueError) as error:
            found = f"a damaged operation {node.op_type} ({node.name})"
            raise CheckpointError(path, found, "an ONNX file") from error
    return Network(reader.layers, reader.operations)


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.constants: dict[str, Tensor] = {}
        self.layers: list[Layer] = []
        self.operations: list[str] = []
        self._last = ""  # what the last layer gives

    def tensor(self, tensor: Any) -> Tensor:  # noqa: ANN401 - onnx is optional
        from onnx import TensorProto, numpy_helper

        # Such data is in another file, at a place that this one names.
        if tensor.data_location == TensorProto.EXTERNAL:
            raise CheckpointError(self.path, f"the tensor {tensor.name!r} in another file", "all in one file")
        try:
            return torch.from_numpy(numpy_helper.to_array(tensor).copy())
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                self.path, f"a damaged tensor {tensor.name!r}", "as many values as its shape says"
            ) from error

    def take(self, node: Any) -> None:  # noqa: ANN401 - as above
        kind, inputs = node.op_type, [self.constants.get(name) for name in node.input]
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if kind == "Constant" and "value" in attributes:
            self.constants[node.output[0]] = self.tensor(attributes["value"].t)
        elif kind == "Identity" and inputs[0] is not None:
            self.constants[node.output[0]] = inputs[0]
        elif kind == "Transpose" and inputs[0] is not None:
            self.constants[node.output[0]] = inputs[0].permute(*attributes["perm"].ints)
        elif kind in _WEIGHTED and len(inputs) > 1 and inputs[1] is not None:
            if inputs[1].dim() != _WEIGHTED[kind]:
                found = f"a weight of shape {list(inputs[1].shape)} for {kind} ({node.name})"
                raise CheckpointError(self.path, found, f"{_WEIGHTED[kind]} axes")
            weight = inputs[1].T if kind == "MatMul" else inputs[1]
            self.layers.append(Layer(kind, weight, inputs[2] if len(inputs) > 2 else None))
            self.operations.append(kind)
            self._last = node.output[0]
        elif kind == "BatchNormalization" and node.input[0] == self._last and None not in inputs[1:5]:
            layer = self.layers[-1]
            layer.norm = {key: x for key, x in zip(_NORM_INPUTS, inputs[1:5], strict=True) if x is not None}
            layer.epsilon = attributes["epsilon"].f if "epsilon" in attributes else 1e-5
            self._last = ""
        elif kind == "Add" and self._last and self._last in node.input and any(x is not None for x in inputs):
            self.layers[-1].bias = next(x for x in inputs if x is not None)
            self._last = node.output[0]
        elif kind in _PLAIN:
            self.operations.append(kind)
        else:
            found = f"an operation {kind} ({node.name or node.output[0]})"
            raise CheckpointError(self.path, found, "convolutions, linear layers, batch norms and ReLU")


def adopt(
    pairs: Sequence[tuple[nn.Module, nn.BatchNorm2d | None]], layers: Sequence[Layer], path: Path
) -> None:
    """Put the values of layers into modules.

    Args:
        pairs: Convolutions and linear layers in the order of computation, each with the batch norm that
            follows it. A norm that is folded in the file becomes the identity.
        layers: As many of the file.
        path: For the message.

    Raises:
        CheckpointError: If the number or a shape differs.
    """
    if len(pairs) != len(layers):
        raise CheckpointError(path, f"{len(layers)} layers with weights", f"{len(pairs)}")
    for index, ((module, norm), layer) in enumerate(zip(pairs, layers, strict=True)):
        values: dict[nn.Module, dict[str, Tensor]] = {module: {"weight": layer.weight}}
        if getattr(module, "bias", None) is not None:
            zeros = torch.zeros_like(module.get_parameter("bias"))
            values[module]["bias"] = zeros if layer.bias is None else layer.bias
        if norm is not None:
            if layer.norm:
                norm.eps = layer.epsilon
            values[norm] = layer.norm or _identity(norm)
        for target, state in values.items():
            for key, value in state.items():
                parameter = getattr(target, key)
                if parameter.shape != value.shape:
                    found = f"layer {index} ({layer.kind}): {key} of shape {tuple(value.shape)}"
                    raise CheckpointError(path, found, f"shape {tuple(parameter.shape)}")
                with torch.no_grad():
                    parameter.copy_(value)


def _identity(norm: nn.BatchNorm2d) -> dict[str, Tensor]:
    ones = torch.ones(norm.num_features)
    # The norm divides by the root of the variance and epsilon.
    weight = (1 + norm.eps) ** 0.5 * ones
    return {"weight": weight, "bias": 0 * ones, "running_mean": 0 * ones, "running_var": ones}
