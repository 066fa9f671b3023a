"""One model of a report, measured in a process of its own: `python -m separation_coreml.report_row`."""

import dataclasses
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from audio_io.atomic import write_json
from audio_io.errors import UserError
from separation_coreml import registry
from separation_coreml.config import ConvertConfig
from separation_coreml.convert import convert
from separation_coreml.convert_model import Source, prepare
from separation_coreml.mil import load_program
from separation_coreml.onnx_export import export_onnx
from separation_coreml.realize.capture import Realized
from separation_coreml.report import BARS, CLIP, ONNX, Measurement, Row, Task, clip
from separation_coreml.verify import ParityReport, sdr, verify

CONFIGS = {
    "fp32": ConvertConfig(),
    "fp16": ConvertConfig(precision="fp16"),
    "mixed": ConvertConfig(precision="mixed"),
    "int8": ConvertConfig(quantize="int8"),
}
# An output that is nearly silent would agree with anything that is nearly silent.
LEAST_DEVIATION = 1e-3


class DegenerateOutputError(UserError):
    """The output of a model with random weights is too small for a comparison to prove anything."""


def measure(task: Task, scratch: Path) -> Row:
    """Convert a model in each of the kinds asked for, and compare each with PyTorch.

    Args:
        task: What to measure.
        scratch: Folder for the packages.

    Raises:
        UserError: If the model cannot be built or converted, or gives next to nothing.
    """
    spec = registry.get_spec(task.model)
    source = prepare(task.model, weights=task.weights, seed=task.seed, segment_seconds=task.segment)
    measured: dict[str, Measurement] = {}
    note, first, deviation, realizing = "", None, 0.0, 0.0
    kinds = [kind for kind in task.kinds if kind != ONNX]
    if kinds:
        started = time.monotonic()
        realized = Realized(source.module, source.inputs)
        realizing = time.monotonic() - started
        deviation = _deviation(realized)
    for kind in kinds:
        path = scratch / f"{kind}.mlpackage"
        converted = convert(
            realized,
            source.inputs,
            path,
            input_names=source.input_names,
            output_names=source.output_names,
            config=CONFIGS[kind],
            metadata=source.metadata,
            stems=spec.stems,
        )
        first = first or converted
        parity = converted.parity
        assert parity is not None
        measured[kind] = _measurement(parity, converted.size_mb, converted.seconds)
        if kind == "fp16" and not parity.sdr >= BARS["fp16"]:
            kinds.append("mixed")
        if kind == "fp32" and parity.sdr < BARS["fp32"]:
            note = diagnose(path, source, realized.expected[0])
    if ONNX in task.kinds:
        measured[ONNX] = _measure_onnx(source, scratch / "model.onnx", spec.stems)
    return Row(
        model=task.model,
        family=spec.family,
        parameters=spec.parameters,
        segment_seconds=int(source.metadata["segment"]) / spec.sample_rate,
        weights=task.weights,
        complex_removed=dict(first.complex_operations) if first else {},
        operations=first.operations if first else 0,
        conversion_seconds=realizing + first.seconds if first else 0.0,
        peak_memory_mb=first.peak_memory_mb if first else 0.0,
        cpu_seconds=time.process_time(),
        deviation=deviation,
        measured=measured,
        note=note,
    )


def _deviation(realized: Realized) -> float:
    deviation = float(realized.expected[0].std())
    if not deviation >= LEAST_DEVIATION:
        raise DegenerateOutputError(
            f"output: found a standard deviation of {deviation:.1e}, expected at least {LEAST_DEVIATION:g}"
        )
    return deviation


def _measure_onnx(source: Source, path: Path, stems: Sequence[str]) -> Measurement:
    report = export_onnx(
        source.module,
        source.inputs,
        path,
        input_names=source.input_names,
        output_names=source.output_names,
        metadata=source.metadata,
        stems=stems,
    )
    return _measurement(report.parity, report.size_mb, report.seconds)


def _measurement(parity: ParityReport, size_mb: float, seconds: float) -> Measurement:
    return Measurement(
        sdr=clip(parity.sdr),
        # In this order, NaN becomes the limit.
        max_abs=min(10.0**CLIP, parity.max_abs),
        stems={stem: clip(value) for stem, value in parity.outputs[0].stems.items()},
        size_mb=size_mb,
        seconds=seconds,
    )


def diagnose(path: Path, source: Source, reference: Tensor) -> str:
    """Where a float32 program leaves PyTorch: by rounding, or by computing something else.

    The program is run in float64 too. If PyTorch's own result in float32 is no nearer to that than the
    program's is, both only round; if it is farther, the program computes something else.
    """
    inputs = dict(zip(source.input_names, source.inputs, strict=True))
    program, exact = load_program(path), load_program(path, dtype=torch.float64)
    (unrounded,) = exact.run(**inputs).values()
    theirs = sdr(unrounded, reference)
    report = verify(program, exact, inputs, bisect=exact)
    first = report.first_divergence
    where = (
        ""
        if first is None
        else f"; rounding first passes 110 dB at #{first.index} {first.kind} '{first.name}'"
    )
    ours = f"PyTorch {theirs:.1f} dB, the program {report.sdr:.1f} dB"
    return f"against the same program in float64: {ours}{where}"


def main() -> int:
    """Measure the task given as JSON, and write its row."""
    task = Task.from_json(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        try:
            row = measure(task, Path(folder))
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
    write_json(sys.argv[2], dataclasses.asdict(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
