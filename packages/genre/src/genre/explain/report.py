"""What a report on recordings holds, and the same as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audio_io.errors import AudioError
from audio_io.mel import hz_to_mel, mel_to_hz
from genre.config import STEMS, FeatureConfig
from genre.explain.figures import TimeAxis
from genre.explain.shapley import ALL, NONE
from genre.explain.summary import Summary
from genre.explain.track import Explainer, Explanation


@dataclass(frozen=True)
class Entry:
    """One recording.

    Attributes:
        path: Where it is.
        explanation: What decided.
        figure: Its figure, None if none was drawn.
        axis: The time axis of the figure.
        sound: The sum of the stems as a `data:` address, empty if it is not in the page.
    """

    path: Path
    explanation: Explanation
    figure: Path | None = None
    axis: TimeAxis | None = None
    sound: str = ""


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        entries: The recordings that were explained.
        errors: Of those that were left out.
        summary: Of the entries; None if there are none.
        page: The web page.
    """

    entries: tuple[Entry, ...]
    errors: tuple[AudioError, ...]
    summary: Summary | None
    page: Path


def as_json(report: Report, explainer: Explainer) -> dict[str, Any]:
    """All numbers of a report, as JSON can hold them.

    Args:
        report: With at least one entry.
        explainer: Which made it.
    """
    summary = report.summary
    assert summary is not None
    config, features = explainer.config, explainer.predictor.checkpoint.features
    result: dict[str, Any] = {
        "stems": list(STEMS),
        "genres": list(explainer.predictor.checkpoint.labels),
        "units": {"log_odds": "nats", "probability": "1", "time": "s", "frequency": "Hz"},
        "summary": {
            "genres": {
                genre: {
                    "recordings": count,
                    "shapley_log_odds": _by_stem(odds),
                    "shapley_probability": _by_stem(probability),
                }
                for genre, count, odds, probability in zip(
                    summary.genres, summary.counts, summary.log_odds, summary.probability, strict=True
                )
            },
            "deletion": {
                name: {
                    "marked": entry.marked,
                    "random": entry.random,
                    "margin": entry.margin if entry.recordings > 1 else None,
                    "recordings": entry.recordings,
                }
                for name, entry in summary.deletions.items()
            },
        },
        "recordings": [_recording(entry) for entry in report.entries],
        "left_out": [str(error) for error in report.errors],
    }
    if config.maps != "none":
        rows, columns = explainer.cells()
        seconds = features.hop_length / features.sample_rate
        # Frames are centred on their times, bands on theirs.
        result["map"] = {
            "method": config.maps,
            "times": [max(0.0, (edge - 0.5) * seconds) for edge in _edges(columns)],
            "frequencies": _band_edges(features, _edges(rows)),
        }
    return result


def _recording(entry: Entry) -> dict[str, Any]:
    explanation = entry.explanation
    genre = explanation.genre
    probabilities = explanation.probabilities
    result: dict[str, Any] = {
        "path": entry.path.as_posix(),
        "figure": None if entry.figure is None else entry.figure.name,
        "genre": explanation.label,
        "probability": float(probabilities[ALL, genre]),
        "probability_of_silence": float(probabilities[NONE, genre]),
        "decisive": explanation.decisive,
        "shapley_log_odds": _by_stem(explanation.of_stems()[:, genre]),
        "shapley_probability": _by_stem(explanation.of_stems("probability")[:, genre]),
        "silenced_log_odds": _by_stem(explanation.of_silenced()[:, genre]),
        "silenced_probability": _by_stem(explanation.of_silenced("probability")[:, genre]),
        "every_genre": {
            label: {
                "probability": float(probabilities[ALL, index]),
                "shapley_log_odds": _by_stem(explanation.of_stems()[:, index]),
                "shapley_probability": _by_stem(explanation.of_stems("probability")[:, index]),
            }
            for index, label in enumerate(explanation.labels)
        },
        "windows": [_window(explanation, number) for number in range(len(explanation.starts))],
    }
    if explanation.deletion is not None:
        result["deletion"] = asdict(explanation.deletion)
    return result


def _window(explanation: Explanation, number: int) -> dict[str, Any]:
    genre = explanation.genre
    result: dict[str, Any] = {
        "start": explanation.starts[number],
        "probability": float(explanation.log_shares[number, ALL, genre].exp()),
        "shapley_log_odds": _by_stem(explanation.of_stems(window=number)[:, genre]),
        "shapley_probability": _by_stem(explanation.of_stems("probability", number)[:, genre]),
        "silenced_log_odds": _by_stem(explanation.of_silenced(window=number)[:, genre]),
        "silenced_probability": _by_stem(explanation.of_silenced("probability", number)[:, genre]),
    }
    if explanation.maps:
        part = explanation.maps[number]
        # The sums along either axis: all cells of a long recording would be many megabytes.
        result["map_over_time"] = {s: _short(x.sum(dim=0)) for s, x in zip(STEMS, part.cells, strict=True)}
        result["map_over_frequency"] = {
            s: _short(x.sum(dim=1)) for s, x in zip(STEMS, part.cells, strict=True)
        }
        result["map_error"] = part.error
    return result


def _by_stem(values: Iterable[Any]) -> dict[str, float]:
    return {stem: float(value) for stem, value in zip(STEMS, values, strict=True)}


def _short(values: Tensor) -> list[float]:
    return [float(f"{value:.4g}") for value in values.tolist()]


def _edges(cells: Tensor) -> list[int]:
    """Where each cell begins, and where the last ends."""
    return [0, *(torch.bincount(cells).cumsum(dim=0)).tolist()]


def _band_edges(features: FeatureConfig, edges: Sequence[int]) -> list[float]:
    """The frequency halfway between the centres of the last band below an edge and the first above."""
    step = hz_to_mel(features.sample_rate / 2).item() / (features.n_mels + 1)
    return [round(mel_to_hz((edge + 0.5) * step).item(), 1) for edge in edges]
