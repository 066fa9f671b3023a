"""Scores of probabilities against the truth, and how far they would be others with other tracks.

Tracks of one artist are alike in what makes them easy or hard, so 120 tracks of 20 artists say less than
those of 120 artists. Where the artists are known, intervals and tests are therefore over artists: the
interval by drawing artists anew, the test by exchanging the two sets of answers artist by artist. Both take
the networks as they are; other trainings would add to the spread.

References: Davison & Hinkley 1997, "Bootstrap methods and their application" (drawing whole groups).
Hesterberg 2015, "What teachers should know about the bootstrap", The American Statistician 69:4 (quantiles
for few groups). Wilson 1927. McNemar 1947.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genre.evaluate.calibration import Floats, Integers, calibration_error, reliability

Bools = NDArray[np.bool_]

_DRAWS, _BLOCK = 10_000, 500  # of artists; a block at a time, since a corpus may have thousands
_SEED = 0


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
        interval: Of the accuracy: 95 %.
        interval_over: What is drawn anew for it: `N artists` (`artist_interval`), or `tracks` as if they were
            independent (`wilson_interval`).
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
    interval_over: str
    balanced_accuracy: float
    macro_f1: float
    nll: float
    brier: float
    ece: float
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]


def measure(
    truth: Integers, probabilities: Floats, labels: Sequence[str], artists: Sequence[str] | None = None
) -> Scores:
    """All scores of some tracks.

    Args:
        truth: Number of the genre of each track.
        probabilities: Rows that add up to 1.
        labels: Names of the genres.
        artists: Who made each track, two at least; None if they are not known.

    Shape:
        - truth: `[N]`, N above 0
        - probabilities: `[N, C]`
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    numbers = np.arange(len(labels))
    answers = probabilities.argmax(axis=1)
    is_right = answers == truth
    if artists is None:
        interval, interval_over = wilson_interval(int(is_right.sum()), len(truth)), "tracks"
    else:
        interval = artist_interval(is_right, artists)
        interval_over = f"{len(set(artists))} artists"
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
        accuracy=float(is_right.mean()),
        interval=interval,
        interval_over=interval_over,
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


def artist_interval(
    is_right: Sequence[bool] | Bools, artists: Sequence[str], level: float = 0.95
) -> tuple[float, float]:
    """Confidence interval of an accuracy, by drawing as many artists anew, with all of their tracks.

    Where all tracks are right, or all wrong, every draw gives the same; the interval is then Wilson's of as
    many artists.

    Args:
        is_right: Whether the answer is right, of each track.
        artists: Who made each track, two at least.
        level: How much of the draws the interval covers, before it is widened for few artists.

    Shape:
        - is_right, artists: `[N]`
    """
    sums, counts = _by_artist(np.asarray(is_right, dtype=np.int64), artists)
    right = int(sums.sum())
    if right in (0, len(artists)):
        return wilson_interval(len(sums) if right else 0, len(sums), level)
    return _bootstrap(sums, counts, level)


@dataclass(frozen=True)
class Comparison:
    """Two sets of answers to the same tracks.

    Attributes:
        tracks: How many both have answered.
        first_only: Tracks that only the first has right.
        second_only: Tracks that only the second has right.
        difference: Accuracy of the first less that of the second, on these tracks.
        interval: Of the difference: 95 %, by drawing artists anew; None if they are not known, or if the
            difference is the same for each of them.
        artists: How many there are; None if they are not known.
        p_value: Of such a difference, or a greater one, if both were equally good, two-sided. Over artists:
            for each of them it is a toss which of the two has which answers. Without artists the same for
            each track, which is McNemar's test in its exact form.
    """

    tracks: int
    first_only: int
    second_only: int
    difference: float
    interval: tuple[float, float] | None
    artists: int | None
    p_value: float


def compare(
    first: Mapping[str, bool], second: Mapping[str, bool], artists: Mapping[str, str] | None = None
) -> Comparison:
    """Compare two sets of answers on the tracks that both have.

    Args:
        first: Whether the answer is right, by the track's id.
        second: Likewise.
        artists: Who made each track, by its id; None if they are not known.
    """
    common = sorted(first.keys() & second.keys())
    ahead = np.array([int(first[track]) - int(second[track]) for track in common], dtype=np.int64)
    groups = common if artists is None else [artists[track] for track in common]
    sums, counts = _by_artist(ahead, groups)
    is_drawn = artists is not None and len(sums) > 1 and len(set((sums / counts).tolist())) > 1
    return Comparison(
        tracks=len(common),
        first_only=int((ahead > 0).sum()),
        second_only=int((ahead < 0).sum()),
        difference=float(ahead.mean()) if common else 0.0,
        interval=_bootstrap(sums, counts) if is_drawn else None,
        artists=None if artists is None else len(sums),
        p_value=_sign_flips(sums),
    )


def _by_artist(values: Integers, artists: Sequence[str]) -> tuple[Integers, Integers]:
    """Sum of the values of each artist, and the number of them."""
    place = {artist: index for index, artist in enumerate(dict.fromkeys(artists))}
    index = np.array([place[artist] for artist in artists], dtype=np.int64)
    sums, counts = np.zeros((2, len(place)), dtype=np.int64)
    np.add.at(sums, index, values)
    np.add.at(counts, index, 1)
    return sums, counts


def _bootstrap(sums: Integers, counts: Integers, level: float = 0.95) -> tuple[float, float]:
    """Quantiles of the mean over tracks when groups are drawn anew; always the same for the same groups.

    The quantiles are further out than those of the level, as far as Student's t is from the normal
    distribution and a standard deviation over n groups from one over n - 1 (Hesterberg 2015).
    """
    from scipy.stats import norm, t

    size = len(sums)
    rng = np.random.default_rng(_SEED)
    means = []
    for _ in range(_DRAWS // _BLOCK):
        drawn = rng.integers(size, size=(_BLOCK, size))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    tail = norm.cdf((size / (size - 1)) ** 0.5 * t.ppf((1 - level) / 2, size - 1))
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return float(low), float(high)


def _sign_flips(sums: Integers) -> float:
    """Share of all ways to give the sums a sign whose total is at least as far from 0; exact."""
    sizes = np.abs(sums[sums != 0])
    reach = int(sizes.sum())
    chances = np.zeros(2 * reach + 1)  # of each total, from -reach on
    chances[reach] = 1.0
    for size in sizes:
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2
    is_as_far = np.abs(np.arange(-reach, reach + 1)) >= abs(int(sums.sum()))
    return min(1.0, float(chances[is_as_far].sum()))
