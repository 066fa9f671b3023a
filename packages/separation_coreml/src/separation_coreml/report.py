"""All families in one table: converted, run without Core ML, and compared with PyTorch."""

import dataclasses
import json
import math
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audio_io.atomic import write_json
from audio_io.errors import ConfigError
from audio_io.progress import Progress
from audio_io.settings import check, setting
from separation_coreml.registry import MODELS, Weights, get_spec

KINDS = ("fp32", "fp16", "int8")
ONNX = "onnx"
# SDR in dB that a program has to reach against PyTorch. Where fp16 misses it, mixed precision is measured and
# stands for it.
BARS = {"fp32": 110.0, "fp16": 50.0, "mixed": 50.0, "int8": 35.0, ONNX: 110.0}
# In MB, of the package with 8-bit weights.
SIZE_BARS = {"htdemucs": 50.0}
QUICK_SEGMENT = 1.0  # s
# For a family whose first model is a bag of several networks: one of them.
QUICK_MODELS = {"mdx_net": "mdx_net_vocals"}
# JSON has no infinity: equal outputs have this SDR in dB.
CLIP = 300.0


@dataclass(frozen=True)
class ReportConfig:
    """What a report covers.

    Attributes:
        quick: One model of each family, at a segment of 1 s, in fp32 only (htdemucs also with 8-bit weights).
            Otherwise every model, at its own segment, in fp32, fp16 and with 8-bit weights.
        onnx: The ONNX file of each model besides, run by ONNX Runtime. Needs the extra `onnx`.
        models: Names with commas between, instead of that choice of models.
        segment: Length in s, instead of that choice.
        weights: `random` needs nothing but this package.
        seed: Of random weights and of the noise that goes in.
    """

    quick: bool = setting(False, "one model a family, 1 s, fp32 only (htdemucs: int8 too)")
    onnx: bool = setting(False, "ONNX files too, run by ONNX Runtime (extra onnx)")
    models: str | None = setting(None, "names with commas between, all if none; see `models`")
    segment: float | None = setting(
        None, "length that the models work on at once, their own if none", unit="s", minimum=0.01
    )
    weights: Weights = setting("random", "weights of the models")
    seed: int = setting(0, "seed of random weights and of the noise that goes in", minimum=0)

    def __post_init__(self) -> None:
        check(self)

    def tasks(self) -> "tuple[Task, ...]":
        """What to measure, in the order of the registry.

        Raises:
            ConfigError: If a name is unknown.
        """
        if self.models is not None:
            names = list(dict.fromkeys(name.strip() for name in self.models.split(",")))
        elif self.quick:
            # The first model of each family.
            first = {spec.family: name for name, spec in reversed(MODELS.items())}
            names = list({**first, **QUICK_MODELS}.values())[::-1]
        else:
            names = list(MODELS)
        segment = QUICK_SEGMENT if self.quick and self.segment is None else self.segment
        return tuple(
            Task(
                get_spec(name).name,
                self._kinds(name),
                segment,
                self.weights,
                self.seed,
            )
            for name in names
        )

    def _kinds(self, name: str) -> tuple[str, ...]:
        kinds = KINDS if not self.quick else ("fp32", "int8") if name in SIZE_BARS else ("fp32",)
        return (*kinds, ONNX) if self.onnx else kinds


@dataclass(frozen=True)
class Task:
    """One row to be measured.

    Attributes:
        model: Its name.
        kinds: Of conversions, from `KINDS`, and `ONNX`.
        segment: In s; None for the model's own.
        weights: See `registry.build`.
        seed: See `registry.build`.
    """

    model: str
    kinds: tuple[str, ...]
    segment: float | None
    weights: Weights
    seed: int

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """The task that `dataclasses.asdict` and `json.dumps` made a text of."""
        values = json.loads(text)
        return cls(**{**values, "kinds": tuple(values["kinds"])})


@dataclass(frozen=True)
class Measurement:
    """One conversion of a model.

    Attributes:
        sdr: Of the program's output against PyTorch's in dB, clipped to ±300.
        max_abs: Greatest absolute difference.
        stems: SDR of each stem in dB.
        size_mb: Of the package or the file in MB.
        seconds: Duration of the conversion.
    """

    sdr: float
    max_abs: float
    stems: Mapping[str, float]
    size_mb: float
    seconds: float


