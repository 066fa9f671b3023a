"""Scores of a pitch track against the true pitch.

Reference:
    Poliner et al., "Melody Transcription from Music Audio: Approaches and Evaluation", IEEE Trans. Audio
    Speech Lang. Process. 15(4), 2007; the definitions of mir_eval.melody.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from audio_io.errors import ConfigError

Floats = npt.NDArray[np.float64]

# Distances, in cents, at which the share of right frames is counted.
TOLERANCES_CENTS = (50.0, 25.0, 10.0)

# Distance to the truth in cents: fine up to 200, where errors of precision are, coarse beyond, where
# octaves and noise are; 8,000 cents is more than the range of the network.
ERROR_EDGES: Floats = np.concatenate([np.arange(0, 200, 0.5), np.arange(200, 8001, 10)]).astype(np.float64)


@dataclass(frozen=True)
class PitchScores:
    """Scores of one track; all but the cents are shares from 0 to 1, NaN where there is nothing to count.

    Attributes:
        median_cents: Median distance to the truth over truly voiced frames, in cents.
        percentile95_cents: 95th percentile of it, in cents.
        raw_pitch_accuracy: Share of truly voiced frames whose pitch is within `tolerance_cents`, called
            voiced or not.
        raw_chroma_accuracy: The same with octaves forgiven.
        octave_errors: Share of truly voiced frames that are right but for one or more octaves.
        voicing_recall: Share of truly voiced frames that are called voiced.
        voicing_false_alarm: Share of truly unvoiced frames that are called voiced.
        overall_accuracy: Share of all frames that are voiced and right, or unvoiced and called so.
        tolerance_cents: Of the accuracies.
    """

    median_cents: float
    percentile95_cents: float
    raw_pitch_accuracy: float
    raw_chroma_accuracy: float
    octave_errors: float
    voicing_recall: float
    voicing_false_alarm: float
    overall_accuracy: float
    tolerance_cents: float

    def lines(self) -> list[str]:
        """The scores for people to read."""
        return [
            f"error   {self.median_cents:.1f} cents in the median, "
            f"{self.percentile95_cents:.1f} at the 95th percentile",
            f"        {self.raw_pitch_accuracy:.1%} of the voiced frames within "
            f"{self.tolerance_cents:.0f} cents; voicing recall {self.voicing_recall:.1%}, "
            f"false alarms {self.voicing_false_alarm:.1%}",
        ]


def score(
    frequency: npt.ArrayLike,
    voiced: npt.ArrayLike,
    true_frequency: npt.ArrayLike,
    tolerance_cents: float = 50.0,
) -> PitchScores:
    """Scores of estimated against true pitch, frame by frame.

    Args:
        frequency: Estimated pitch in Hz, of unvoiced frames too.
        voiced: Whether the estimate calls the frame voiced.
        true_frequency: True pitch in Hz, 0 where there is none.
        tolerance_cents: Distances below it count as right.

    Shape:
        each `[K]`

    Raises:
        ConfigError: If the lengths differ, no frame is truly voiced, or a frame that is has no estimate.
    """
    estimate, called, truth = _arrays(frequency, voiced, true_frequency)
    sung = truth > 0
    if not sung.any():
        raise ConfigError("true_frequency", "no voiced frame", "at least one frequency above 0 Hz")
    cents = cents_between(estimate[sung], truth[sung])
    right = cents < tolerance_cents
    chroma = np.abs(cents - 1200 * np.floor(cents / 1200 + 0.5)) < tolerance_cents
    return PitchScores(
        median_cents=float(np.median(cents)),
        percentile95_cents=float(np.percentile(cents, 95)),
        raw_pitch_accuracy=float(right.mean()),
        raw_chroma_accuracy=float(chroma.mean()),
        octave_errors=float((chroma & ~right).mean()),
        voicing_recall=float(called[sung].mean()),
        voicing_false_alarm=float(called[~sung].mean()) if (~sung).any() else float("nan"),
        overall_accuracy=float(((right & called[sung]).sum() + (~called[~sung]).sum()) / len(truth)),
        tolerance_cents=tolerance_cents,
    )


def cents_between(frequency: Floats, reference: Floats) -> Floats:
    """Distance of pitches in Hz, in cents.

    Shape:
        `[K]`, in and out
    """
    cents: Floats = np.abs(1200 * np.log2(frequency / reference))
    return cents


def at_times(
    truth_times: Floats, times: Floats, frequency: Floats, voiced: npt.NDArray[np.bool_]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """An estimate at the times of the truth: its pitch interpolated in cents, its voicing held.

    Up to the last frame this is mir_eval.melody.to_cent_voicing; after it the last frame holds.

    Args:
        truth_times: Where the estimate is wanted, in s.
        times: Of the estimate's frames, in s, ascending.
        frequency: Of the estimate's frames in Hz, above 0.
        voiced: Whether the estimate calls the frame voiced.

    Shape:
        - truth_times: `[K]`
        - times, frequency, voiced: `[N]`
        - Output: twice `[K]`
    """
    pitch: Floats = 2 ** np.interp(truth_times, times, np.log2(frequency))
    # Rounded as in mir_eval: 0.03 s has to find the frame at 3 times 0.01 s.
    frame = np.searchsorted(np.round(times, 10), np.round(truth_times, 10), side="right") - 1
    return pitch, voiced[frame.clip(min=0)]


@dataclass(frozen=True)
class Tally:
    """Counts of frames, from which the scores of any union of recordings follow exactly.

    Only the percentiles are read off the histogram `errors`, to half a cent up to 200 cents.

    Attributes:
        voiced: Truly voiced frames.
        unvoiced: Truly unvoiced frames.
        right: Truly voiced frames within each of `TOLERANCES_CENTS`.
        chroma: Truly voiced frames within 50 cents when octaves are forgiven.
        recalled: Truly voiced frames called voiced.
        false_alarms: Truly unvoiced frames called voiced.
        overall: Frames voiced and within 50 cents, or unvoiced and called so.
        errors: Truly voiced frames by distance to the truth, between `ERROR_EDGES`.
    """

    voiced: int
    unvoiced: int
    right: tuple[int, ...]
    chroma: int
    recalled: int
    false_alarms: int
    overall: int
    errors: npt.NDArray[np.int64]

    @classmethod
    def count(cls, frequency: npt.ArrayLike, voiced: npt.ArrayLike, true_frequency: npt.ArrayLike) -> "Tally":
        """The counts of one recording; arguments as of `score`, but no frame has to be voiced.

        Raises:
            ConfigError: If the lengths differ, or a truly voiced frame has no estimate.
        """
        estimate, called, truth = _arrays(frequency, voiced, true_frequency)
        sung = truth > 0
        cents = cents_between(estimate[sung], truth[sung])
        near_octave = np.abs(cents - 1200 * np.floor(cents / 1200 + 0.5))
        return cls(
            voiced=int(sung.sum()),
            unvoiced=int((~sung).sum()),
            right=tuple(int((cents < tolerance).sum()) for tolerance in TOLERANCES_CENTS),
            chroma=int((near_octave < TOLERANCES_CENTS[0]).sum()),
            recalled=int(called[sung].sum()),
            false_alarms=int(called[~sung].sum()),
            overall=int(((cents < TOLERANCES_CENTS[0]) & called[sung]).sum() + (~called[~sung]).sum()),
            errors=np.histogram(cents.clip(max=ERROR_EDGES[-1]), ERROR_EDGES)[0].astype(np.int64),
        )

    @classmethod
    def nothing(cls) -> "Tally":
        """No frame at all."""
        return cls(0, 0, (0,) * len(TOLERANCES_CENTS), 0, 0, 0, 0, np.zeros(len(ERROR_EDGES) - 1, np.int64))

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.voiced + other.voiced,
            self.unvoiced + other.unvoiced,
            tuple(a + b for a, b in zip(self.right, other.right, strict=True)),
            self.chroma + other.chroma,
            self.recalled + other.recalled,
            self.false_alarms + other.false_alarms,
            self.overall + other.overall,
            self.errors + other.errors,
        )

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON takes them; bins of the histogram without a frame are left out."""
        errors = {str(index): int(self.errors[index]) for index in np.flatnonzero(self.errors)}
        counts = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**counts, "right": list(self.right), "errors": errors}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Tally":
        """The counts that `to_json` gave."""
        errors = np.zeros(len(ERROR_EDGES) - 1, dtype=np.int64)
        for index, count in record["errors"].items():
            errors[int(index)] = count
        return cls(**{**record, "right": tuple(record["right"]), "errors": errors})

    def accuracy(self, tolerance_cents: float = TOLERANCES_CENTS[0]) -> float:
        """Raw pitch accuracy at one of `TOLERANCES_CENTS`; NaN without a voiced frame."""
        return _share(self.right[TOLERANCES_CENTS.index(tolerance_cents)], self.voiced)

    def percentile(self, percent: float) -> float:
        """Percentile of the distance to the truth, in cents; NaN without a voiced frame."""
        if not self.voiced:
            return float("nan")
        below = np.concatenate([[0], np.cumsum(self.errors)]) / self.voiced
        return float(np.interp(percent / 100, below, ERROR_EDGES))

    def scores(self) -> PitchScores:
        """The scores at 50 cents."""
        return PitchScores(
            median_cents=self.percentile(50),
            percentile95_cents=self.percentile(95),
            raw_pitch_accuracy=self.accuracy(),
            raw_chroma_accuracy=_share(self.chroma, self.voiced),
            octave_errors=_share(self.chroma - self.right[0], self.voiced),
            voicing_recall=_share(self.recalled, self.voiced),
            voicing_false_alarm=_share(self.false_alarms, self.unvoiced),
            overall_accuracy=_share(self.overall, self.voiced + self.unvoiced),
            tolerance_cents=TOLERANCES_CENTS[0],
        )


def _share(count: int, total: int) -> float:
    return count / total if total else float("nan")


def _arrays(
    frequency: npt.ArrayLike, voiced: npt.ArrayLike, true_frequency: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.bool_], Floats]:
    estimate = np.asarray(frequency, dtype=np.float64)
    truth = np.asarray(true_frequency, dtype=np.float64)
    called = np.asarray(voiced, dtype=bool)
    if not estimate.shape == called.shape == truth.shape:
        raise ConfigError("true_frequency", f"shape {truth.shape}", f"that of the estimate, {estimate.shape}")
    missing = np.flatnonzero((truth > 0) & ~((estimate > 0) & np.isfinite(estimate)))
    if len(missing):
        found = f"{estimate[missing[0]]} Hz in frame {missing[0]}, which is truly voiced"
        raise ConfigError(
            "frequency", found, "a pitch there, whether the estimate calls the frame voiced or not"
        )
    return estimate, called, truth
