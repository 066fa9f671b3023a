"""From four stems to the picture that the network sees: mel spectrograms in dB, standardised and resized.

The mel bands are librosa's (Slaney's scale and norm, Hann window, centred frames); 0 dB is the loudest value
of each stem or of the four together, and everything 80 dB below it or less is -80 dB. A silent stem is -80 dB
throughout, where `librosa.power_to_db(ref=np.max)` would make it 0 dB, as loud as can be.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from audio_io.mel import hz_to_mel, mel_to_hz, melspectrogram
from genre.config import STEMS, FeatureConfig, Reference

FLOOR_DB = -80.0
_LEAST_POWER = 1e-10  # librosa's amin: what is told from silence
_LEAST_DEVIATION = 1e-3  # dB; a channel that never changes stays finite


class StemMel(nn.Module):
    """Mel spectrograms of stems in dB.

    Args:
        config: Its settings.

    Shape:
        - input: `[B, 4, N]`, full scale ±1
        - output: `[B, 4, n_mels, T]` in dB, from -80 to 0, with `T = 1 + N // hop_length`

    Reference: `librosa.feature.melspectrogram` and `librosa.power_to_db` with `ref=np.max`.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, stems: Tensor) -> Tensor:
        """See the class."""
        return to_decibels(mel_power(stems, self.config), self.config.reference)


def mel_power(stems: Tensor, config: FeatureConfig, *, ratio: float = 1.0, rate: float = 1.0) -> Tensor:
    """Mel bands of power, as if the pitch had been shifted or the tempo changed before.

    A tone at f counts as one at `ratio` f: the filters stay where they are and the frequencies move. Bands
    whose source would lie above half the sample rate are empty, as they are after a shift by resampling. The
    frames are taken `rate` hops apart, to the nearest sample, where a phase vocoder interpolates frames one
    hop apart.

    Args:
        stems: Full scale ±1.
        config: The settings of the features.
        ratio: Of frequencies, above 0; 2^(1/12) is a semitone up.
        rate: Of tempo, above 0; 2 is twice as fast.

    Shape:
        - stems: `[..., N]`
        - output: `[..., n_mels, T]` with `T = 1 + N // round(rate * hop_length)`
    """
    bands, highest = _bands_below(config, min(ratio, 1.0) * config.sample_rate / 2)
    mel = melspectrogram(
        stems,
        ratio * config.sample_rate,
        n_fft=config.n_fft,
        hop_length=max(1, round(rate * config.hop_length)),
        n_mels=bands,
        fmax=highest,
    )
    return functional.pad(mel, (0, 0, 0, config.n_mels - bands)) if bands < config.n_mels else mel


def _bands_below(config: FeatureConfig, limit: float) -> tuple[int, float]:
    """How many of the bands end at or below a frequency in Hz, and where the last of them ends."""
    nyquist = config.sample_rate / 2
    if limit >= nyquist:
        return config.n_mels, nyquist
    step = hz_to_mel(nyquist).item() / (config.n_mels + 1)
    # Band m ends at edge m + 2, counted from 0.
    bands = max(1, math.floor(hz_to_mel(limit).item() / step) - 1)
    return bands, mel_to_hz((bands + 1) * step).item()


def to_decibels(power: Tensor, reference: Reference) -> Tensor:
    """Power in dB below the loudest value of each stem, or of the stems of an example together.

    Args:
        power: At least 0.
        reference: `stem` or `common`.

    Shape:
        - power: `[..., 4, n_mels, T]`
        - output: the same, from -80 to 0
    """
    loudest = power.amax(dim=(-2, -1) if reference == "stem" else (-3, -2, -1), keepdim=True)
    level = 10 * torch.log10(power.clamp(min=_LEAST_POWER)) - 10 * torch.log10(
        loudest.clamp(min=_LEAST_POWER)
    )
    return torch.where(loudest > _LEAST_POWER, level, FLOOR_DB).clamp(min=FLOOR_DB)


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each stem over the training tracks, in dB."""

    mean: tuple[float, ...] = (0.0,) * len(STEMS)
    std: tuple[float, ...] = (1.0,) * len(STEMS)


def measure_statistics(pictures: Iterable[Tensor]) -> Statistics:
    """Statistics of pictures, gathered in float64.

    Args:
        pictures: Before they are standardised, at least one.

    Shape:
        - each picture: `[4, n_mels, T]`, in dB; `T` may differ
    """
    count = 0
    total = squares = torch.zeros(len(STEMS), dtype=torch.float64)
    for picture in pictures:
        rows = picture.double().flatten(1)  # [4, n_mels * T]
        count += rows.shape[1]
        total = total + rows.sum(dim=1)
        squares = squares + rows.square().sum(dim=1)
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=_LEAST_DEVIATION**2).sqrt()
    return Statistics(tuple(mean.tolist()), tuple(std.tolist()))


def fit_frames(db: Tensor, frames: int) -> Tensor:
    """Cut to a number of frames, or pad each example with the least value of its stem.

    Shape:
        - db: `[..., n_mels, T]`
        - output: `[..., n_mels, frames]`
    """
    missing = frames - db.shape[-1]
    if missing <= 0:
        return db[..., :frames]
    least = db.amin(dim=(-2, -1), keepdim=True)
    return torch.cat([db, least.expand(*db.shape[:-1], missing)], dim=-1)


def standardise(db: Tensor, statistics: Statistics) -> Tensor:
    """Each stem with the mean 0 and the deviation 1 over the training tracks.

    Shape:
        - db: `[..., 4, n_mels, T]`
        - output: the same
    """
    mean = torch.tensor(statistics.mean).to(db)[:, None, None]
    std = torch.tensor(statistics.std).to(db)[:, None, None]
    return (db - mean) / std


def resize(x: Tensor, config: FeatureConfig) -> Tensor:
    """To `image_size` in both directions, bilinear with antialiasing; unchanged if the image is native.

    Without antialiasing, 1,292 frames on 600 pixels would be every other frame and little of those between.

    Shape:
        - x: `[B, 4, n_mels, T]`
        - output: `[B, 4, H, W]`
    """
    if config.image == "native":
        return x
    size = (config.image_size, config.image_size)
    return functional.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def picture(db: Tensor, statistics: Statistics, config: FeatureConfig) -> Tensor:
    """What the network sees: cut or padded to the window, standardised, resized.

    Args:
        db: From `StemMel`.
        statistics: Of the training tracks.
        config: The settings of the features.

    Shape:
        - db: `[B, 4, n_mels, T]`
        - output: `[B, 4, H, W]`: `image_size` twice, or `n_mels` and `config.frames`
    """
    return resize(standardise(fit_frames(db, config.frames), statistics), config)
