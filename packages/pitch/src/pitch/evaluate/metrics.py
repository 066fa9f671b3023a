"""Scores of a pitch track against the true pitch.

Reference:
    Poliner et al., "Melody Transcription from Music Audio: Approaches and Evaluation", IEEE Trans. Audio
    Speech Lang. Process. 15(4), 2007; the definitions of mir_eval.melody.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audio_io.errors import ConfigError


@dataclass(frozen=True)
class PitchScores:
    """Scores of one track; all but the cents are shares from 0 to 1, NaN where there is nothing to count.

    Attributes:
        median_cents: Median distance to the truth over truly voiced frames, in cents.
        percentile95_cents: 95th percentile of it, in cents.
        raw_pitch_accuracy: Share of truly voiced frames whose pitch is within `tolerance_cents`, called
            voiced or not.
        voicing_recall: Share of truly voiced frames that are called voiced.
        voicing_false_alarm: Share of truly unvoiced frames that are called voiced.
        tolerance_cents: Of `raw_pitch_accuracy`.
    """

    median_cents: float
    percentile95_cents: float
    raw_pitch_accuracy: float
    voicing_recall: float
    voicing_false_alarm: float
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
        ConfigError: If the lengths differ or no frame is truly voiced.
    """
    estimate = np.asarray(frequency, dtype=np.float64)
    truth = np.asarray(true_frequency, dtype=np.float64)
    called = np.asarray(voiced, dtype=bool)
    if not estimate.shape == called.shape == truth.shape:
        raise ConfigError("true_frequency", f"shape {truth.shape}", f"that of the estimate, {estimate.shape}")
    sung = truth > 0
    if not sung.any():
        raise ConfigError("true_frequency", "no voiced frame", "at least one frequency above 0 Hz")
    cents = np.abs(1200 * np.log2(estimate[sung] / truth[sung]))
    return PitchScores(
        median_cents=float(np.median(cents)),
        percentile95_cents=float(np.percentile(cents, 95)),
        raw_pitch_accuracy=float(np.mean(cents < tolerance_cents)),
        voicing_recall=float(called[sung].mean()),
        voicing_false_alarm=float(called[~sung].mean()) if (~sung).any() else float("nan"),
        tolerance_cents=tolerance_cents,
    )
