"""Writing a graph in each format, and running the file that was written."""

import contextlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pitch.constants import SAMPLE_RATE, WINDOW_SIZE
from pitch.export.config import ExportConfig

Runner = Callable[[Tensor], tuple[Tensor, ...]]

# The file inside a TorchScript or torch.export archive that describes it.
METADATA_FILE = "pitch.json"


def write_file(graph: nn.Module, config: ExportConfig, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a graph.

    Args:
        graph: From `build_graph`.
        config: Format, input and version of the operators.
        path: Where to write.
        metadata: Kept in the file.
    """
    with _quiet(), torch.no_grad():
        if config.format == "torchscript":
            script = torch.jit.trace(graph, _example(config), check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(script, path, _extra_files={METADATA_FILE: json.dumps(metadata)})
            return
        axes = {
            0: torch.export.Dim.DYNAMIC,
            **({1: torch.export.Dim.DYNAMIC} if _is_waveform(config) else {}),
        }
        program = torch.export.export(graph, (_example(config),), dynamic_shapes=(axes,))
        if config.format == "exported":
            with path.open("wb") as file:
                torch.export.save(program, file, extra_files={METADATA_FILE: json.dumps(metadata)})
        else:
            _write_onnx(program, config, path, metadata)


def read_file(path: Path, config: ExportConfig) -> Runner:
    """The function that a file computes, run by what others would run it with.

    Args:
        path: From `write_file`.
        config: The configuration that it was written with.
    """
    with _quiet():
        if config.format == "onnx":
            return _onnx_runner(path)
        if config.format == "torchscript":
            return _as_tuples(torch.jit.load(path, map_location="cpu"))  # type: ignore[no-untyped-call]
        with path.open("rb") as file:
            return _as_tuples(torch.export.load(file).module())


def _write_onnx(
    program: torch.export.ExportedProgram, config: ExportConfig, path: Path, metadata: Mapping[str, str]
) -> None:
    import onnx_ir

    onnx = torch.onnx.export(
        program,
        input_names=[config.input],
        output_names=config.output_names,
        opset_version=config.opset,
        dynamo=True,
        verbose=False,
    )
    assert onnx is not None
    lead = ["batch", "frames"] if _is_waveform(config) else ["frames"]
    # The exporter calls the free axes s0, s1, …
    onnx.model.graph.inputs[0].shape = onnx_ir.Shape(
        ["batch", "samples"] if _is_waveform(config) else ["frames", WINDOW_SIZE]
    )
    for output in onnx.model.graph.outputs:
        assert output.shape is not None
        output.shape = onnx_ir.Shape([*lead, *output.shape[len(lead) :]])
    onnx.model.metadata_props.update(metadata)
    # One file: the weights beside it would be lost by a copy.
    onnx.save(path, external_data=False)


def _onnx_runner(path: Path) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(output) for output in session.run(None, {name: x.numpy()}))

    return run


def _as_tuples(module: Callable[[Tensor], Tensor | tuple[Tensor, ...]]) -> Runner:
    def run(x: Tensor) -> tuple[Tensor, ...]:
        outputs = module(x)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)

    return run


def _is_waveform(config: ExportConfig) -> bool:
    return config.input == "waveform"


def _example(config: ExportConfig) -> Tensor:
    # No axis of length 1: torch.export would take it for a constant.
    length = 4 * config.hop_length + SAMPLE_RATE // 100 if _is_waveform(config) else WINDOW_SIZE
    return torch.randn(3, length, generator=torch.Generator().manual_seed(0))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporters say about themselves; `pitch.export.parity` checks what they did."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
