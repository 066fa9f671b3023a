"""What an evaluation has found: the probabilities of every tested track, and the numbers that follow.

`evaluation.json` holds all of it and can be read back; `predictions.csv` is for other programs.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from audio_io.atomic import write_json, write_text
from audio_io.errors import FileError
from genre.evaluate.calibration import Bin, Floats, Integers, reliability
from genre.evaluate.metrics import Scores, measure

EVALUATION, PREDICTIONS = "evaluation.json", "predictions.csv"
_FORMAT = "genre evaluation 1"
_DIGITS = 6


@dataclass(frozen=True)
class HeldOut:
    """A track that a network was tested on.

    Attributes:
        id: Of the track.
        label: Its genre.
        artist: None if unknown.
        fold: Number of the fold whose networks have not heard it, from 1.
    """

    id: str
    label: str
    artist: str | None
    fold: int


@dataclass(frozen=True)
class Run:
    """One network.

    Attributes:
        fold: From 1.
        seed: Of its training.
        epoch: The best one on the validation tracks, from 1.
        validation_accuracy: In that epoch.
        temperature: Fitted on the validation tracks.
    """

    fold: int
    seed: int
    epoch: int
    validation_accuracy: float
    temperature: float


@dataclass(frozen=True)
class Mistake:
    """A track with a wrong answer.

    Attributes:
        track: What was tested.
        answer: The most probable genre.
        probability: Its probability.
        of_truth: That of the true genre.
    """

    track: HeldOut
    answer: str
    probability: float
    of_truth: float


@dataclass(frozen=True)
class Split:
    """The answers of one way of splitting.

    Attributes:
        by: `artist`, `random`, or what else tells it.
        labels: Names of the genres, in the order of the probabilities.
        tracks: What was tested, each track once.
        seeds: Of the networks of each fold.
        raw: Probabilities at temperature 1, `[seeds, tracks, genres]`.
        calibrated: Likewise at the temperature of each network.
        runs: The networks.
        folds: Into how many the corpus was split; fewer may have been tested.
        copies: Pairs of duplicates that the tested folds put on both sides; None if none were looked for.
        known_artists: Share of the tracks whose artist is in the other folds; None if no artist is known.
    """

    by: str
    labels: tuple[str, ...]
    tracks: tuple[HeldOut, ...]
    seeds: tuple[int, ...]
    raw: Floats
    calibrated: Floats
    runs: tuple[Run, ...] = ()
    folds: int = 1
    copies: int | None = None
    known_artists: float | None = None

    @cached_property
    def truth(self) -> Integers:
        """Number of the genre of each track."""
        return np.array([self.labels.index(track.label) for track in self.tracks])

    @cached_property
    def probabilities(self) -> Floats:
        """Mean of the calibrated probabilities over the seeds, `[tracks, genres]`."""
        mean: Floats = self.calibrated.mean(axis=0)
        return mean

    @cached_property
    def artists(self) -> dict[str, str] | None:
        """Who made each track, by its id; None if that is not known of all, or it is one artist only."""
        known = {track.id: track.artist for track in self.tracks if track.artist}
        return known if len(known) == len(self.tracks) and len(set(known.values())) > 1 else None

    @cached_property
    def scores(self) -> Scores:
        """Of the mean over the seeds, calibrated."""
        return self._measure(self.probabilities)

    @cached_property
    def scores_before(self) -> Scores:
        """Of the mean over the seeds at temperature 1."""
        return self._measure(self.raw.mean(axis=0))

    def _measure(self, probabilities: Floats) -> Scores:
        artists = None if self.artists is None else [self.artists[track.id] for track in self.tracks]
        return measure(self.truth, probabilities, self.labels, artists)

    @cached_property
    def seed_scores(self) -> tuple[Scores, ...]:
        """Of each seed alone."""
        return tuple(measure(self.truth, rows, self.labels) for rows in self.calibrated)

    @cached_property
    def fold_scores(self) -> dict[int, Scores]:
        """Of each tested fold, by its number."""
        folds = np.array([track.fold for track in self.tracks])
        return {
            int(fold): measure(self.truth[folds == fold], self.probabilities[folds == fold], self.labels)
            for fold in np.unique(folds)
        }

    @property
    def fold_accuracy(self) -> tuple[float, float]:
        """Mean and standard deviation over the folds; the latter is 0 of one fold."""
        values = [scores.accuracy for scores in self.fold_scores.values()]
        return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

    @cached_property
    def is_right(self) -> dict[str, bool]:
        """Whether the answer is right, by the track's id."""
        hits = self.probabilities.argmax(axis=1) == self.truth
        return {track.id: bool(hit) for track, hit in zip(self.tracks, hits, strict=True)}

    @cached_property
    def bins(self) -> tuple[Bin, ...]:
        """Reliability of the calibrated probabilities."""
        return reliability(self.truth, self.probabilities)

    @cached_property
    def bins_before(self) -> tuple[Bin, ...]:
        """Reliability at temperature 1."""
        return reliability(self.truth, self.raw.mean(axis=0))

    @cached_property
    def mistakes(self) -> tuple[Mistake, ...]:
        """Wrong answers, the most confident first."""
        found = []
        for track, truth, shares in zip(self.tracks, self.truth, self.probabilities, strict=True):
            answer = int(shares.argmax())
            if answer != truth:
                found.append(Mistake(track, self.labels[answer], float(shares[answer]), float(shares[truth])))
        return tuple(sorted(found, key=lambda mistake: (-mistake.probability, mistake.track.id)))


