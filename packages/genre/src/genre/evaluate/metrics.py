"""Scores of probabilities against the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genre.evaluate.calibration import Floats, Integers, calibration_error, reliability


@dataclass(frozen=True)
class ClassScores:
    """One genre.

    Attributes:
        label: Its name.
        precision: Share of the answers with this genre that are right.
        recall: Share of its tracks that are found.
        f1: Harmonic mean of the two.
        support: How many tracks it has.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Scores:
    """What a set of answers is worth.

    Attributes:
        tracks: How many were answered.
        accuracy: Share that is right.
        interval: Of the accuracy: 95 %, by Wilson (`wilson_interval`).
        balanced_accuracy: Mean recall of the genres that have tracks.
        macro_f1: Mean F1 of the genres that have tracks.
        nll: Mean negative log-likelihood, in nats.
        brier: Mean squared distance from certainty of the truth (Brier 1950), from 0 to 2.
        ece: Expected calibration error, 15 bins of equal width.
        classes: Each genre for itself.
        confusion: Tracks by truth (rows) and answer (columns).
    """

    tracks: int
    accuracy: float
    interval: tuple[float, float]
    balanced_accuracy: float
    macro_f1: float
    nll: float
    brier: float
    ece: float
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]


def measure(truth: Integers, probabilities: Floats, labels: Sequence[str]) -> Scores:
    """All scores of some tracks.

    Args:
        truth: Number of the genre of each track.
        probabilities: Rows that add up to 1.
        labels: Names of the genres.

    Shape:
        - truth: `[N]`, N above 0
        - probabilities: `[N, C]`
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    numbers = np.arange(len(labels))
    answers = probabilities.argmax(axis=1)
    right = int((answers == truth).sum())
    confusion = confusion_matrix(truth, answers, labels=numbers)
    parts = precision_recall_fscore_support(truth, answers, labels=numbers, zero_division=0.0)
    classes = tuple(
        ClassScores(label, float(precision), float(recall), float(f1), int(support))
        for label, precision, recall, f1, support in zip(labels, *parts, strict=True)
    )
    seen = [entry for entry in classes if entry.support]
    of_truth = np.maximum(probabilities[np.arange(len(truth)), truth], np.finfo(np.float64).eps)
    certain = np.eye(len(labels))[truth]
    return Scores(
        tracks=len(truth),
        accuracy=right / len(truth),
        interval=wilson_interval(right, len(truth)),
        balanced_accuracy=sum(entry.recall for entry in seen) / len(seen),
        macro_f1=sum(entry.f1 for entry in seen) / len(seen),
        nll=float(-np.log(of_truth).mean()),
        brier=float(((probabilities - certain) ** 2).sum(axis=1).mean()),
        ece=calibration_error(reliability(truth, probabilities)),
        classes=classes,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def wilson_interval(right: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a share (Wilson 1927).

    It takes the tracks for independent; those of one artist are not, so it is rather too narrow.
    """
    from scipy.stats import binomtest

    found = binomtest(right, count).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class Comparison:
    """Two sets of answers to the same tracks.

    Attributes:
        tracks: How many both have answered.
        first_only: Tracks that only the first has right.
        second_only: Tracks that only the second has right.
        p_value: Of such a difference, or a greater one, if both were equally good: McNemar's test (1947), in
            its exact form, two-sided.
    """

    tracks: int
    first_only: int
    second_only: int
    p_value: float


def compare(first: dict[str, bool], second: dict[str, bool]) -> Comparison:
    """Compare two sets of answers on the tracks that both have.

    Args:
        first: Whether the answer is right, by the track's id.
        second: Likewise.
    """
    from scipy.stats import binomtest

    common = first.keys() & second.keys()
    ahead = sum(first[track] and not second[track] for track in common)
    behind = sum(second[track] and not first[track] for track in common)
    p_value = float(binomtest(ahead, ahead + behind).pvalue) if ahead + behind else 1.0
    return Comparison(len(common), ahead, behind, p_value)
