"""Formants read off mel frames by a linear map that was fitted where they are known.

Linear prediction needs peaks that are sharp; where speech is blurred it takes a wrong one, and the error says
nothing of what the spectrum as a whole still tells. This reader is fitted on recordings of the training
utterances: ridge regression from the mels in dB, their level taken off, to the logarithms of F1 to F3. It is
no judge of sharpness: it credits a blurred spectrum with the formants that it is the mean of.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audio_io.errors import ConfigError

Floats = npt.NDArray[np.float64]

_RIDGE = 1.0  # dB2; the variance of a band is some hundreds
FEWEST = 200  # frames to be fitted on


@dataclass(frozen=True)
class FormantReader:
    """The fitted map.

    Attributes:
        mean: Of the level-free mels, `[n_mels]`.
        weights: `[n_mels, 3]`.
        bias: Logarithms of the formants at `mean`, `[3]`.
    """

    mean: Floats
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
        x, y = _level_free(np.asarray(mels, dtype=np.float64)), np.log(np.asarray(formants, dtype=np.float64))
        if len(x) != len(y) or len(x) < FEWEST:
            raise ConfigError("mels", f"{len(x)} frames, {len(y)} formants", f"as many, at least {FEWEST}")
        mean, bias = x.mean(axis=0), y.mean(axis=0)
        centred = x - mean
        gram = centred.T @ centred + _RIDGE * len(x) * np.eye(x.shape[1])
        return cls(mean, np.linalg.solve(gram, centred.T @ (y - bias)), bias)

    def read(self, mels: npt.ArrayLike) -> Floats:
        """F1 to F3 in Hz of each frame.

        Shape:
            - mels: `[T, n_mels]`
            - output: `[T, 3]`
        """
        x = _level_free(np.asarray(mels, dtype=np.float64))
        found: Floats = np.exp((x - self.mean) @ self.weights + self.bias)
        return found


def _level_free(mels: Floats) -> Floats:
    return np.asarray(mels - mels.mean(axis=1, keepdims=True))
