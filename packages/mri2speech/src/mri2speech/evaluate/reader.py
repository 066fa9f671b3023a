"""Formants read off mel frames by a smooth map that was fitted where they are known.

Linear prediction needs peaks that are sharp; where speech is blurred it takes a wrong one, and the error says
nothing of what the spectrum as a whole still tells. This reader is fitted on recordings of the training
utterances: kernel ridge regression with a Gaussian kernel, from the mels in dB, their level taken off and
each band divided by its deviation, to the logarithms of F1 to F3. It is no judge of sharpness: it credits a
blurred spectrum with the formants that it is the mean of.

Reference: C. Saunders, A. Gammerman, V. Vovk, "Ridge regression learning algorithm in dual variables",
ICML 1998, equation 9.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audio_io.errors import ConfigError

Floats = npt.NDArray[np.float64]

_WIDTH = 2.0  # of the kernel, in deviations of a band
_RIDGE = 0.1  # the kernel of a frame with itself is 1
_LEAST = 0.3  # deviation of a band, of the greatest
FEWEST = 200  # frames to be fitted on
_MOST = 3000  # frames that are kept, evenly chosen: the fit takes the cube of their number


@dataclass(frozen=True)
class FormantReader:
    """The fitted map.

    Attributes:
        mean: Of the level-free mels, `[n_mels]`.
        deviation: Likewise, their standard deviation, not less than 0.3 of the greatest.
        frames: What it was fitted on, divided by the deviation, `[N, n_mels]`.
        weights: Of each of them, `[N, 3]`.
        bias: Mean logarithms of the formants, `[3]`.
    """

    mean: Floats
    deviation: Floats
    frames: Floats
    weights: Floats
    bias: Floats

    @classmethod
    def fit(cls, mels: npt.ArrayLike, formants: npt.ArrayLike) -> "FormantReader":
        """Fit it.

        Args:
            mels: In dB, of frames with a voice.
            formants: F1 to F3 in Hz.

        Raises:
            ConfigError: If there are fewer than 200 frames, or the counts differ.

        Shape:
            - mels: `[N, n_mels]`
            - formants: `[N, 3]`
        """
        x, y = _level_free(mels), np.log(np.asarray(formants, dtype=np.float64))
        if len(x) != len(y) or len(x) < FEWEST:
            raise ConfigError("mels", f"{len(x)} frames, {len(y)} formants", f"as many, at least {FEWEST}")
        step = -(-len(x) // _MOST)
        x, y = x[::step], y[::step]
        mean, bias = x.mean(axis=0), y.mean(axis=0)
        # The least keeps a band in which hardly anything happens from deciding alone how far two frames are.
        deviation = np.maximum(x.std(axis=0), _LEAST * x.std(axis=0).max() + 1e-6)
        frames = (x - mean) / deviation
        gram = _kernel(frames, frames) + _RIDGE * np.eye(len(frames))
        return cls(mean, deviation, frames, np.linalg.solve(gram, y - bias), bias)

    def read(self, mels: npt.ArrayLike) -> Floats:
        """F1 to F3 in Hz of each frame.

        Shape:
            - mels: `[T, n_mels]`
            - output: `[T, 3]`
        """
        frames = (_level_free(mels) - self.mean) / self.deviation
        found: Floats = np.exp(_kernel(frames, self.frames) @ self.weights + self.bias)
        return found


def _level_free(mels: npt.ArrayLike) -> Floats:
    x = np.asarray(mels, dtype=np.float64)
    return np.asarray(x - x.mean(axis=1, keepdims=True))


def _kernel(a: Floats, b: Floats) -> Floats:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.exp(-np.maximum(squares, 0.0) / (2 * _WIDTH**2 * a.shape[1])))
