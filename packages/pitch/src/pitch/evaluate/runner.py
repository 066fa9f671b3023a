"""Evaluates capacities on a data set, recording by recording, and picks up where an earlier run stopped."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from audio_io.atomic import fingerprint, write_json
from audio_io.errors import ConfigError
from audio_io.progress import Progress
from pitch import decode
from pitch.capacities import CAPACITIES, CapacityName
from pitch.constants import SAMPLE_RATE
from pitch.core import mask_bins, periodicity
from pitch.evaluate.config import EvaluateConfig
from pitch.evaluate.examples import Example, Floats, Truth
from pitch.evaluate.metrics import Tally, at_times
from pitch.evaluate.network import frame_times, most_likely, posteriors
from pitch.fast import accelerate
from pitch.weights import WeightsNotFoundError, find_weights, load_model, weights_digest

Weights = Mapping[str, str | Path]
# Pitch in Hz of each frame, and whether it is called voiced.
Track = tuple[Floats, npt.NDArray[np.bool_]]

DECODERS: dict[str, decode.Decoder] = dict([("raw", most_likely), *decode.DECODERS.items()])

# Between the speech of men and the highest notes of the voice; frames count by their true pitch.
REGISTERS: dict[str, tuple[float, float]] = {
    "low (below 130 Hz)": (0.0, 130.0),
    "middle": (130.0, 500.0),
    "high (above 500 Hz)": (500.0, float("inf")),
}
UNVOICED = "unvoiced"

# Records of an older version are made anew.
RECORD_VERSION = 1


@dataclass(frozen=True)
class FileResult:
    """What one capacity and decoder did on one recording.

    Attributes:
        model: The capacity.
        decoder: How posteriors became pitch.
        name: Of the example.
        groups: Of the example.
        seconds: Length of the recording.
        network_seconds: What the network took.
        registers: Counts of the frames of each register and of the truly unvoiced frames.
    """

    model: str
    decoder: str
    name: str
    groups: dict[str, str]
    seconds: float
    network_seconds: float
    registers: dict[str, Tally]

    @property
    def total(self) -> Tally:
        """Counts of all frames."""
        return sum(self.registers.values(), Tally.nothing())


@dataclass(frozen=True)
class Evaluation:
    """The results of all capacities and decoders on all recordings of a data set.

    Attributes:
        title: The data set, for the reports.
        reference: What the estimates were compared with.
        config: The settings.
        results: One for each recording, capacity and decoder.
    """

    title: str
    reference: str
    config: EvaluateConfig
    results: list[FileResult] = field(repr=False)

    @property
    def systems(self) -> list[tuple[str, str]]:
        """Capacity and decoder of each system."""
        return list(dict.fromkeys((result.model, result.decoder) for result in self.results))

    def of(self, system: tuple[str, str]) -> list[FileResult]:
        """The results of one system."""
        return [result for result in self.results if (result.model, result.decoder) == system]

    def total(self, system: tuple[str, str]) -> Tally:
        """Counts over all frames of the data set."""
        return sum((result.total for result in self.of(system)), Tally.nothing())

    def by_register(self, system: tuple[str, str]) -> dict[str, Tally]:
        """Counts of the truly voiced frames of each register."""
        return {
            name: sum((result.registers[name] for result in self.of(system)), Tally.nothing())
            for name in REGISTERS
        }

    def group_kinds(self) -> list[str]:
        """What recordings are grouped by, such as `snr`."""
        return list(dict.fromkeys(kind for result in self.results for kind in result.groups))

    def by_group(self, system: tuple[str, str], kind: str) -> dict[str, Tally]:
        """Counts over the recordings of each group."""
        groups: dict[str, Tally] = {}
        for result in self.of(system):
            if (name := result.groups.get(kind)) is not None:
                groups[name] = groups.get(name, Tally.nothing()) + result.total
        return groups


def evaluate(
    examples: Sequence[Example],
    config: EvaluateConfig | None = None,
    *,
    title: str = "recordings",
    weights: Weights | None = None,
    device: str | torch.device = "cpu",
    record_dir: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate capacities on sounds with a true pitch, or against the track of another capacity.

    The decoders are those of `pitch.Tracker`, at a hop of 10 ms, and `raw`; frames are called voiced by their
    confidence alone. Recordings are read one at a time.

    Args:
        examples: From `generated_set`, `load_dataset` or `resynthesized_set`.
        config: Which capacities and decoders, and how.
        title: Of the data set, for the reports.
        weights: Weight files by capacity, instead of the installed ones.
        device: Where the networks run.
        record_dir: Where a record of each recording is kept; nowhere if None.
        resume: Whether records that still fit are taken instead of evaluating again.
        progress: Advanced by one with each recording.

    Raises:
        AudioError: If a recording cannot be used.
        FileError: If its labels cannot.
        ConfigError: If there is no recording, or one without a true pitch and no `against`.
        WeightsNotFoundError: If the weights of a capacity that was asked for are not here.
    """
    config = config if config is not None else EvaluateConfig()
    chosen = list(examples)[: config.limit]
    if not chosen:
        raise ConfigError("examples", "none", "at least one recording")
    for example in chosen:
        if example.truth is None and config.against is None:
            raise ConfigError("against", f"none, and {example.name} has no labels", "the capacity to compare")
    networks = _Networks(weights or {}, torch.device(device))
    models = config.model_names or [name for name in networks.available() if name != config.against]
    if not models:
        raise ConfigError("models", "no weights but those of 'against'", "another capacity")
    records = _Records(Path(record_dir) if record_dir is not None else None, config, networks)
    results: list[FileResult] = []
    for example in chosen:
        done = {model: records.load(model, example) if resume else None for model in models}
        missing = [model for model, found in done.items() if found is None]
        fresh = dict(_evaluate_one(example, missing, config, networks)) if missing else {}
        for model in models:
            found = done[model]
            if found is None:
                found = fresh[model]
                records.save(model, example, found)
            results += found
        if progress is not None:
            progress.advance(1)
    reference = "the true pitch" if config.against is None else f"the track of {config.against}"
    return Evaluation(title, reference, config, results)


