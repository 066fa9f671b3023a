"""From a pitch track to notes.

The contour of each stretch of voice is approximated by levels: the sequence of levels that costs least,
where a frame costs its distance to the level and every change of level costs `change_cost`. That is the
Potts model, whose global optimum dynamic programming finds. A vibrato of ±e cents at f Hz would save
0.18 e / f cents × s a change if its half cycles were notes (0.18 is (2 - sqrt 2) / pi; 3.7 for ±100 cents at
5 Hz), so a greater cost keeps it whole, while a new note d cents away is found as soon as it lasts
`change_cost / d`.

Reference:
    Friedrich, Kempe, Liebscher, Winkler, "Complexity Penalized M-Estimation: Fast Computation", J. Comput.
    Graph. Stat. 17(1), 2008 (the Potts functional and its dynamic program).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pitch.notes import NoteConfig, NoteEvent
from pitch.result import Track

Floats = npt.NDArray[np.float64]

LEVEL_STEP = 10.0  # cents between the levels that are tried
# A frame further than this from its level costs no more: a jump of the tracker by an octave is one bad frame.
FARTHEST = 100.0  # cents
SLOPE_SIGMA = 0.02  # s, of the Gaussian that smooths the contour where it is searched for its fastest change
SLOPE_REACH = 0.08  # s to either side of a change of level


@dataclass
class _Span:
    """Frames `first` to `last - 1`."""

    first: int
    last: int


def segment_notes(track: Track, config: NoteConfig | None = None) -> list[NoteEvent]:
    """The notes of a track, in order.

    A note begins where the voice begins, or where the pitch moves fastest on its way from the note before.
    Notes of the same pitch are told apart by an unvoiced gap only.

    Args:
        track: The pitch of a recording.
        config: How to cut.
    """
    config = config if config is not None else NoteConfig()
    hop = track.hop_seconds
    voiced = track.voiced
    cents = 1200 * np.log2(np.maximum(track.frequency.astype(np.float64), 1e-3))
    notes = []
    for region in _regions(voiced, int(config.max_gap / hop + 1e-6)):
        window = slice(region.first, region.last)
        for span in _spans(cents[window], voiced[window], hop, config):
            first, last = span.first + region.first, span.last + region.first
            sung = np.flatnonzero(voiced[first:last]) + first
            if not len(sung):
                continue
            notes.append(
                NoteEvent(
                    onset=max(0.0, (first - 0.5) * hop),
                    offset=min(track.duration, (last - 0.5) * hop),
                    frequency=float(np.median(track.frequency[sung])),
                    confidence=float(np.mean(track.confidence[sung])),
                )
            )
    return notes


def _regions(voiced: npt.NDArray[np.bool_], max_gap: int) -> list[_Span]:
    """Stretches of voiced frames with gaps of at most `max_gap` frames; both ends are voiced."""
    frames = np.flatnonzero(voiced)
    if not len(frames):
        return []
    breaks = np.flatnonzero(np.diff(frames) > max_gap + 1)
    starts = frames[np.concatenate([[0], breaks + 1])]
    ends = frames[np.concatenate([breaks, [len(frames) - 1]])] + 1
    return [_Span(int(first), int(last)) for first, last in zip(starts, ends, strict=True)]


def _spans(cents: Floats, voiced: npt.NDArray[np.bool_], hop: float, config: NoteConfig) -> list[_Span]:
    """The notes of one region; they leave out only what is too short to be one."""
    filled = np.interp(np.arange(len(cents)), np.flatnonzero(voiced), cents[voiced])
    spans = _levels(filled, voiced, config.change_cost / hop)
    spans = _join_short(spans, filled, round(config.min_note / hop))
    spans = _join_equal(spans, filled, config.min_step)
    slope = _slope(filled, hop)
    reach = max(1, round(SLOPE_REACH / hop))
    for before, after in pairwise(spans):
        rising = np.median(filled[after.first : after.last]) > np.median(filled[before.first : before.last])
        # Half of each note stays its own, and one frame at least.
        low = max(after.first - reach, (before.first + before.last) // 2, before.first + 1)
        high = min(after.first + reach, (after.first + after.last) // 2)
        steepest = low + int(np.argmax(slope[low : high + 1] * (1 if rising else -1)))
        before.last = after.first = steepest
    return spans


def _levels(cents: Floats, voiced: npt.NDArray[np.bool_], change_cost: float) -> list[_Span]:
    """The spans of the cheapest sequence of levels; see the module."""
    levels = np.arange(cents.min(), cents.max() + LEVEL_STEP, LEVEL_STEP)
    total = np.zeros(len(levels))
    came_from = np.empty((len(cents), len(levels)), dtype=np.int16)
    stay = np.arange(len(levels), dtype=np.int16)
    for k, (value, counts) in enumerate(zip(cents, voiced, strict=True)):
        best = int(np.argmin(total))
        changing = total[best] + change_cost
        came_from[k] = np.where(total <= changing, stay, best)
        total = np.minimum(total, changing)
        if counts:
            total = total + np.minimum(np.abs(levels - value), FARTHEST)
    path = np.empty(len(cents), dtype=np.int64)
    level = int(np.argmin(total))
    for k in range(len(cents) - 1, -1, -1):
        path[k] = level
        level = int(came_from[k, level])
    edges = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    return [_Span(first, last) for first, last in pairwise(edges)]


def _join_short(spans: list[_Span], cents: Floats, least: int) -> list[_Span]:
    """Give spans of fewer than `least` frames, the shortest first, to the neighbour of the nearer pitch."""
    spans = list(spans)
    while len(spans) > 1:
        index = min(range(len(spans)), key=lambda i: spans[i].last - spans[i].first)
        if spans[index].last - spans[index].first >= least:
            return spans
        neighbours = [i for i in (index - 1, index + 1) if 0 <= i < len(spans)]
        level = _median(spans[index], cents)
        _absorb(spans, min(neighbours, key=lambda i: abs(_median(spans[i], cents) - level)), index)
    return [span for span in spans if span.last - span.first >= least]


def _join_equal(spans: list[_Span], cents: Floats, least: float) -> list[_Span]:
    """Join neighbours that are less than `least` cents apart, the closest first."""
    spans = list(spans)
    while len(spans) > 1:
        medians = [_median(span, cents) for span in spans]
        steps = np.abs(np.diff(medians))
        index = int(np.argmin(steps))
        if steps[index] >= least:
            break
        _absorb(spans, index, index + 1)
    return spans


def _absorb(spans: list[_Span], keeper: int, index: int) -> None:
    spans[keeper].first = min(spans[keeper].first, spans[index].first)
    spans[keeper].last = max(spans[keeper].last, spans[index].last)
    del spans[index]


def _median(span: _Span, cents: Floats) -> float:
    return float(np.median(cents[span.first : span.last]))


def _slope(cents: Floats, hop: float) -> Floats:
    """Change from the frame before to each frame, smoothed by a Gaussian."""
    sigma = max(SLOPE_SIGMA / hop, 0.3)
    reach = max(1, round(3 * sigma))
    lag = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (lag / sigma) ** 2)
    changes = np.pad(np.diff(cents, prepend=cents[0]), reach)
    return np.asarray(np.convolve(changes, weights, mode="valid"), dtype=np.float64)
