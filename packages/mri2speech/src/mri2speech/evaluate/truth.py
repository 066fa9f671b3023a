"""What is known of an utterance: formants of the phantom's tube, or those of the recording."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from audio_io.errors import FileError
from mri2speech.config import MelConfig
from mri2speech.evaluate.formants import formants
from mri2speech.meta import Sample
from mri2speech.phantom.outline import ARTICULATORS
from mri2speech.phantom.writer import load_truth
from mri2speech.preprocess.frames import mel_times, neighbours

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_VELUM = ARTICULATORS.index("velum")
_CLOSED = 0.15  # cm2 of area below which a tube says nothing of the sound
_QUIET_DB = -35.0  # below the loudest frame, where no formants are looked for


@dataclass(frozen=True)
class Truth:
    """What is known of an utterance: formants in Hz `[T, 3]`, and where they can be heard `[T]`."""

    formants: Floats
    clear: Mask


def truth_of(
    folder: str | Path | None, sample: Sample, waveform: Tensor, mels: Tensor, mel: MelConfig
) -> Truth:
    """The formants of a sample at its mel frames.

    Args:
        folder: Folder `truth` of a phantom; without it the recording's own formants are the truth.
        sample: Of the data set.
        waveform: Its recording.
        mels: Its mels in dB.
        mel: Their settings.

    Raises:
        FileError: If the truth cannot be read, or is of another film.

    Shape:
        - waveform: `[N]`
        - mels: `[n_mels, T]`
    """
    if folder is not None:
        return _of_the_tube(Path(folder) / f"{sample.id}.npz", sample, mels.shape[1], mel)
    power = mels.numpy().max(axis=0)
    loud = power > power.max() + _QUIET_DB
    found = formants(waveform.numpy(), mel.sample_rate, np.arange(mels.shape[1]) / mel.frame_rate, loud)
    return Truth(found, loud & np.isfinite(found[:, 0]))


def _of_the_tube(path: Path, sample: Sample, count: int, mel: MelConfig) -> Truth:
    """A row of the file is a frame of the film, whose rate need not be that of the mels."""
    stored = load_truth(path)
    rows, film = len(stored["f0"]), round(sample.alignment.video_duration * sample.fps)
    if rows != film:
        raise FileError(path, f"{rows} frames", f"those of the film of {sample.id}, {film}")
    start = sample.alignment.audio_start + sample.alignment.first_mel / mel.frame_rate
    left, weight = neighbours(np.arange(rows) / sample.fps, mel_times(count, mel, start), "linear")
    right = np.minimum(left + 1, rows - 1)
    values = stored["formants"].astype(np.float64)
    between = values[left] + weight[:, None] * (values[right] - values[left])
    near = np.where(weight < 0.5, left, right)
    is_open = stored["area"].min(axis=1) > _CLOSED
    clear = (stored["f0"] > 0) & is_open & (stored["articulators"][:, _VELUM] < 0.2)
    return Truth(between, clear[near])
