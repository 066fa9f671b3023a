"""Explanations of many recordings: what each genre is told by, and whether the attributions are true.

Whether they are true is told by deletion: silencing what is said to have decided should lower the probability
of the genre more than silencing something else. For the stem with the greatest Shapley value this is a weak
test, since that value is made of such silencings; for the stem and the places that a map marks it is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genre.explain.track import Explanation

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """The fall of the genre's probability when what is marked is silenced, and at random.

    Attributes:
        marked: The mean over the recordings.
        random: The mean over recordings and random choices of the same kind.
        margin: Half width of the 95 % interval of their difference, by Student's t, which takes the
            recordings for independent; NaN for a single one.
        recordings: How many.
    """

    marked: float
    random: float
    margin: float
    recordings: int


@dataclass(frozen=True)
class Summary:
    """Of explanations of many recordings.

    Attributes:
        genres: Those that were explained (predicted, unless one was chosen), in the order of the network.
        counts: Recordings of each.
        log_odds: Mean Shapley value of each stem for the log-odds of the genre, `[G, 4]`, in nats.
        probability: The same for its probability.
        deletions: By what was marked: `stem of the greatest Shapley value`, and with maps `stem of the
            greatest sum in the map`, `places that the map marks` and, as a rival that knows nothing of the
            network, `loudest places`.
    """

    genres: tuple[str, ...]
    counts: tuple[int, ...]
    log_odds: Floats
    probability: Floats
    deletions: Mapping[str, Comparison]


def summarise(explanations: Sequence[Explanation]) -> Summary:
    """Summarise explanations of one network.

    Args:
        explanations: At least one; all with maps, or all without.
    """
    genres = sorted({explanation.genre for explanation in explanations})
    groups = [[entry for entry in explanations if entry.genre == genre] for genre in genres]
    deletions = {
        "stem of the greatest Shapley value": _compare(
            [_silenced(e, e.of_stems()[:, e.genre]) for e in explanations]
        )
    }
    if all(explanation.maps for explanation in explanations):
        sums = [torch.stack([part.cells for part in e.maps]).sum(dim=(0, 2, 3)) for e in explanations]
        falls = [_silenced(e, stems) for e, stems in zip(explanations, sums, strict=True)]
        deletions["stem of the greatest sum in the map"] = _compare(falls)
        checks = [e.deletion for e in explanations if e.deletion is not None]
        deletions["places that the map marks"] = _compare([(d.marked, d.random) for d in checks])
        deletions["loudest places"] = _compare([(d.loudest, d.random) for d in checks])
    return Summary(
        genres=tuple(explanations[0].labels[genre] for genre in genres),
        counts=tuple(map(len, groups)),
        log_odds=_means(groups, "log_odds"),
        probability=_means(groups, "probability"),
        deletions=deletions,
    )


def _means(groups: Sequence[Sequence[Explanation]], unit: str) -> Floats:
    rows = [np.mean([e.of_stems(unit)[:, e.genre].numpy() for e in group], axis=0) for group in groups]
    return np.stack(rows)


def _silenced(explanation: Explanation, attributed: Tensor) -> tuple[float, float]:
    """What silencing the stem of the greatest value takes from the probability, and the mean over stems."""
    falls = explanation.of_silenced("probability")[:, explanation.genre]
    return float(falls[int(attributed.argmax())]), float(falls.mean())


def _compare(pairs: Sequence[tuple[float, float]]) -> Comparison:
    from scipy.stats import t

    marked, random = np.asarray(pairs).T
    count = len(pairs)
    margin = float("nan")
    if count > 1:
        margin = float(t.ppf(0.975, count - 1) * np.std(marked - random, ddof=1) / count**0.5)
    return Comparison(float(marked.mean()), float(random.mean()), margin, count)
