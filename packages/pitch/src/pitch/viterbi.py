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
Steps = npt.NDArray[np.int16]

# In 10 ms the pitch moves by at most 11 bins (220 cents); the probability falls linearly with the distance.
REACH = 11

# After this many frames without agreement (a minute at 10 ms; only made-up posteriors were seen to reach
# it) a frame is decided all the same, so that memory and time stay bounded.
MAX_PENDING = 6000


class ViterbiDecoder:
    """Finds the best path frame by frame and gives out each part as soon as it is final.

    A frame is final when the paths to all states of the newest frame agree on it; then it is on the best
    path of the whole recording. A frame that is `lag` frames old without that is decided as it lies on the
    path that is best so far; only such frames can differ from the path of the whole. What is decided depends
    on the frames alone, not on how they are cut into calls.

    Args:
        reach: Greatest number of bins that the pitch moves from frame to frame, 1 to 359.
        lag: Greatest number of frames held back (720 bytes each), 0 or more; 0 decides each frame by the
            past alone.
    """

    def __init__(self, *, reach: int = REACH, lag: int = MAX_PENDING) -> None:
        self.reach = reach
        self.lag = lag
        self._transition = _log_transition(reach)  # [360, 2 * reach + 1]
        self._padded = np.full(PITCH_BINS + 2 * reach, -np.inf)
        # Log-probability of the best path that ends in each state.
        self._value = self._padded[reach:-reach]
        self.reset()

    def reset(self) -> None:
        """Forget all frames; the decoder is ready for another recording."""
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
        held = len(self._steps)
        steps = np.zeros((held + len(log_probabilities), PITCH_BINS), dtype=np.int16)
        steps[:held] = self._steps
        windows = sliding_window_view(
            self._padded, 2 * self.reach + 1
        )  # [360, 2 * reach + 1], follows self._value
        everyone = np.arange(PITCH_BINS)
        forced: list[int] = []
        for newest, observation in enumerate(log_probabilities, start=held):
            if self._started:
                scores = windows + self._transition
                best = scores.argmax(axis=1)
                steps[newest] = best - self.reach
                self._value[:] = observation + scores[everyone, best]
            else:
                self._value[:] = observation + np.log(1 / PITCH_BINS + np.finfo(np.float64).tiny)
                self._started = True
            if newest - len(forced) >= self.lag:
                forced.append(self._oldest(steps[len(forced) : newest + 1]))
        self._steps = steps[len(forced) :]
        agreed = self._give_out(*self._agreed())
        return np.concatenate([np.array(forced, dtype=np.int64), agreed])

    def finish(self) -> Bins:
        """The bins of all frames still held back; then the decoder is ready for another recording."""
        path = _trace(self._steps, int(self._value.argmax()))
        self.reset()
        return path

    def _oldest(self, steps: Steps) -> int:
        """The state of the first of these frames on the path that is best now."""
        state = int(self._value.argmax())
        for index in range(len(steps) - 1, 0, -1):
            state += int(steps[index, state])
        return state

    def _agreed(self) -> tuple[int, int]:
        """How many frames are final, and the state of the last of them."""
        states = np.arange(PITCH_BINS)
        for index in range(len(self._steps) - 1, -1, -1):
            if len(states) == 1:
                return index + 1, int(states[0])
            states = np.unique(states + self._steps[index, states])
        return 0, 0

    def _give_out(self, count: int, state: int) -> Bins:
        path = _trace(self._steps[:count], state)
        self._steps = self._steps[count:].copy()
        return path


def _trace(steps: Steps, state: int) -> Bins:
    """The path through these frames that ends in `state`."""
    path = np.zeros(len(steps), dtype=np.int64)
    for index in range(len(steps) - 1, -1, -1):
        path[index] = state
        state += int(steps[index, state])
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
