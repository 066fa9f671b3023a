"""Speech as mel frames, and the numbers that the networks see.

A waveform is pre-emphasised, its power mel spectrogram taken with frames centred on multiples of the hop, and
written in dB (`mel_db`, [64, T]). Mel frame i is the sound around sample `i * hop_length`; the image that
belongs to it is the one shown at that time. The networks see `(mel_db - mean) / std` with one mean and one
standard deviation of the whole corpus (`Scaler`). HiFi-GAN sees the natural logarithm of the amplitude, which
is `mel_db * ln(10) / 20`: its floor of 1e-5 is the same -100 dB.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_io import mel_filters, melspectrogram, power_to_db, preemphasis
from audio_io.atomic import write_json
from audio_io.errors import ConfigError, FileError
from mri2speech.config import MEL_FLOOR, MelConfig

Floats = npt.NDArray[np.float32]

DB_TO_LOG = math.log(10) / 20  # natural logarithm of the amplitude per dB


def mel_db(waveform: Tensor, config: MelConfig = MelConfig()) -> Tensor:  # noqa: B008 - frozen
    """Mel spectrogram of speech in dB, at least -100.

    Args:
        waveform: Samples at `config.sample_rate`, full scale 1.
        config: Its parameters.

    Shape:
        - waveform: `[..., N]`
        - output: `[..., n_mels, T]` with `T = 1 + N // hop_length`
    """
    emphasised = preemphasis(waveform, config.preemphasis, start="zero") if config.preemphasis else waveform
    power = melspectrogram(
        emphasised,
        sample_rate=config.sample_rate,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        win_length=config.win_length,
        n_mels=config.n_mels,
        fmin=config.fmin,
        fmax=config.fmax,
        power=2.0,
    )
    return power_to_db(power, amin=MEL_FLOOR, top_db=None)


def mel_log(db: Tensor) -> Tensor:
    """Natural logarithm of the amplitude, as HiFi-GAN takes it, of mels in dB."""
    return db * DB_TO_LOG


def band_centres(config: MelConfig = MelConfig()) -> Tensor:  # noqa: B008 - frozen
    """Frequency in Hz at which each mel band is centred, the mean of its filter.

    Shape:
        - output: `[n_mels]`
    """
    filters = mel_filters(config.sample_rate, config.n_fft, config.n_mels, fmin=config.fmin, fmax=config.fmax)
    hz = torch.arange(filters.shape[-1], dtype=filters.dtype) * (config.sample_rate / config.n_fft)
    return (filters * hz).sum(-1) / filters.sum(-1)


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of all mels of a corpus, in dB, with the mel settings they belong to."""

    mean: float
    std: float
    mel: MelConfig

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise ConfigError("scaler", f"mean {self.mean}, std {self.std}", "finite, and std above 0")

    def normalise(self, db: Tensor) -> Tensor:
        """What the acoustic model learns, of mels in dB."""
        return (db - self.mean) / self.std

    def denormalise(self, normalised: Tensor) -> Tensor:
        """Mels in dB, of what the acoustic model gives."""
        return normalised * self.std + self.mean

    def save(self, path: str | Path) -> None:
        """Write `scaler.json`."""
        write_json(path, {"mean": self.mean, "std": self.std, "mel": asdict(self.mel)})

    @classmethod
    def load(cls, path: str | Path, expected: MelConfig | None = None) -> "Scaler":
        """Read `scaler.json`.

        Args:
            path: Of the file. One of the original scripts, without mel settings, counts as made with the
                defaults.
            expected: Mel settings that it must have been made with.

        Raises:
            FileError: If the file is missing, is no scaler, or belongs to other mel settings.
        """
        wanted = "a scaler.json with the fields mean and std"
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
            fields = {key: stored["mel"][key] for key in asdict(MelConfig())} if "mel" in stored else {}
            scaler = cls(float(stored["mean"]), float(stored["std"]), MelConfig(**fields))
        except FileNotFoundError as error:
            raise FileError(path, "no such file", wanted) from error
        except (ValueError, KeyError, TypeError) as error:
            raise FileError(path, f"not a scaler ({error})", wanted) from error
        if expected is not None and (differs := scaler.mel.difference(expected)):
            raise FileError(path, f"made with {differs[0]}", differs[1])
        return scaler