@dataclass(frozen=True)
class Evaluation:
    """One model, evaluated.

    Attributes:
        labels: Names of the genres.
        splits: By way of splitting, the stricter first.
        settings: What the networks were trained with, table by table.
        duplicates: Recordings that are in the corpus more than once, a sentence each; None if nobody looked.
        problems: Tracks that were left out and what else is to be known, a sentence each.
    """

    labels: tuple[str, ...]
    splits: Mapping[str, Split]
    settings: Mapping[str, Any] = field(default_factory=dict)
    duplicates: tuple[str, ...] | None = None
    problems: tuple[str, ...] = ()

    def write(self, folder: str | Path) -> Path:
        """Write `evaluation.json` and `predictions.csv`.

        Args:
            folder: Where.

        Returns:
            The former.
        """
        place = Path(folder)
        write_text(place / PREDICTIONS, _table(self))
        splits = {
            by: {
                "folds": split.folds,
                "seeds": split.seeds,
                "copies": split.copies,
                "known_artists": split.known_artists,
                "runs": [asdict(run) for run in split.runs],
                "tracks": [
                    {**asdict(track), "raw": raw.tolist(), "calibrated": calibrated.tolist()}
                    for track, raw, calibrated in zip(
                        split.tracks, split.raw.swapaxes(0, 1), split.calibrated.swapaxes(0, 1), strict=True
                    )
                ],
            }
            for by, split in self.splits.items()
        }
        content = {
            "format": _FORMAT,
            "labels": self.labels,
            "settings": self.settings,
            "duplicates": self.duplicates,
            "problems": self.problems,
            "splits": splits,
        }
        write_json(place / EVALUATION, content)
        return place / EVALUATION

    @classmethod
    def read(cls, path: str | Path) -> "Evaluation":
        """What `write` has written.

        Args:
            path: `evaluation.json`, or its folder.

        Raises:
            FileError: If it cannot be used.
        """
        source = Path(path)
        source = source / EVALUATION if source.is_dir() else source
        expected = "an evaluation.json of genre evaluate"
        try:
            content = json.loads(source.read_text(encoding="utf-8"))
        except OSError as error:
            raise FileError(source, f"nothing readable ({error.strerror})", expected) from error
        except ValueError as error:
            raise FileError(source, "no JSON", expected) from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise FileError(source, "a file of another kind", expected)
        try:
            labels = tuple(content["labels"])
            duplicates = content["duplicates"]
            return cls(
                labels=labels,
                splits={by: _read_split(by, labels, split) for by, split in content["splits"].items()},
                settings=content["settings"],
                duplicates=None if duplicates is None else tuple(duplicates),
                problems=tuple(content["problems"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileError(source, f"a damaged evaluation ({error!r})", expected) from error


def as_written(probabilities: Floats) -> Floats:
    """Probabilities with the digits that files keep, so that what is read back gives the same numbers."""
    rounded: Floats = np.array([float(f"{value:.{_DIGITS}g}") for value in probabilities.ravel()])
    return rounded.reshape(probabilities.shape)


def _read_split(by: str, labels: tuple[str, ...], content: Mapping[str, Any]) -> Split:
    rows: Sequence[Mapping[str, Any]] = content["tracks"]
    names = ("id", "label", "artist", "fold")
    split = Split(
        by=by,
        labels=labels,
        tracks=tuple(HeldOut(**{name: row[name] for name in names}) for row in rows),
        seeds=tuple(content["seeds"]),
        raw=np.array([row["raw"] for row in rows]).swapaxes(0, 1),
        calibrated=np.array([row["calibrated"] for row in rows]).swapaxes(0, 1),
        runs=tuple(Run(**run) for run in content["runs"]),
        folds=content["folds"],
        copies=content["copies"],
        known_artists=content["known_artists"],
    )
    shape = (len(split.seeds), len(rows), len(labels))
    if split.raw.shape != shape or split.calibrated.shape != shape:
        raise ValueError(f"probabilities of shape {split.raw.shape}, not {shape}")
    return split


def _table(evaluation: Evaluation) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = ("split", "track", "artist", "fold", "label", "answer", "probability")
    writer.writerow([*heads, *(f"p_{label}" for label in evaluation.labels)])
    for by, split in evaluation.splits.items():
        for track, shares in zip(split.tracks, split.probabilities, strict=True):
            answer = int(shares.argmax())
            about = (by, track.id, track.artist or "", track.fold, track.label, split.labels[answer])
            writer.writerow([*about, *(f"{share:.6f}" for share in (shares[answer], *shares))])
    return text.getvalue()
