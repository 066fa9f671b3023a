"""A model as an ONNX file with real tensors only, checked with ONNX Runtime."""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from audio_io.atomic import atomic_path
from audio_io.errors import ConfigError
from separation_coreml.realize.capture import Realized
from separation_coreml.runtimes import OnnxProgram, require_onnx
from separation_coreml.verify import ParityReport, verify

# The newest that ONNX Runtime Mobile and the TorchScript exporter share.
OPSET = 17


@dataclass(frozen=True)
class OnnxReport:
    """What an export gave.

    Attributes:
        path: The file.
        size_mb: Its size in MB (10^6 bytes).
        opset: Version of the ONNX operator set.
        operations: Nodes of the graph, constants not counted.
        seconds: Duration of capture, export and writing.
        parity: ONNX Runtime's outputs against the module's.
        complex_operations: How often each complex operation was replaced by real ones.
    """

    path: Path
    size_mb: float
    opset: int
    operations: int
    seconds: float
    parity: ParityReport
    complex_operations: Mapping[str, int]


def export_onnx(
    module: nn.Module,
    example_inputs: Sequence[Tensor],
    path: str | Path,
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    metadata: Mapping[str, str] | None = None,
    stems: Sequence[str] = (),
) -> OnnxReport:
    """Write a module as an ONNX file for inputs of fixed shapes, and run it once.

    Complex arithmetic is replaced by real arithmetic on the way, as in `convert`: ONNX Runtime has no kernels
    for complex tensors.

    Args:
        module: Inputs and outputs have to be real tensors.
        example_inputs: Inputs of the shapes that the file shall take.
        path: Where to write; its name ends in `.onnx`.
        input_names: A name for each input.
        output_names: A name for each output.
        metadata: Written into the file.
        stems: See `verify`.

    Raises:
        MissingOnnxError: If the extra is not installed.
        ConfigError: If the path does not end in `.onnx`.
        RealizeError: If the module cannot be realised.
    """
    require_onnx("export-onnx")
    path = Path(path)
    if path.suffix != ".onnx":
        raise ConfigError("output", str(path), "a name that ends in .onnx")
    import onnx

    started = time.monotonic()
    inputs = tuple(example_inputs)
    realized = Realized(module, inputs, short_sums=True)
    with torch.no_grad(), warnings.catch_warnings(), atomic_path(path) as temporary:
        warnings.simplefilter("ignore")
        torch.onnx.export(
            realized,
            tuple(tensor.clone() for tensor in inputs),
            str(temporary),
            input_names=list(input_names),
            output_names=list(output_names),
            opset_version=OPSET,
            dynamo=False,
        )
        graph = onnx.load(str(temporary))
        onnx.helper.set_model_props(graph, dict(metadata or {}))
        onnx.save(graph, str(temporary))
        seconds = time.monotonic() - started
        given = dict(zip(input_names, inputs, strict=True))
        parity = verify(OnnxProgram(temporary), lambda *_: realized.expected, given, stems=stems)
    return OnnxReport(
        path=path,
        size_mb=path.stat().st_size / 1e6,
        opset=OPSET,
        operations=sum(node.op_type != "Constant" for node in graph.graph.node),
        seconds=seconds,
        parity=parity,
        complex_operations=realized.complex_operations,
    )
