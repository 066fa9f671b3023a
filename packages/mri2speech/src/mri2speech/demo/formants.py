"""Formants of speech by linear prediction.

The poles of an all-pole model of each frame are candidates. F1 and F2 are the cheapest path through pairs of
them: narrow poles are cheap, passing over a pole and jumping from frame to frame is dear. In vowels of the
phantom's own recordings it errs by 17 Hz (F1) and 35 Hz (F2), root mean square. With order 11, too few poles
are left for the slope of the spectrum, and F3 is taken for F2 in a fifth of the frames.

Reference:
    D. Talkin, "Speech formant trajectory estimation using dynamic programming with modulated transition
    costs", JASA 82 S1 (1987).
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_toeplitz

from mri2speech.config import MelConfig

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

ORDER = 14  # for 11,413 Hz: a pair of poles per kHz, and a pair for the slope
WINDOW_SECONDS = 0.05
_LOWEST_HZ, _HIGHEST_HZ, _WIDEST_HZ = 150.0, 5200.0, 700.0
_TOP_F1, _BOTTOM_F2, _TOP_F2 = 1250.0, 450.0, 3100.0
_NEUTRAL_F1, _NEUTRAL_F2 = 500.0, 1500.0
# Costs: of a Hz of bandwidth, of a pole that is passed over, of the distance from the neutral vowel, and of a
# step from one frame to the next, the latter two per unit of the logarithm of the frequency.
_BANDWIDTH, _PASSED, _DISTANCE, _STEP = 1 / 250, 3.0, 0.6, 2.0
_NO_PAIR = 3.0


class Poles(NamedTuple):
    """Frequencies and bandwidths in Hz of the candidates of one frame, both `[K]`, ascending."""

    frequencies: Floats
    bandwidths: Floats


def of_waveform(waveform: npt.ArrayLike, voiced: npt.ArrayLike, mel: MelConfig = MelConfig()) -> Floats:  # noqa: B008
    """F1 and F2 of speech at the times of its mel frames.

    Args:
        waveform: Speech at `mel.sample_rate`.
        voiced: True where formants are asked for.
        mel: Its sample rate, hop and pre-emphasis.

    Shape:
        - waveform: `[N]`
        - voiced: `[T]`
        - output: `[T, 2]` in Hz, NaN where not voiced
    """
    samples = np.asarray(waveform, dtype=np.float64)
    wanted = np.asarray(voiced, dtype=bool)
    half = round(WINDOW_SECONDS * mel.sample_rate) // 2
    emphasised = np.append(samples[:1], samples[1:] - mel.preemphasis * samples[:-1])
    padded = np.pad(emphasised, (half, half + mel.hop_length * len(wanted)))
    starts = mel.hop_length * np.arange(len(wanted))[:, None]
    frames = padded[starts + np.arange(2 * half + 1)] * np.hanning(2 * half + 1)
    return _track(np.abs(np.fft.rfft(frames, mel.n_fft)) ** 2, wanted, mel.sample_rate)


def of_mel(mel_db: npt.ArrayLike, voiced: npt.ArrayLike, mel: MelConfig = MelConfig()) -> Floats:  # noqa: B008
    """F1 and F2 of mels in dB, without a waveform.

    Shape:
        - mel_db: `[n_mels, T]`
        - voiced: `[T]`
        - output: `[T, 2]` in Hz, NaN where not voiced
    """
    import torch

    from audio_io.decibels import db_to_power
    from mri2speech.vocoder.griffin_lim import linear_power

    db = torch.as_tensor(np.asarray(mel_db, dtype=np.float64))
    power = linear_power(db_to_power(db), mel).numpy().T
    return _track(power, np.asarray(voiced, dtype=bool), mel.sample_rate)


def _track(power: Floats, voiced: Mask, sample_rate: int) -> Floats:
    found = np.full((len(voiced), 2), np.nan)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], voiced.astype(np.int8), [0]])))
    for start, end in edges.reshape(-1, 2):
        found[start:end] = _path([_pairs(_poles(row, sample_rate)) for row in power[start:end]])
    return found


def _poles(power: Floats, sample_rate: int) -> Poles:
    """Poles of the all-pole model of a power spectrum `[F]`."""
    lags = np.fft.irfft(power)[: ORDER + 1]
    lags[0] = lags[0] * (1 + 1e-6) + 1e-20
    roots = np.roots(np.append(1.0, -solve_toeplitz(lags[:-1], lags[1:])))
    roots = roots[roots.imag > 0]
    frequencies = np.angle(roots) * sample_rate / (2 * np.pi)
    bandwidths = -np.log(np.maximum(np.abs(roots), 1e-12)) * sample_rate / np.pi
    order = np.argsort(frequencies)
    order = order[
        (frequencies[order] > _LOWEST_HZ)
        & (frequencies[order] < _HIGHEST_HZ)
        & (bandwidths[order] < _WIDEST_HZ)
    ]
    return Poles(frequencies[order], bandwidths[order])


def _pairs(poles: Poles) -> Floats:
    """What F1 and F2 may be, and what that costs: `[K, 3]`."""
    frequencies, bandwidths = poles
    rows = []
    for first in range(min(2, len(frequencies))):
        for second in range(first + 1, min(first + 3, len(frequencies))):
            f1, f2 = frequencies[first], frequencies[second]
            if f1 > _TOP_F1 or not _BOTTOM_F2 < f2 < _TOP_F2:
                continue
            passed = sum(np.exp(-bandwidths[k] / 300) for k in range(second) if k != first)
            distance = 0.5 * abs(np.log(f1 / _NEUTRAL_F1)) + abs(np.log(f2 / _NEUTRAL_F2))
            width = bandwidths[first] + bandwidths[second]
            rows.append((f1, f2, _BANDWIDTH * width + _PASSED * passed + _DISTANCE * distance))
    return np.array(rows or [(_NEUTRAL_F1, _NEUTRAL_F2, _NO_PAIR)])


def _path(pairs: list[Floats]) -> Floats:
    """The cheapest path through the pairs of a run of frames (Viterbi), `[T, 2]`."""
    cost = pairs[0][:, 2]
    came_from = []
    for before, now in pairwise(pairs):
        steps = _STEP * np.abs(np.log(now[:, None, :2] / before[None, :, :2])).sum(-1) + cost
        came_from.append(steps.argmin(axis=1))
        cost = now[:, 2] + steps.min(axis=1)
    place = int(cost.argmin())
    path = [pairs[-1][place, :2]]
    for back, row in zip(reversed(came_from), reversed(pairs[:-1]), strict=True):
        place = int(back[place])
        path.append(row[place, :2])
    return np.array(path[::-1])
