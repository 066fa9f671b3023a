"""`separation-coreml verify`: whether a package computes what its source does."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from audio_io.errors import ConfigError
from separation_coreml.commands.parsers import Commands

if TYPE_CHECKING:
    from torch import Tensor

    from separation_coreml.families.base import Separator
    from separation_coreml.mil import Program
    from separation_coreml.runtimes import OnnxProgram
    from separation_coreml.verify import ParityReport, Reference, Runnable

DESCRIPTION = """\
Run a .mlpackage, without Core ML, or an .onnx file, by ONNX Runtime, and compare its outputs with
those of a reference: the PyTorch model it was converted from (--model), another file of the same
model (--against), or else, for a package, the same program computed in float64 without any rounding.

On a Mac, Core ML itself runs too and is held against the same reference.
The exit code is 1 if an output is below the threshold."""

_NOT_A_PACKAGE = (
    "model",
    "no reference whose operations are known",
    "--model or --against, without --bisect, for an ONNX file",
)


def add_command(commands: Commands) -> None:
    """Add the parser."""
    verify = commands.add_parser(
        "verify",
        help="compare a package with its source",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verify.add_argument("package", metavar="MODEL", help="the .mlpackage or .onnx file to check")
    reference = verify.add_mutually_exclusive_group()
    reference.add_argument("--against", metavar="OTHER", help="package or ONNX file to compare with")
    reference.add_argument("--model", metavar="NAME", help="model to compare with; see `models`")
    verify.add_argument(
        "--weights", choices=("official", "random"), default="official", help="of --model (default: official)"
    )
    verify.add_argument("--seed", type=int, default=0, help="of random weights and of the noise (default: 0)")
    verify.add_argument("--checkpoint", metavar="FILE", help="weights of --model")
    verify.add_argument("--input", metavar="SONG", help="a recording to compare on, besides noise")
    verify.add_argument(
        "--threshold", type=float, default=110.0, help="SDR each output has to reach in dB (default: 110)"
    )
    verify.add_argument(
        "--bisect",
        action="store_true",
        help="name the first operation below the threshold, and the worst ten",
    )
    verify.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    verify.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`separation-coreml verify`."""
    import torch

    from audio_io.progress import Progress
    from separation_coreml.mil import Program, load_program
    from separation_coreml.runtimes import CoreMLProgram
    from separation_coreml.verify import verify

    if not arguments.threshold > -1000:
        raise ConfigError("threshold", arguments.threshold, "a number of dB")
    if arguments.model is None and (arguments.checkpoint or arguments.weights == "random"):
        raise ConfigError("weights", "no --model", "the model that the weights are of (--model)")
    program = _load(arguments.package)
    separator, network = _separator(arguments, program), _pitch_network(arguments)
    exact = None
    if arguments.against is None and ((separator or network) is None or arguments.bisect):
        if not isinstance(program, Program):
            raise ConfigError(*_NOT_A_PACKAGE)
        exact = load_program(arguments.package, dtype=torch.float64)
    other = _load(arguments.against) if arguments.against else exact
    if arguments.bisect and not (isinstance(program, Program) and isinstance(other, Program)):
        raise ConfigError(*_NOT_A_PACKAGE)
    reference = network or _reference(program, separator, other)
    stems = separator.stems if separator is not None else _stems(program)
    reports: dict[str, ParityReport] = {}
    compared = dict(_inputs(arguments, program, separator))
    steps = (3 if arguments.bisect else 2) * len(compared)
    with Progress(f"verify {program.path.name}", steps, "steps") as progress:
        for source, inputs in compared.items():
            reports[source] = verify(
                program,
                reference,
                inputs,
                threshold=arguments.threshold,
                stems=stems,
                bisect=other if arguments.bisect and isinstance(other, Program) else None,
                progress=progress,
            )
            if sys.platform == "darwin" and isinstance(program, Program):
                reports[f"{source}, Core ML"] = verify(
                    CoreMLProgram(program),
                    reference,
                    inputs,
                    threshold=arguments.threshold,
                    stems=stems,
                )
    if arguments.json:
        print(json.dumps({source: report.as_json() for source, report in reports.items()}, indent=2))
    else:
        for source, report in reports.items():
            print("\n".join(lines(source, report, bisect=arguments.bisect)))
    return 0 if all(report.passed for report in reports.values()) else 1


def _load(path: str) -> "Program | OnnxProgram":
    from separation_coreml.mil import load_program
    from separation_coreml.runtimes import OnnxProgram

    return OnnxProgram(path) if path.endswith(".onnx") else load_program(path)


def _separator(arguments: argparse.Namespace, program: "Runnable") -> "Separator | None":
    from separation_coreml import registry

    if arguments.model is None or arguments.model in registry.PITCH_MODELS:
        return None
    spec = registry.get_spec(arguments.model)
    return registry.build(
        arguments.model,
        weights=arguments.weights,
        seed=arguments.seed,
        checkpoint=arguments.checkpoint,
        segment_seconds=_segment(program, spec.segment) / spec.sample_rate,
    )


