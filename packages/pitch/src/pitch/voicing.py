"""Which frames are voiced: confidence with hysteresis, silence, least durations, calibrated probability.

All of it runs frame by frame at constant memory, so that a recording and a live stream get the same answer.

Reference:
    The A curve: IEC 61672-1:2013, annex E. Hysteresis: O. H. Schmitt, "A Thermionic Trigger", J. Sci.
    Instrum. 15(1), 1938. Calibration: Zadrozny and Elkan, "Transforming Classifier Scores into
    Accurate Multiclass Probability Estimates", KDD 2002.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pitch.config import TrackConfig
from pitch.constants import SAMPLE_RATE, WINDOW_SIZE
from pitch.loudness import REF_DB, perceptual_weights

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

# Level of a frame of zeros.
SILENT_DB = -200.0

# Probability of voicing at these confidences, by capacity, as `python
# packages/pitch/scripts/calibrate_voicing.py` prints it. The other capacities, whose official weights do not
# come with the package, take the curve that fits `tiny` and `full` together.
KNOTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
CALIBRATION: dict[str, tuple[float, ...]] = {
    "tiny": (0.085, 0.120, 0.158, 0.248, 0.481, 0.728, 0.834, 0.948, 1.000, 1.000),
    "regular": (0.076, 0.226, 0.310, 0.830, 0.830, 0.830, 0.852, 0.896, 1.000, 1.000),
    "full": (0.061, 0.296, 0.296, 0.394, 0.844, 0.844, 0.844, 0.844, 0.972, 1.000),
}
FALLBACK_CALIBRATION = (0.072, 0.183, 0.183, 0.299, 0.581, 0.783, 0.853, 0.888, 0.994, 1.000)


def level(frames: Tensor) -> Floats:
    """A-weighted level of frames in dB of full scale, the RMS of their A-weighted, windowed samples.

    `pitch.loudness.a_weighted`, torchcrepe's measure, is the mean over frequencies of the level in dB, with
    the loudest part of the whole recording as its floor. That needs the whole recording, and without the
    floor a tone without noise would count as silent (a sine of half of full scale: -90 dB). For noise the
    two differ by 3 dB.

    Args:
        frames: Samples at 16 kHz, nominally within ±1.

    Shape:
        - frames: `[N, 1024]`
        - Output: `[N]`, at least `SILENT_DB`
    """
    window = torch.hann_window(WINDOW_SIZE, dtype=frames.dtype, device="cpu")
    power = torch.fft.rfft(frames.cpu() * window).abs().square()  # [N, 513]
    # All frequencies but the first and the last stand for their mirror images too.
    gain = torch.from_numpy(10 ** ((perceptual_weights()[:, 0] + REF_DB) / 10))
    gain[1:-1] *= 2
    mean_square = power @ (gain / (WINDOW_SIZE * window.square().sum())).to(power)  # [N]
    decibels: Floats = (10 * torch.log10(mean_square.clamp(min=10 ** (SILENT_DB / 10)))).float().numpy()
    return decibels


def voiced_probability(confidence: Floats, model: str | None) -> Floats:
    """Probability that a frame is voiced, calibrated from the network's confidence.

    The confidence ranks frames well but is no probability. A rising, piecewise linear curve was fitted to
    sung phrases whose voicing is known exactly, clean and in noise down to -5 dB, to noise alone and to
    silence, all decoded by `weighted_viterbi` and half of it voiced. On other phrases of that kind its
    expected calibration error is 0.023 (`tiny`), 0.032 (`regular`) and 0.034 (`full`), that of the
    confidence itself 0.129, 0.166 and 0.143.

    Args:
        confidence: From 0 to 1.
        model: Name of the capacity; those without a fit of their own, and None, take
            `FALLBACK_CALIBRATION`.

    Shape:
        `[K]`, in and out
    """
    curve = CALIBRATION.get(model or "", FALLBACK_CALIBRATION)
    return np.interp(confidence, KNOTS, curve).astype(np.float32)


class VoicingGate:
    """Decides frame by frame what is voiced.

    Voicing begins at `threshold` and ends below `threshold_low`, or where it is silent. The decision only
    ever changes to a state that lasts at least `min_voiced` or `min_unvoiced`; it then holds from the
    beginning of that state, which is why frames may have to wait.

    Args:
        config: Thresholds and durations.
    """

    def __init__(self, config: TrackConfig) -> None:
        self._begin = np.float32(config.threshold)
        low = config.threshold if config.threshold_low is None else config.threshold_low
        self._end = np.float32(low)
        self._silence = -math.inf if config.silence_db is None else config.silence_db
        self._least = {
            True: _frames(config.min_voiced, config.hop_length),
            False: _frames(config.min_unvoiced, config.hop_length),
        }
        self.reset()

    @property
    def lookahead(self) -> int:
        """Greatest number of frames held back."""
        return max(self._least.values()) - 1

    def reset(self) -> None:
        """Forget all frames; the gate is ready for another recording."""
        self._is_above = False
        self._state = False
        # Frames at the end that are in the other state, not yet for long enough.
        self._waiting = 0

    def push(self, confidence: Floats, level_db: Floats) -> Bools:
        """The decisions that have become final.

        Args:
            confidence: Of the next frames.
            level_db: Their level, from `level`.

        Shape:
            - confidence and level_db: `[N]`
            - Output: `[M]`; the outputs of all calls, `finish` included, join to one for each frame
        """
        decided: list[bool] = []
        for certainty, loud in zip(confidence, level_db, strict=True):
            bound = self._end if self._is_above else self._begin
            self._is_above = bool(certainty >= bound and loud >= self._silence)
            if self._is_above == self._state:
                decided += [self._state] * (self._waiting + 1)
                self._waiting = 0
                continue
            self._waiting += 1
            if self._waiting >= self._least[self._is_above]:
                self._state = self._is_above
                decided += [self._state] * self._waiting
                self._waiting = 0
        return np.array(decided, dtype=np.bool_)

    def finish(self) -> Bools:
        """The decisions on the frames held back; then the gate is ready for another recording."""
        rest = np.full(self._waiting, self._state)
        self.reset()
        return rest


def _frames(seconds: float, hop_length: int) -> int:
    return max(1, math.ceil(seconds * SAMPLE_RATE / hop_length - 1e-9))
