"""Whether a converted program computes what its source does, and if not, from which operation on.

The measure is the signal-to-distortion ratio, 10 log10(sum of squares of the reference / sum of squares of
the difference), in dB. Computing in float32 in another order leaves about 120, rounding to float16 about 50.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from audio_io.errors import ConfigError
from audio_io.progress import Progress
from separation_coreml.mil import Feature, Program

if TYPE_CHECKING:
    from separation_coreml.families.base import Separator

Reference = Callable[..., Any]


class Runnable(Protocol):
    """What can be compared: a `Program`, or another that takes and gives the same."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """Texts of the file."""
        ...

    @property
    def inputs(self) -> tuple[Feature, ...]:
        """What it takes."""
        ...

    @property
    def outputs(self) -> tuple[Feature, ...]:
        """What it gives."""
        ...

    def run(self, **tensors: Tensor) -> dict[str, Tensor]:
        """Compute the outputs by name."""
        ...


THRESHOLD = 110.0
WORST = 10
# A conversion to float16 adds this to the names of what it changes.
_CONVERTED = re.compile(r"_cast_fp\d+$")


@dataclass(frozen=True)
class OutputParity:
    """How one output agrees.

    Attributes:
        name: Of the output.
        shape: Of the output.
        max_abs: Greatest absolute difference.
        sdr: In dB; infinite if there is no difference at all.
        stems: SDR of each stem, if the output holds them.
    """

    name: str
    shape: tuple[int, ...]
    max_abs: float
    sdr: float
    stems: Mapping[str, float]


@dataclass(frozen=True)
class OperationParity:
    """How the result of one operation agrees.

    Attributes:
        index: Place in the program.
        kind: Of the operation.
        name: Of the result.
        max_abs: Greatest absolute difference.
        sdr: In dB.
    """

    index: int
    kind: str
    name: str
    max_abs: float
    sdr: float


@dataclass(frozen=True)
class ParityReport:
    """What a comparison found.

    Attributes:
        outputs: One entry for each output.
        threshold: SDR in dB that each output has to reach.
        operations: The results of operations that were compared, in the order of the program; empty without
            `bisect`.
    """

    outputs: tuple[OutputParity, ...]
    threshold: float
    operations: tuple[OperationParity, ...] = ()

    @property
    def sdr(self) -> float:
        """The lowest SDR of the outputs in dB."""
        return min(output.sdr for output in self.outputs)

    @property
    def max_abs(self) -> float:
        """The greatest absolute difference in any output."""
        return max(output.max_abs for output in self.outputs)

    @property
    def passed(self) -> bool:
        """Whether every output reaches the threshold."""
        return self.sdr >= self.threshold

    @property
    def first_divergence(self) -> OperationParity | None:
        """The first result of an operation that is below the threshold."""
        return next((item for item in self.operations if item.sdr < self.threshold), None)

    @property
    def worst(self) -> tuple[OperationParity, ...]:
        """The ten results of operations with the lowest SDR."""
        return tuple(sorted(self.operations, key=lambda item: item.sdr)[:WORST])

    def as_json(self) -> dict[str, Any]:
        """The report as built-in types; infinite numbers, which JSON has not, are None."""

        def number(value: float) -> float | None:
            return value if math.isfinite(value) else None

        def operation(item: OperationParity) -> dict[str, Any]:
            return {
                "index": item.index,
                "kind": item.kind,
                "name": item.name,
                "max_abs": number(item.max_abs),
                "sdr_db": number(item.sdr),
            }

        first = self.first_divergence
        return {
            "passed": self.passed,
            "threshold_db": self.threshold,
            "sdr_db": number(self.sdr),
            "max_abs": number(self.max_abs),
            "outputs": [
                {
                    "name": output.name,
                    "shape": list(output.shape),
                    "max_abs": number(output.max_abs),
                    "sdr_db": number(output.sdr),
                    "stems": {stem: number(value) for stem, value in output.stems.items()},
                }
                for output in self.outputs
            ],
            "operations_compared": len(self.operations),
            "first_divergence": None if first is None else operation(first),
            "worst": [operation(item) for item in self.worst],
        }


def sdr(reference: Tensor, estimate: Tensor) -> float:
    """Signal-to-distortion ratio in dB.

    Infinite for equal tensors, minus infinity where the reference is silent and the estimate is not, or where
    the estimate holds NaN or infinity and the reference does not.
    """
    wanted, found = reference.to(torch.float64), estimate.to(torch.float64)
    distortion = float((wanted - found).square().sum())
    signal = float(wanted.square().sum())
    if distortion == 0 or torch.equal(wanted, found):
        return math.inf
    if signal == 0 or not math.isfinite(distortion):
        return -math.inf
    return 10 * math.log10(signal / distortion)


def verify(
    program: Runnable,
    reference: Reference | Runnable,
    inputs: Mapping[str, Tensor],
    *,
    threshold: float = THRESHOLD,
    stems: Sequence[str] = (),
    bisect: Program | None = None,
    progress: Progress | None = None,
) -> ParityReport:
    """Compare a program with its reference on given inputs.

    Args:
        program: What is checked.
        reference: Another program with the same inputs and outputs; or a function that takes the inputs in
            the program's order and gives a tensor, a sequence in the program's order of outputs, or a mapping
            by name.
        inputs: A tensor for each input.
        threshold: SDR in dB that every output has to reach.
        stems: Names along axis 1 of the outputs that have as many entries there, for figures of each.
        bisect: A program of the same model, such as the float32 one of a float16 one or the same package
            loaded in float64, with which the results of operations of the same name are compared; only a
            `Program` can be.
        progress: Advanced by 1 when the program has run, when the reference has, and while operations are
            compared.

    Raises:
        ConfigError: If the reference gives other outputs than the program.
    """
    advance = progress.advance if progress is not None else _ignore
    estimates = program.run(**inputs)
    advance(1)
    expected = _reference_outputs(program, reference, inputs)
    advance(1)
    outputs = []
    for name, wanted in expected.items():
        found = estimates[name]
        if wanted.shape != found.shape:
            raise ConfigError(
                f"output {name}",
                f"the shape {list(found.shape)}",
                f"{list(wanted.shape)}, as of the reference",
            )
        per_stem = {}
        if stems and wanted.dim() > 1 and wanted.shape[1] == len(stems):
            per_stem = {stem: sdr(wanted[:, at], found[:, at]) for at, stem in enumerate(stems)}
        outputs.append(
            OutputParity(name, tuple(found.shape), _max_abs(wanted, found), sdr(wanted, found), per_stem)
        )
    operations: tuple[OperationParity, ...] = ()
    if bisect is not None and isinstance(program, Program):
        operations = compare_operations(program, bisect, inputs, progress=progress)
    return ParityReport(tuple(outputs), threshold, operations)


def _ignore(_amount: float) -> None:
    pass


def compare_operations(
    program: Program, against: Program, inputs: Mapping[str, Tensor], *, progress: Progress | None = None
) -> tuple[OperationParity, ...]:
    """Compare the results of operations that have the same name in two programs of one model.

    Both run side by side: what is held is only what one of them has computed and the other has not yet.

    Args:
        program: What is checked.
        against: What it is compared with.
        inputs: A tensor for each input of either.
        progress: Advanced by 1 in all.

    Returns:
        In the order of the checked program; results of different shapes are left out.
    """
    shared = _result_names(program) & _result_names(against)
    seen: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    advance = progress.advance if progress is not None else _ignore
    found = []
    for left, right in zip_longest(_results(program, inputs, shared), _results(against, inputs, shared)):
        advance(1 / len(shared))
        for side, item in enumerate((left, right)):
            # The name of an output can come twice: before and after its conversion to another type.
            if item is not None and item[0] not in seen[side]:
                seen[side][item[0]] = item
        for name in {item[0] for item in (left, right) if item is not None}:
            mine, other = seen[0].get(name), seen[1].get(name)
            if mine is None or other is None or mine[2] is None or other[2] is None:
                continue
            if mine[2].shape == other[2].shape:
                index, kind = mine[1]
                values = (other[2], mine[2])
                found.append(OperationParity(index, kind, name, _max_abs(*values), sdr(*values)))
            seen[0][name] = seen[1][name] = (name, (0, ""), None)
    return tuple(sorted(found, key=lambda item: item.index))


Result = tuple[str, tuple[int, str], Tensor]


def _results(program: Program, inputs: Mapping[str, Tensor], names: set[str]) -> Iterator[Result]:
    for index, (operation, values) in enumerate(program.trace(**inputs)):
        for output, value in zip(operation.outputs, values, strict=True):
            name = _CONVERTED.sub("", output.name)
            if name in names:
                yield name, (index, operation.kind), value


def _result_names(program: Program) -> set[str]:
    return {
        _CONVERTED.sub("", output.name) for operation in program.operations for output in operation.outputs
    }


def _reference_outputs(
    program: Runnable, reference: Reference | Runnable, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    names = [feature.name for feature in program.outputs]
    given: Any
    if callable(reference):
        with torch.no_grad():
            given = reference(*(inputs[feature.name] for feature in program.inputs))
    else:
        given = reference.run(**inputs)
    if isinstance(given, Tensor):
        given = (given,)
    if not isinstance(given, Mapping):
        if len(given) != len(names):
            raise ConfigError("reference", f"{len(given)} outputs", f"{len(names)}: {', '.join(names)}")
        given = dict(zip(names, given, strict=True))
    if set(given) != set(names):
        raise ConfigError("reference", "the outputs " + ", ".join(given), ", ".join(names))
    return {name: given[name] for name in names}


def _max_abs(wanted: Tensor, found: Tensor) -> float:
    if wanted.numel() == 0:
        return 0.0
    return float((wanted.to(torch.float64) - found.to(torch.float64)).abs().max())


def noise(program: Runnable, seed: int = 0, shape: tuple[int, ...] | None = None) -> dict[str, Tensor]:
    """White noise of standard deviation 0.1, about the level of music, and zeros for integers.

    Args:
        program: What it is for.
        seed: Of the noise.
        shape: Of each input; the program's own if None.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        feature.name: 0.1 * torch.randn(shape or feature.default, generator=generator)
        if feature.type.dtype.startswith("float")
        else torch.zeros(shape or feature.default, dtype=torch.int32)
        for feature in program.inputs
    }


