"""Variations of training tracks, drawn once and alike for all four stems.

Pitch and tempo change in the mel domain: a shift in pitch moves the frequencies under the mel filters, a
stretch takes frames nearer together or further apart (`genre.features.mel_power`), and noise is drawn as the
mel power that white noise has. That needs one STFT, where a phase vocoder and a resampler need several
(`genre.augment_waveform`, for comparison and for fidelity).

References: D. Park et al., "SpecAugment", 2019, section 2 (masks, filled with the mean); E. Wilson and
M. Hilferty, "The distribution of chi-square", 1931 (gamma variables from normal ones).
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from audio_io.mel import mel_filters
from genre.config import STEMS, AugmentConfig, FeatureConfig
from genre.features import Statistics, mel_power

# |correlation|^2 of two frequencies of white noise under a Hann window, 0, 1 and 2 apart.
_HANN_CORRELATION = (1.0, (2 / 3) ** 2, (1 / 6) ** 2)
_HANN_POWER = 3 / 8  # mean of the squared window


@dataclass(frozen=True)
class Variation:
    """What is done to one example; the defaults change nothing.

    Attributes:
        semitones: Shift of the pitch.
        rate: Factor of the tempo; above 1 is faster.
        noise: Standard deviation of white noise, full scale 1.
        shift: Samples by which the sound comes later; negative for earlier.
        time_mask: First frame and number of frames that are masked.
        frequency_mask: First band and number of bands that are masked.
        dropped: Stems that are silent.
        levels: What is added to the level of each stem, in dB; none if empty.
        tilt: What is added to the highest band and taken from the lowest, in dB, and evenly in between.
    """

    semitones: float = 0.0
    rate: float = 1.0
    noise: float = 0.0
    shift: int = 0
    time_mask: tuple[int, int] = (0, 0)
    frequency_mask: tuple[int, int] = (0, 0)
    dropped: tuple[int, ...] = ()
    levels: tuple[float, ...] = ()
    tilt: float = 0.0

    @property
    def ratio(self) -> float:
        """Factor of frequencies."""
        return math.exp2(self.semitones / 12)


def draw_variation(config: AugmentConfig, features: FeatureConfig, rng: np.random.Generator) -> Variation:
    """A variation at random.

    Everything is drawn whether it is used or not, so that switching one variation off leaves the others as
    they were.

    Args:
        config: Probabilities and ranges.
        features: The window, for shift and masks.
        rng: What to draw from.
    """
    chances = rng.random(6) < config.augment_probability
    semitones = rng.uniform(-config.pitch_semitones, config.pitch_semitones)
    rate = rng.uniform(config.stretch_low, config.stretch_high)
    seconds = rng.uniform(-config.shift_seconds, config.shift_seconds)
    masks = [_draw_span(size, config.mask_share, rng) for size in (features.frames, features.n_mels)]
    drops = rng.random(len(STEMS)) < config.drop_stems
    drops[rng.integers(len(STEMS))] = False  # silence has no genre
    levels = config.stem_level * rng.standard_normal(len(STEMS))
    tilt = config.tilt * rng.standard_normal()
    if config.augment_mode == "none":
        return Variation()
    pitch, stretch, noise, shift, time, frequency = chances & (
        config.augment_pitch_shift,
        config.augment_time_stretch,
        config.augment_add_noise,
        config.augment_time_shift,
        config.augment_time_masking,
        config.augment_frequency_masking,
    )
    return Variation(
        semitones=semitones if pitch else 0.0,
        rate=rate if stretch else 1.0,
        noise=config.noise_level if noise else 0.0,
        shift=round(seconds * features.sample_rate) if shift else 0,
        time_mask=masks[0] if time else (0, 0),
        frequency_mask=masks[1] if frequency else (0, 0),
        dropped=tuple(int(stem) for stem in np.flatnonzero(drops)),
        levels=tuple(levels.tolist()) if config.stem_level else (),
        tilt=float(tilt),
    )


def _draw_span(size: int, share: float, rng: np.random.Generator) -> tuple[int, int]:
    """A place and a length below `share` of an axis."""
    length = math.floor(rng.random() * share * size)
    return int(rng.integers(size - length + 1)), length


def vary_power(
    stems: Tensor, variation: Variation, features: FeatureConfig, rng: np.random.Generator
) -> Tensor:
    """Mel power of a varied example; masks come later (`mask`), since they need dB.

    Args:
        stems: Full scale ±1.
        variation: What to do.
        features: The settings of the features.
        rng: For the noise.

    Shape:
        - stems: `[4, N]`
        - output: `[4, n_mels, T]`, as long as the changed tempo makes it
    """
    prepared = shift_and_drop(stems, variation)
    power = mel_power(prepared, features, ratio=variation.ratio, rate=variation.rate)
    return power + noise_power(power.shape, variation.noise, features, rng) if variation.noise else power


def shift_and_drop(stems: Tensor, variation: Variation) -> Tensor:
    """What both domains do to the waveform: the shift in time, zeros filling the gap, and stem dropout.

    Shape:
        - stems: `[4, N]`
        - output: the same
    """
    if variation.shift:
        # Padding by a negative number cuts.
        stems = functional.pad(stems, (variation.shift, -variation.shift))
    if variation.dropped:
        stems = stems.clone()
        stems[list(variation.dropped)] = 0
    return stems


def colour(power: Tensor, variation: Variation) -> Tensor:
    """Mel power of other levels and another slope, as another mix and other equipment give.

    Shape:
        - power: `[4, n_mels, T]`
        - output: the same
    """
    if not variation.levels and not variation.tilt:
        return power
    levels = torch.tensor(variation.levels or (0.0,) * len(STEMS))
    slope = torch.linspace(-variation.tilt, variation.tilt, power.shape[1])
    return power * (10 ** ((levels[:, None] + slope) / 10)).to(power)[..., None]


def noise_power(
    shape: torch.Size | tuple[int, ...], level: float, features: FeatureConfig, rng: np.random.Generator
) -> Tensor:
    """Mel power of white Gaussian noise, a draw for each value.

    The power of a band is a weighted sum of squared normal variables; a gamma variable with its exact mean
    and variance stands for it. That neighbouring frames share samples is left out.

    Args:
        shape: `[..., n_mels, T]`.
        level: Standard deviation of the noise, full scale 1.
        features: The settings of the features.
        rng: What to draw from.

    Shape:
        - output: `shape`
    """
    mean, form = _noise_moments(features)
    spread = 1 / (9 * form)
    normal = torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32))
    cube = (1 - spread)[:, None] + spread.sqrt()[:, None] * normal
    return level**2 * mean[:, None] * cube.clamp(min=0) ** 3


@functools.lru_cache(maxsize=4)
def _noise_moments(features: FeatureConfig) -> tuple[Tensor, Tensor]:
    """Mean of noise of deviation 1 in each band, and its squared mean by its variance; `[n_mels]` each."""
    filters = mel_filters(features.sample_rate, features.n_fft, features.n_mels)  # [M, F]
    total = filters.sum(dim=1)
    variance = filters.square().sum(dim=1)
    for distance, correlation in enumerate(_HANN_CORRELATION[1:], start=1):
        variance += 2 * correlation * (filters[:, distance:] * filters[:, :-distance]).sum(dim=1)
    mean = total * features.n_fft * _HANN_POWER
    form = total.square() / variance.clamp(min=torch.finfo(torch.float64).tiny)
    return mean.float(), form.clamp(min=1e-3).float()


def mask(db: Tensor, variation: Variation, statistics: Statistics) -> Tensor:
    """Set the masked frames and bands to the mean of their stem over the training tracks.

    Shape:
        - db: `[4, n_mels, T]`
        - output: the same
    """
    (frame, frames), (band, bands) = variation.time_mask, variation.frequency_mask
    if not frames and not bands:
        return db
    mean = torch.tensor(statistics.mean).to(db)[:, None, None]
    masked = db.clone()
    masked[:, :, frame : frame + frames] = mean
    masked[:, band : band + bands] = mean
    return masked
