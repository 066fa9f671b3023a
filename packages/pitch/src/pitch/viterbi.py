"""The most likely path through pitch posteriors, found at constant memory.

Viterbi decoding needs back-pointers from the end of a recording to its start. The paths that lead to the
360 states of the newest frame, however, soon share their past: as far back as all of them agree, that past
is the best one whatever comes, and it can be given out and forgotten. The result is the path of the whole
recording, not that of separate chunks.

Reference:
    Transition probabilities of crepe/core.py (marl/crepe), numerics of librosa.sequence.viterbi as
    torchcrepe.decode.viterbi calls it; survivor path merging: Viterbi, "Convolutional Codes and Their
    Performance in Communication Systems", IEEE Trans. Commun. 19(5), 1971, section III.
"""

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from pitch.constants import PITCH_BINS

Floats = npt.NDArray[np.float32]
Bins = npt.NDArray[np.int64]

# In 10 ms the pitch moves by at most 11 bins (220 cents); the probability falls linearly with the distance.
REACH = 11

# After this many frames without agreement (a minute at 10 ms; only made-up posteriors were seen to reach
# it) the older half of the path that is best by then is given out, so that memory and time stay bounded.
MAX_PENDING = 6000


class ViterbiDecoder:
    """Finds the best path frame by frame and gives out each part as soon as it is final.

    Args:
        reach: Greatest number of bins that the pitch moves from frame to frame, 1 to 359.
        max_pending: Greatest number of frames held back (720 bytes each).
    """

    def __init__(self, *, reach: int = REACH, max_pending: int = MAX_PENDING) -> None:
        self.reach = reach
        self.max_pending = max_pending
        self._transition = _log_transition(reach)  # [360, 2 * reach + 1]
        self._padded = np.full(PITCH_BINS + 2 * reach, -np.inf)
        # Log-probability of the best path that ends in each state.
        self._value = self._padded[reach:-reach]
        self._reset()

    def _reset(self) -> None:
        # Per frame held back, the step to each state's best predecessor: [frames, 360].
        self._steps = np.zeros((0, PITCH_BINS), dtype=np.int16)
        self._started = False

    def push(self, probabilities: Floats) -> Bins:
        """The bins that have become final.

        Args:
            probabilities: Probability of each state, each frame summing to 1.

        Shape:
            - probabilities: `[T, 360]`
            - Output: `[T']`; the outputs of all calls, `finish` included, join to one bin for each frame
        """
        if len(probabilities) == 0:
            return np.zeros(0, dtype=np.int64)
        # librosa's guard against log(0).
        log_probabilities = np.log(probabilities + np.finfo(probabilities.dtype).tiny)
        steps = np.zeros((len(log_probabilities), PITCH_BINS), dtype=np.int16)
        windows = sliding_window_view(
            self._padded, 2 * self.reach + 1
        )  # [360, 2 * reach + 1], follows self._value
        everyone = np.arange(PITCH_BINS)
        for index, observation in enumerate(log_probabilities):
            if not self._started:
                self._value[:] = observation + np.log(1 / PITCH_BINS + np.finfo(np.float64).tiny)
                self._started = True
                continue
            scores = windows + self._transition
            best = scores.argmax(axis=1)
            steps[index] = best - self.reach
            self._value[:] = observation + scores[everyone, best]
        self._steps = np.concatenate([self._steps, steps])
        return self._give_out(self._agreed())

    def finish(self) -> Bins:
        """The bins of all frames still held back; then the decoder is ready for another recording."""
        path = self._trace(int(self._value.argmax()), len(self._steps))
        self._reset()
        return path

    def _agreed(self) -> tuple[int, int]:
        """How many frames are final, and the state of the last of them."""
        states = np.arange(PITCH_BINS)
        for index in range(len(self._steps) - 1, -1, -1):
            if len(states) == 1:
                return index + 1, int(states[0])
            states = np.unique(states + self._steps[index, states])
        if len(self._steps) > self.max_pending:
            count = len(self._steps) // 2
            return count, int(self._trace(int(self._value.argmax()), len(self._steps))[count - 1])
        return 0, 0

    def _give_out(self, final: tuple[int, int]) -> Bins:
        count, state = final
        path = self._trace(state, count)
        self._steps = self._steps[count:].copy()
        return path

    def _trace(self, state: int, count: int) -> Bins:
        """The path of the first `count` frames held back that ends in `state`."""
        path = np.zeros(count, dtype=np.int64)
        for index in range(count - 1, -1, -1):
            path[index] = state
            state += int(self._steps[index, state])
        return path


def viterbi_path(probabilities: Floats, *, reach: int = REACH) -> Bins:
    """The most likely path through a whole posteriorgram.

    Args:
        probabilities: Probability of each state, each frame summing to 1.
        reach: Greatest number of bins that the pitch moves from frame to frame.

    Shape:
        - probabilities: `[T, 360]`
        - Output: `[T]`
    """
    decoder = ViterbiDecoder(reach=reach)
    return np.concatenate([decoder.push(probabilities), decoder.finish()])


def _log_transition(reach: int) -> npt.NDArray[np.float64]:
    """Log-probability of moving to state j from j - reach + o, as `[j, o]`; -inf where that is no state."""
    states = np.arange(PITCH_BINS)
    weights = np.maximum(reach + 1 - np.abs(states[:, None] - states[None, :]), 0)  # [from, to]
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    band = np.full((PITCH_BINS, 2 * reach + 1), -np.inf)
    for offset in range(-reach, reach + 1):
        to = states[max(0, -offset) : PITCH_BINS - max(0, offset)]
        band[to, offset + reach] = np.log(probabilities[to + offset, to])
    return band