def _evaluate_one(
    example: Example, models: Sequence[CapacityName], config: EvaluateConfig, networks: "_Networks"
) -> Iterator[tuple[CapacityName, list[FileResult]]]:
    audio = example.audio()
    seconds = audio.shape[1] / SAMPLE_RATE
    reference = None
    if config.against is not None:
        reference = posteriors(networks[config.against], audio, networks.device)
    truth = example.truth() if example.truth is not None and reference is None else None
    for model in models:
        network = networks[model]
        started = time.perf_counter()
        output = posteriors(network, audio, networks.device)
        elapsed = time.perf_counter() - started
        results = []
        for decoder in config.decoder_names:
            wanted = truth if reference is None else _as_truth(reference, decoder, config)
            assert wanted is not None
            track = _decode(output, decoder, config)
            results.append(
                FileResult(
                    model,
                    decoder,
                    example.name,
                    dict(example.groups),
                    seconds,
                    elapsed,
                    _count(track, wanted),
                )
            )
        yield model, results


def _decode(output: Tensor, decoder: str, config: EvaluateConfig) -> Track:
    masked = mask_bins(output, config.fmin, config.fmax)
    bins, pitch = DECODERS[decoder](masked)
    confidence = periodicity(masked, bins)[0].numpy()
    return pitch[0].double().numpy(), confidence >= np.float32(config.threshold)


def _as_truth(output: Tensor, decoder: str, config: EvaluateConfig) -> Truth:
    frequency, voiced = _decode(output, decoder, config)
    return Truth(frame_times(len(frequency)), np.where(voiced, frequency, 0.0))


def _count(track: Track, truth: Truth) -> dict[str, Tally]:
    frequency, voiced = at_times(truth.times, frame_times(len(track[0])), *track)
    parts = {
        name: (truth.frequency > low) & (truth.frequency <= high) for name, (low, high) in REGISTERS.items()
    }
    parts[UNVOICED] = truth.frequency == 0
    return {
        name: Tally.count(frequency[part], voiced[part], truth.frequency[part])
        for name, part in parts.items()
    }


class _Networks:
    """Networks by capacity, each loaded when it is first needed."""

    def __init__(self, weights: Weights, device: torch.device) -> None:
        for name in weights:
            if name not in CAPACITIES:
                raise ConfigError("weights", repr(name), "one of " + ", ".join(CAPACITIES))
        self.device = device
        self._weights = weights
        self._loaded: dict[str, nn.Module] = {}
        self._digests: dict[str, str] = {}

    def __getitem__(self, name: str) -> nn.Module:
        if name not in self._loaded:
            network = load_model(name, device=self.device, weights=self._weights.get(name))
            self._loaded[name] = accelerate(network, "auto")
        return self._loaded[name]

    def digest(self, name: str) -> str:
        """Of the weight file."""
        if name not in self._digests:
            self._digests[name] = weights_digest(name, self._weights.get(name))
        return self._digests[name]

    def available(self) -> list[CapacityName]:
        """The capacities whose weights are here or were given."""
        return [name for name in CAPACITIES if name in self._weights or _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        find_weights(name)
    except WeightsNotFoundError:
        return False
    return True


class _Records:
    """A file for each recording and capacity, with what it was made from."""

    def __init__(self, folder: Path | None, config: EvaluateConfig, networks: _Networks) -> None:
        self._folder = folder
        self._config = config
        self._networks = networks

    def load(self, model: str, example: Example) -> list[FileResult] | None:
        """The results of an earlier run, None if there are none that fit."""
        if self._folder is None:
            return None
        try:
            record = json.loads(self._path(model, example).read_text(encoding="utf-8"))
            if record["fingerprint"] != self._fingerprint(model, example):
                return None
            return [_result_from_json(entry) for entry in record["results"]]
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None

    def save(self, model: str, example: Example, results: list[FileResult]) -> None:
        if self._folder is None:
            return
        entries = [_result_to_json(result) for result in results]
        write_json(
            self._path(model, example),
            {"fingerprint": self._fingerprint(model, example), "results": entries},
        )

    def _path(self, model: str, example: Example) -> Path:
        assert self._folder is not None
        # Names of recordings may be longer than a file name, or hold what a file system does not take.
        return self._folder / f"{model}-{fingerprint(example.name)}.json"

    def _fingerprint(self, model: str, example: Example) -> str:
        config, stamp = self._config, ""
        if isinstance(example.sound, Path):
            status = example.sound.stat()
            stamp = f"{status.st_size} {status.st_mtime_ns}"
        against = None if config.against is None else self._networks.digest(config.against)
        settings = [config.decoders, config.threshold, config.fmin, config.fmax, against]
        sound = [example.identity, example.name, dict(example.groups), example.channel, stamp]
        return fingerprint([RECORD_VERSION, settings, sound, self._networks.digest(model)])


def _result_to_json(result: FileResult) -> dict[str, Any]:
    registers = {name: tally.to_json() for name, tally in result.registers.items()}
    return {**vars(result), "registers": registers}


def _result_from_json(entry: dict[str, Any]) -> FileResult:
    registers = {name: Tally.from_json(tally) for name, tally in entry["registers"].items()}
    return FileResult(**{**entry, "registers": registers})