@dataclass(frozen=True)
class Row:
    """A model and what was measured of it.

    Attributes:
        model: Its name.
        family: Its family.
        parameters: Number of trained values.
        segment_seconds: Length of the input in s.
        weights: `official` or `random`.
        complex_removed: How often each complex operation was replaced by real ones.
        operations: Of the fp32 program.
        conversion_seconds: Of the fp32 program.
        peak_memory_mb: Most memory held during the fp32 conversion in MB; 0 where the system does not tell.
        cpu_seconds: Time on processors that the whole row took, all threads together.
        deviation: Standard deviation of PyTorch's output.
        measured: One entry for each kind of conversion.
        note: Why there are no numbers; or, if fp32 is below its bar, what rounding has to do with it.
    """

    model: str
    family: str
    parameters: int
    segment_seconds: float
    weights: str
    complex_removed: Mapping[str, int] = field(default_factory=dict)
    operations: int = 0
    conversion_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    cpu_seconds: float = 0.0
    deviation: float = 0.0
    measured: Mapping[str, Measurement] = field(default_factory=dict)
    note: str = ""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Row":
        """The row that `dataclasses.asdict` made built-in types of."""
        measured = {kind: Measurement(**entry) for kind, entry in values["measured"].items()}
        return cls(**{**values, "measured": measured})

    @property
    def below(self) -> tuple[str, ...]:
        """What misses its bar, as sentences; empty if all is well."""
        if not self.measured:
            return (self.note,)
        missed = [
            f"{kind}: {entry.sdr:.1f} dB, expected at least {BARS[kind]:g} dB"
            for kind, entry in self.measured.items()
            if not entry.sdr >= BARS[kind] and not (kind == "fp16" and "mixed" in self.measured)
        ]
        most = SIZE_BARS.get(self.model)
        if most is not None and "int8" in self.measured and self.measured["int8"].size_mb >= most:
            missed.append(f"int8: {self.measured['int8'].size_mb:.1f} MB, expected less than {most:g} MB")
        return tuple(missed)

    @property
    def passed(self) -> bool:
        """Whether everything that was measured reaches its bar."""
        return not self.below


def clip(decibels: float) -> float:
    """An SDR that JSON can hold; NaN becomes the lowest."""
    return -CLIP if math.isnan(decibels) else max(-CLIP, min(decibels, CLIP))


def make_rows(tasks: Sequence[Task], folder: str | Path) -> tuple[Row, ...]:
    """Measure models one after the other, each in a process of its own.

    A row that is in the folder already is not measured again unless it failed, nor is what it holds of one
    with other kinds: a report that was interrupted goes on where it was. What a process held is given back
    when it ends, and a model that fails costs the others nothing: its row says why.

    Args:
        tasks: What to measure.
        folder: Where the rows are kept, one JSON each.

    Raises:
        ConfigError: If there is nothing to measure.
    """
    if not tasks:
        raise ConfigError("models", "none", "at least one")
    rows = []
    with Progress("report", len(tasks), "models") as progress:
        for task in tasks:
            file = Path(folder) / f"{task.model}.json"
            kept = _kept(file, task)
            held = kept.measured if kept is not None else {}
            missing = tuple(kind for kind in task.kinds if kind not in held)
            row = _measure(dataclasses.replace(task, kinds=missing), file) if missing else kept
            assert row is not None
            if kept is not None and missing and row.measured:
                row = _joined(kept, row)
            # A failure takes nothing away from what is there.
            if missing and (kept is None or row.measured):
                kinds = (*held, *missing)
                write_json(
                    file,
                    {
                        "task": dataclasses.asdict(dataclasses.replace(task, kinds=kinds)),
                        "row": dataclasses.asdict(row),
                    },
                )
            rows.append(_part(row, task.kinds))
            progress.advance(1)
    return tuple(rows)


def _kept(file: Path, task: Task) -> Row | None:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        row = Row.from_json(values["row"])
        other = Task.from_json(json.dumps(values["task"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return row if row.measured and dataclasses.replace(other, kinds=task.kinds) == task else None


def _joined(row: Row, further: Row) -> Row:
    """A row with what was measured of the same model later."""
    return dataclasses.replace(
        row,
        measured={**row.measured, **further.measured},
        cpu_seconds=row.cpu_seconds + further.cpu_seconds,
    )


def _part(row: Row, kinds: Sequence[str]) -> Row:
    """A row with what was asked for only; mixed precision stands for fp16."""
    asked = {*kinds, *(("mixed",) if "fp16" in kinds else ())}
    return dataclasses.replace(
        row, measured={kind: entry for kind, entry in row.measured.items() if kind in asked}
    )


def _measure(task: Task, file: Path) -> Row:
    result = file.with_suffix(".new.json")
    text = json.dumps(dataclasses.asdict(task))
    command = [sys.executable, "-m", "separation_coreml.report_row", text, str(result)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ourselves
        if done.returncode == 0:
            return Row.from_json(json.loads(result.read_text(encoding="utf-8")))
    finally:
        result.unlink(missing_ok=True)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    reason = lines[-1] if lines else f"ended with exit code {done.returncode}"
    if done.returncode < 0:
        reason = f"ended by {signal.Signals(-done.returncode).name}, as when memory runs out"
    spec = get_spec(task.model)
    return Row(
        model=task.model,
        family=spec.family,
        parameters=spec.parameters,
        segment_seconds=task.segment or spec.segment_seconds,
        weights=task.weights,
        note=reason,
    )