def _pitch_network(arguments: argparse.Namespace) -> "Reference | None":
    from separation_coreml import registry

    if arguments.model not in registry.PITCH_MODELS:
        return None
    from separation_coreml.families import crepe

    return crepe.build(
        arguments.model, weights=arguments.weights, seed=arguments.seed, checkpoint=arguments.checkpoint
    )


def _reference(
    program: "Runnable", separator: "Separator | None", other: "Runnable | None"
) -> "Reference | Runnable":
    from separation_coreml.verify import separator_reference

    if separator is not None:
        return separator_reference(program, separator)
    assert other is not None
    return other


def _inputs(
    arguments: argparse.Namespace, program: "Runnable", separator: "Separator | None"
) -> "Iterator[tuple[str, dict[str, Tensor]]]":
    import torch

    from separation_coreml.verify import excerpt, noise, separator_inputs, takes_waveform

    whole = takes_waveform(program)
    if separator is None or whole:
        yield "noise", noise(program, arguments.seed)
        # A model of several inputs has one shape.
        for shape in program.inputs[0].shapes:
            if shape != program.inputs[0].default:
                yield f"noise of the shape {list(shape)}", noise(program, arguments.seed, shape)
    else:
        for length in _segments(program, separator.segment):
            generator = torch.Generator().manual_seed(arguments.seed)
            waveform = 0.1 * torch.randn(1, separator.channels, length, generator=generator)
            source = "noise" if length == separator.segment else f"noise of {length} samples"
            yield source, separator_inputs(program, separator, waveform)
    if arguments.input is None:
        return
    if program.metadata.get("kind") == "pitch":
        from separation_coreml.families import crepe

        frames = program.inputs[0]
        yield arguments.input, {frames.name: crepe.frames_of(arguments.input, frames.default[0])}
        return
    if whole:
        _, channels, length = program.inputs[0].default
        rate = separator.sample_rate if separator else _number(program, "sample_rate", 44100)
    elif separator is not None:
        channels, length, rate = separator.channels, separator.segment, separator.sample_rate
    else:
        raise ConfigError("input", "a recording for the core of a model", "--model, whose STFT it needs")
    waveform = excerpt(arguments.input, rate, channels, length)
    if separator is None:
        yield arguments.input, {program.inputs[0].name: waveform}
    else:
        yield arguments.input, separator_inputs(program, separator, waveform)


def _segment(program: "Runnable", default: int) -> int:
    """Length in samples that the program was converted for."""
    from separation_coreml.verify import takes_waveform

    if takes_waveform(program):
        return program.inputs[0].default[2]
    return _number(program, "segment", default)


def _segments(program: "Runnable", default: int) -> tuple[int, ...]:
    """Lengths in samples that the package of a core takes, its own first."""
    text = program.metadata.get("segments", str(default))
    if not all(part.isdecimal() for part in text.split(",")):
        raise ConfigError("segments", repr(text), "whole numbers in the metadata of the package")
    return tuple(int(part) for part in text.split(","))


def _number(program: "Runnable", key: str, default: int) -> int:
    text = program.metadata.get(key, str(default))
    if not text.isdecimal():
        raise ConfigError(key, repr(text), "a whole number in the metadata of the package")
    return int(text)


def _stems(program: "Runnable") -> tuple[str, ...]:
    names = program.metadata.get("stems", "")
    return tuple(name.strip() for name in names.split(",")) if names else ()


def decibels(value: float) -> str:
    """An SDR for people."""
    return "no difference" if value == float("inf") else f"{value:.1f} dB"


def lines(source: str, report: "ParityReport", *, bisect: bool = False) -> Iterator[str]:
    """What a comparison found, for people."""
    verdict = "reaches" if report.passed else "is BELOW"
    yield f"{source}: SDR {decibels(report.sdr)} {verdict} {report.threshold:g} dB"
    for output in report.outputs:
        yield (
            f"  {output.name} {list(output.shape)}: SDR {decibels(output.sdr)}, "
            f"greatest difference {output.max_abs:.2e}"
        )
        yield from (f"    {stem:<12} {decibels(value)}" for stem, value in output.stems.items())
    if not bisect or not report.operations:
        return
    first = report.first_divergence
    yield f"  results of {len(report.operations)} operations compared"
    yield f"  first below {report.threshold:g} dB: {'none' if first is None else _operation(first)}"
    yield "  worst"
    yield from (f"    {_operation(item)}" for item in report.worst)


def _operation(item: Any) -> str:  # noqa: ANN401 - importing its type would import torch
    return f"#{item.index} {item.kind} '{item.name}': SDR {decibels(item.sdr)}, {item.max_abs:.2e}"