def takes_waveform(program: Runnable) -> bool:
    """Whether the program is a whole model.

    The metadata say it (`io`); without them it is one if it has one input, `[B, channels, T]`, with one or
    two channels.
    """
    if (io := program.metadata.get("io")) is not None:
        return io == "waveform"
    shapes = [feature.default for feature in program.inputs]
    return len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] <= 2 < shapes[0][2]


def excerpt(path: str | Path, sample_rate: int, channels: int, length: int) -> Tensor:
    """The middle of a recording, as a waveform for a model; a shorter one is followed by silence.

    Shape:
        - output: `[1, channels, length]`
    """
    import audio_io

    waveform, _ = audio_io.load(path, sample_rate=sample_rate)
    waveform = waveform.mean(0, keepdim=True) if channels == 1 else waveform
    if waveform.shape[0] != channels:
        waveform = waveform[:1].expand(channels, -1)
    start = max(0, (waveform.shape[-1] - length) // 2)
    part = waveform[:, start : start + length]
    return torch.nn.functional.pad(part, (0, length - part.shape[-1]))[None]


def separator_reference(program: Runnable, separator: "Separator") -> Reference:
    """What the program should compute, of a model in PyTorch: all of it, or its core."""
    return separator if takes_waveform(program) else separator.core


def separator_inputs(program: Runnable, separator: "Separator", waveform: Tensor) -> dict[str, Tensor]:
    """The program's inputs for a waveform: itself, or what the model's analysis makes of it.

    Shape:
        - waveform: `[B, channels, T]`

    Raises:
        ConfigError: If the model's analysis gives other tensors than the program takes.
    """
    tensors = (waveform,) if takes_waveform(program) else separator.analysis(waveform)
    names = [feature.name for feature in program.inputs]
    if len(tensors) != len(names):
        raise ConfigError("model", f"{len(tensors)} inputs of its core", f"{len(names)}: {', '.join(names)}")
    return dict(zip(names, tensors, strict=True))
