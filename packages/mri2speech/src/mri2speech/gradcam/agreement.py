"""How well two maps of an image agree, and how sure that is.

Maps are compared on one grid for all methods, by area means: a CNN's map has a few cells, a causal map the
edges of organs.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float32]
Interval = tuple[float, float, float]
"""A value and its 95 % interval."""

GRID = 32  # cells a side


def on_grid(image: npt.NDArray[np.floating], cells: int = GRID) -> Floats:
    """Area means of an image, `[cells, cells]`.

    Shape:
        - image: `[H, W]`
    """
    resized = cv2.resize(image.astype(np.float32), (cells, cells), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.float32)


def rank_correlation(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> float:
    """Spearman's rank correlation, ties at their mean rank; 0 if one map is the same everywhere."""
    a, b = first.ravel(), second.ravel()
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(stats.spearmanr(a, b).statistic)


def top_region(heat: npt.NDArray[np.floating], share: float) -> npt.NDArray[np.bool_]:
    """The hottest share of the places, of equal ones the first; at least one place."""
    count = max(1, round(share * heat.size))
    marked = np.zeros(heat.size, dtype=bool)
    marked[np.argsort(-heat, axis=None, kind="stable")[:count]] = True
    return marked.reshape(heat.shape)


def overlap(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating], share: float) -> float:
    """Intersection over union of the top regions of two maps; 0 if one map is the same everywhere."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    a, b = top_region(first, share), top_region(second, share)
    return float((a & b).sum() / (a | b).sum())


def pointing(heat: npt.NDArray[np.floating], truth: npt.NDArray[np.floating], share: float) -> float:
    """1 if the hottest place lies in the truth's top region, else 0 (Zhang et al., IJCV 126, 2018)."""
    hit = np.ptp(heat) > 0 and top_region(truth, share).flat[int(heat.argmax())]
    return float(hit)


def agreement(
    heat: npt.NDArray[np.floating], truth: npt.NDArray[np.floating], share: float
) -> dict[str, float]:
    """All three measures of a map against the truth, on the grid.

    Shape:
        - heat, truth: `[H, W]`
    """
    a, b = on_grid(heat), on_grid(truth)
    return {
        "rank_correlation": rank_correlation(a, b),
        "overlap": overlap(a, b, share),
        "pointing": pointing(a, b, share),
    }


class Bootstrap:
    """95 % intervals by resampling films, because frames of one film are alike.

    Args:
        films: Number of the film that each value belongs to.
        resamples: How many.
        seed: Of the draws, which are the same for all statistics.

    Shape:
        - films: `[N]`
    """

    def __init__(self, films: Sequence[int], resamples: int, seed: int) -> None:
        numbers = np.asarray(films)
        members = [np.flatnonzero(numbers == film) for film in np.unique(numbers)]
        draws = np.random.default_rng(seed).integers(len(members), size=(resamples, len(members)))
        self._draws = [np.concatenate([members[film] for film in draw]) for draw in draws]

    def mean(self, values: npt.ArrayLike) -> Interval:
        """Mean of values `[N]` and its interval."""
        return self.statistic(lambda chosen: float(chosen.mean()), values)

    def ratio(self, above: npt.ArrayLike, below: npt.ArrayLike) -> Interval:
        """Sum of some values over the sum of others, both `[N]`, and its interval."""
        return self.statistic(lambda a, b: float(a.sum() / max(b.sum(), 1e-12)), above, below)

    def statistic(self, function: Callable[..., float], *columns: npt.ArrayLike) -> Interval:
        """A statistic of columns `[N, ...]`, and the 2.5th and 97.5th percentile of its resamples."""
        arrays = [np.asarray(column, dtype=np.float64) for column in columns]
        spread = [function(*(array[draw] for array in arrays)) for draw in self._draws]
        low, high = np.percentile(spread, [2.5, 97.5])
        return function(*arrays), float(low), float(high)
