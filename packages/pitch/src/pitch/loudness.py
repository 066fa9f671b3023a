"""Loudness as the ear weighs it, frame by frame.

Reference:
    torchcrepe/loudness.py (maxrmorrison/torchcrepe 0.0.24); the A curve: IEC 61672-1:2013, annex E.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import audio_io
from pitch.constants import SAMPLE_RATE, WINDOW_SIZE
from pitch.core import resample

MIN_DB = -100.0  # dB, of silence
REF_DB = 20.0  # dB, taken off so that full scale is near 0


def a_weighted(audio: Tensor, sample_rate: int, hop_length: int | None = None, pad: bool = True) -> Tensor:
    """A-weighted loudness of each frame in dB, the mean over frequencies.

    Args:
        audio: One channel of samples.
        sample_rate: In Hz.
        hop_length: Samples between frames, at `sample_rate`; 10 ms if None.
        pad: Whether frames are centred, as in `pitch.predict`.

    Shape:
        - audio: `[1, T]`
        - Output: `[1, 1 + T // hop_length]`
    """
    hop_length = sample_rate // 100 if hop_length is None else hop_length
    audio = audio.detach().float()
    if sample_rate != SAMPLE_RATE:
        hop_length = int(hop_length * SAMPLE_RATE / sample_rate)
        audio = resample(audio, sample_rate)
    spectrum = audio_io.stft(audio[0], WINDOW_SIZE, hop_length, center=pad, pad_mode="constant")
    decibels = audio_io.amplitude_to_db(spectrum.abs())  # [F, K]
    weighted = (decibels + torch.from_numpy(perceptual_weights()).to(decibels)).clamp(min=MIN_DB)
    return weighted.mean(dim=0)[None]  # [1, K]


def perceptual_weights() -> npt.NDArray[np.float64]:
    """The A curve minus `REF_DB` at the frequencies of the frames' spectra, in dB.

    Shape:
        - Output: `[513, 1]`
    """
    squared = np.linspace(0, SAMPLE_RATE / 2, WINDOW_SIZE // 2 + 1) ** 2
    # Corner frequencies of the standard, in Hz.
    low, first, second, high = (corner**2 for corner in (20.598997, 107.65265, 737.86223, 12194.217))
    gain = (
        high
        * squared**2
        / ((squared + low) * (squared + high) * np.sqrt((squared + first) * (squared + second)))
    )
    # At 0 Hz the curve falls without end; librosa, and so torchcrepe, stops at -80 dB.
    curve = np.maximum(2.0 + 20 * np.log10(np.maximum(gain, 1e-30)), -80.0)
    weights: npt.NDArray[np.float64] = (curve - REF_DB)[:, None]
    return weights
