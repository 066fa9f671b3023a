"""Variations of pitch, tempo and noise on the waveform itself, as the brief has them.

One phase vocoder serves both: shifting by a ratio is stretching by it and resampling back. It costs several
times the mel domain (`genre.augment`), which is the default.

Reference: M. Dolson, "The phase vocoder: a tutorial", 1986.
"""

import math

import numpy as np
import torch
from torch import Tensor

from audio_io.fourier import istft, stft
from audio_io.resampling import resample
from genre.augment import Variation, shift_and_drop

N_FFT, HOP_LENGTH = 2048, 512
# Ratios are given to the resampler as fractions with this denominator: 0.002 semitones at most.
_RATE = 8192


def vary_waveform(stems: Tensor, variation: Variation, rng: np.random.Generator) -> Tensor:
    """Stems with another pitch, tempo, place and noise; the masks of the variation are not its matter.

    Args:
        stems: Full scale ±1.
        variation: What to do.
        rng: For the noise.

    Shape:
        - stems: `[4, N]`
        - output: `[4, N']`, with `N' = N / rate` to within a sample
    """
    varied = shift_and_drop(stems, variation)
    if variation.semitones or variation.rate != 1:
        varied = stretch(varied, variation.rate / variation.ratio)
        length = round(stems.shape[-1] / variation.rate)
        if variation.semitones:
            varied = resample(varied, round(variation.ratio * _RATE), _RATE, quality="HQ")
        varied = torch.nn.functional.pad(varied, (0, length - varied.shape[-1]))
    if variation.noise:
        noise = rng.standard_normal(tuple(varied.shape), dtype=np.float32)
        varied = varied + variation.noise * torch.from_numpy(noise)
    return varied


def stretch(waveform: Tensor, rate: float) -> Tensor:
    """Another tempo at the same pitch, by a phase vocoder.

    Magnitudes are interpolated between frames; phases advance by what they advance between the two frames of
    the source.

    Args:
        waveform: Full scale ±1.
        rate: Factor of the tempo, above 0.

    Shape:
        - waveform: `[..., N]`
        - output: `[..., round(N / rate)]`
    """
    spectrum = stft(waveform, N_FFT, HOP_LENGTH)  # [..., F, K]
    n_frames = spectrum.shape[-1]
    places = torch.arange(math.ceil(n_frames / rate), dtype=torch.float64) * rate
    first = places.floor().long().clamp(max=n_frames - 1)
    share = (places - first).clamp(max=1).to(waveform.dtype)
    magnitude, phase = spectrum.abs(), spectrum.angle()
    padded = torch.nn.functional.pad(magnitude, (0, 1))
    mixed = torch.lerp(padded[..., first], padded[..., first + 1], share)
    # Beyond the last frame the phase goes on as before; what it is there matters little, at magnitude 0.
    following = torch.cat([phase[..., 1:], phase[..., -1:]], dim=-1)
    expected = torch.arange(N_FFT // 2 + 1, dtype=torch.float64) * (2 * math.pi * HOP_LENGTH / N_FFT)
    # In float64: phases grow to thousands of turns.
    deviation = (following - phase).double()[..., first] - expected[:, None]
    advance = expected[:, None] + deviation - 2 * math.pi * (deviation / (2 * math.pi)).round()
    start = phase[..., :1].double()
    angle = start + torch.nn.functional.pad(advance[..., :-1], (1, 0)).cumsum(dim=-1)
    turns = torch.remainder(angle, 2 * math.pi).to(waveform.dtype)
    return istft(torch.polar(mixed, turns), N_FFT, HOP_LENGTH, length=round(waveform.shape[-1] / rate))
