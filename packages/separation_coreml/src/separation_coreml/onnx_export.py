"""A model as an ONNX file with real tensors only, checked with ONNX Runtime."""

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from audio_io.atomic import atomic_path
from audio_io.errors import ConfigError, UserError
from separation_coreml.realize.capture import Realized

# The newest that ONNX Runtime Mobile and the TorchScript exporter share.
OPSET = 17


class MissingOnnxError(UserError):
    """The optional dependencies for ONNX files are not installed."""


@dataclass(frozen=True)
class OnnxReport:
    """What an export gave.

    Attributes:
        path: The file.
        size_mb: Its size in MB (10^6 bytes).
        opset: Version of the ONNX operator set.
        operations: Nodes of the graph, constants not counted.
        max_difference: Largest difference between ONNX Runtime's outputs and the module's.
        sdr_db: Energy of the module's outputs over that of the difference, in dB.
        complex_operations: How often each complex operation was replaced by real ones.
    """

    path: Path
    size_mb: float
    opset: int
    operations: int
    max_difference: float
    sdr_db: float
    complex_operations: Mapping[str, int]


def require_onnx(purpose: str) -> None:
    """Refuse to go on without the extra `onnx`.

    Raises:
        MissingOnnxError: If one of its modules is not installed.
    """
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingOnnxError(
            f"{purpose}: {' and '.join(missing)} {verb} not installed; "
            "run: pip install 'separation-coreml[onnx]'"
        )


def export_onnx(
    module: nn.Module,
    example_inputs: Sequence[Tensor],
    path: str | Path,
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    metadata: Mapping[str, str] | None = None,
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

    inputs = tuple(example_inputs)
    realized = Realized(module, inputs, short_sums=True)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = module(*(tensor.clone() for tensor in inputs))
        with atomic_path(path) as temporary:
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
            found = _run(temporary, input_names, inputs)
    expected = (expected,) if isinstance(expected, Tensor) else tuple(expected)
    noise = sum(float((a.double() - b.double()).square().sum()) for a, b in zip(expected, found, strict=True))
    energy = sum(float(a.double().square().sum()) for a in expected)
    return OnnxReport(
        path=path,
        size_mb=path.stat().st_size / 1e6,
        opset=OPSET,
        operations=sum(node.op_type != "Constant" for node in graph.graph.node),
        max_difference=max(float((a - b).abs().max()) for a, b in zip(expected, found, strict=True)),
        sdr_db=float(10 * torch.log10(torch.tensor(energy / noise))) if noise else float("inf"),
        complex_operations=realized.complex_operations,
    )


def _run(path: Path, names: Sequence[str], inputs: Sequence[Tensor]) -> list[Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    return [torch.from_numpy(output) for output in session.run(None, given)]
