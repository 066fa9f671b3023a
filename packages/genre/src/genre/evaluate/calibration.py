"""Whether the probabilities are what they say, and the one number that makes them so.

References:
    Naeini, Cooper & Hauskrecht 2015, "Obtaining well calibrated probabilities using Bayesian binning": the
    expected calibration error. Guo, Pleiss, Sun & Weinberger 2017, arXiv 1706.04599: temperature scaling.
    Platt 1999, "Probabilistic outputs for support vector machines", section 2.2: targets short of certainty.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BINS = 15  # as Guo et al.
COLDEST, HOTTEST = 0.05, 20.0


@dataclass(frozen=True)
class Bin:
    """Tracks whose most probable genre has a probability within an interval.

    Attributes:
        low: Lower end, exclusive.
        high: Upper end, inclusive.
        count: How many tracks.
        confidence: Their mean probability; 0 without tracks.
        accuracy: Share of them that is right; 0 without tracks.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(truth: Integers, probabilities: Floats, bins: int = BINS) -> tuple[Bin, ...]:
    """Tracks by the probability of their answer, in bins of equal width.

    Args:
        truth: Number of the genre of each track.
        probabilities: Rows that add up to 1.
        bins: How many.

    Shape:
        - truth: `[N]`
        - probabilities: `[N, C]`
    """
    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == truth
    edges = np.linspace(0.0, 1.0, bins + 1)
    # Right ends belong to their bin, so that a probability of 1 has one.
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    found = []
    for index in range(bins):
        here = place == index
        means = (confidence[here].mean(), is_right[here].mean()) if here.any() else (0.0, 0.0)
        low, high = edges[index : index + 2]
        found.append(Bin(float(low), float(high), int(here.sum()), float(means[0]), float(means[1])))
    return tuple(found)


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy, weighted by tracks."""
    total = sum(entry.count for entry in bins)
    return sum(entry.count * abs(entry.confidence - entry.accuracy) for entry in bins) / max(total, 1)


def apply_temperature(logits: Floats, temperature: float) -> Floats:
    """Probabilities of a track: the mean over its windows of the softmax of the divided logits.

    Args:
        logits: Of each window; a constant added to a row changes nothing.
        temperature: Above 0; greater than 1 makes the probabilities less certain.

    Shape:
        - logits: `[W, C]`
        - output: `[C]`
    """
    mean: Floats = _softmax(logits / temperature).mean(axis=0)
    return mean


def fit_temperature(logits: Sequence[Floats], truth: Integers) -> float:
    """The temperature with the least negative log-likelihood of tracks, from 0.05 to 20.

    Where every track is right, the likelihood grows without end as the temperature falls. The target of `n`
    tracks is therefore `(n + 1) / (n + 2)` for the true genre and the rest for the others in equal parts, as
    Platt has it: what one would believe of the next track after `n` right ones.

    Args:
        logits: Of the windows of each track; tracks that the network was not trained on.
        truth: Number of the genre of each track.

    Shape:
        - logits: `[W, C]` each
        - truth: `[N]`
    """
    from scipy.optimize import minimize_scalar

    windows = np.concatenate(logits)
    counts = np.array([len(rows) for rows in logits])
    starts = np.cumsum(counts) - counts
    tracks, classes = len(logits), windows.shape[1]
    target = np.full((tracks, classes), 1 / (tracks + 2) / (classes - 1))
    target[np.arange(tracks), truth] = (tracks + 1) / (tracks + 2)

    def loss(log_temperature: float) -> float:
        shares = np.add.reduceat(_softmax(windows / np.exp(log_temperature)), starts) / counts[:, None]
        return float(-(target * np.log(np.maximum(shares, np.finfo(np.float64).tiny))).sum() / tracks)

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return shares
