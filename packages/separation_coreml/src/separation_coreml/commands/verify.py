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
    from separation_coreml.verify import ParityReport, Reference

DESCRIPTION = """\
Run a .mlpackage, without Core ML, and compare its outputs with those of a reference:
the PyTorch model it was converted from (--model), another package of the same model
(--against), or else the same program computed in float64 without any rounding.

On a Mac, Core ML itself runs too and is held against the same reference.
The exit code is 1 if an output is below the threshold."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    verify = commands.add_parser(
        "verify",
        help="compare a package with its source",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verify.add_argument("package", metavar="MODEL.mlpackage", help="the package to check")
    reference = verify.add_mutually_exclusive_group()
    reference.add_argument("--against", metavar="OTHER.mlpackage", help="package to compare with")
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
    from separation_coreml.mil import load_program
    from separation_coreml.verify import CoreMLProgram, verify

    if not arguments.threshold > -1000:
        raise ConfigError("threshold", arguments.threshold, "a number of dB")
    if arguments.model is None and (arguments.checkpoint or arguments.weights == "random"):
        raise ConfigError("weights", "no --model", "the model that the weights are of (--model)")
    program = load_program(arguments.package)
    separator, network = _separator(arguments, program), _pitch_network(arguments)
    exact = None
    if arguments.against is None and ((separator or network) is None or arguments.bisect):
        exact = load_program(arguments.package, dtype=torch.float64)
    other = load_program(arguments.against) if arguments.against else exact
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
                bisect=other if arguments.bisect else None,
                progress=progress,
            )
            if sys.platform == "darwin":
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
            print("\n".join(_lines(source, report, bisect=arguments.bisect)))
    return 0 if all(report.passed for report in reports.values()) else 1


def _separator(arguments: argparse.Namespace, program: "Program") -> "Separator | None":
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
    program: "Program", separator: "Separator | None", other: "Program | None"
) -> "Reference | Program":
    from separation_coreml.verify import separator_reference

    if separator is not None:
        return separator_reference(program, separator)
    assert other is not None
    return other


def _inputs(
    arguments: argparse.Namespace, program: "Program", separator: "Separator | None"
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


def _segment(program: "Program", default: int) -> int:
    """Length in samples that the program was converted for."""
    from separation_coreml.verify import takes_waveform

    if takes_waveform(program):
        return program.inputs[0].default[2]
    return _number(program, "segment", default)


def _segments(program: "Program", default: int) -> tuple[int, ...]:
    """Lengths in samples that the package of a core takes, its own first."""
    text = program.metadata.get("segments", str(default))
    if not all(part.isdecimal() for part in text.split(",")):
        raise ConfigError("segments", repr(text), "whole numbers in the metadata of the package")
    return tuple(int(part) for part in text.split(","))


def _number(program: "Program", key: str, default: int) -> int:
    text = program.metadata.get(key, str(default))
    if not text.isdecimal():
        raise ConfigError(key, repr(text), "a whole number in the metadata of the package")
    return int(text)


def _stems(program: "Program") -> tuple[str, ...]:
    names = program.metadata.get("stems", "")
    return tuple(name.strip() for name in names.split(",")) if names else ()


def _decibels(value: float) -> str:
    return "no difference" if value == float("inf") else f"{value:.1f} dB"


def _lines(source: str, report: "ParityReport", *, bisect: bool) -> Iterator[str]:
    verdict = "reaches" if report.passed else "is BELOW"
    yield f"{source}: SDR {_decibels(report.sdr)} {verdict} {report.threshold:g} dB"
    for output in report.outputs:
        yield (
            f"  {output.name} {list(output.shape)}: SDR {_decibels(output.sdr)}, "
            f"greatest difference {output.max_abs:.2e}"
        )
        yield from (f"    {stem:<12} {_decibels(value)}" for stem, value in output.stems.items())
    if not bisect or not report.operations:
        return
    first = report.first_divergence
    yield f"  results of {len(report.operations)} operations compared"
    yield f"  first below {report.threshold:g} dB: {'none' if first is None else _operation(first)}"
    yield "  worst"
    yield from (f"    {_operation(item)}" for item in report.worst)


def _operation(item: Any) -> str:  # noqa: ANN401 - importing its type would import torch
    return f"#{item.index} {item.kind} '{item.name}': SDR {_decibels(item.sdr)}, {item.max_abs:.2e}"
