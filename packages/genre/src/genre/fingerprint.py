"""Fingerprints that tell a recording from others although it was cut, made louder, noisy or compressed.

Peaks of the spectrogram survive most of this. Each is paired with a few that follow it, and a pair (two
frequencies and the time between them) is a landmark; recordings that may be the same have many landmarks
that agree at one offset (Wang 2003, "An industrial-strength audio search algorithm"). That finds the
candidates among all pairs, but songs of one groove and kit share landmarks too, so a candidate counts only if
its waveforms correlate at that offset.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audio_io.fourier import stft

RATE = 8000  # Hz
HOP = 128  # samples, 16 ms
_N_FFT = 1024
_LOWEST_BIN = 10  # 78 Hz, below which two kick drums are alike
_FREQUENCY_REACH, _TIME_REACH = 10, 12  # bins and frames within which a peak is the greatest
_FLOOR_DB = -40.0  # below the loudest value
_FOLLOWERS = 10  # landmarks of a peak
_NEAREST, _FARTHEST = 4, 128  # frames between the peaks of a landmark
_WIDEST = 96  # bins between the peaks of a landmark
_TIME_STEP = 4  # frames that count as the same time
_LARGEST_GROUP = 32  # landmarks that are compared with each other; more alike tell nothing
_BLOCK = 500_000  # landmarks that are compared with all at a time

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Landmarks:
    """What is compared of a recording.

    Attributes:
        codes: A number for the frequencies of two peaks and the time between them; `[n]`.
        times: Of the first peak, in frames of `HOP` samples; `[n]`.
    """

    codes: Integers
    times: Integers


@dataclass(frozen=True)
class Match:
    """Two recordings, by their place in the list, that agree somewhere.

    Attributes:
        first: The earlier one.
        second: The later one.
        share: Of the landmarks where they overlap, those that agree, from 0 to 1.
        offset: Where `second` begins in `first`, in s; negative if it begins before it.
        overlap: In s.
    """

    first: int
    second: int
    share: float
    offset: float
    overlap: float


def find_landmarks(mono: Tensor) -> Landmarks:
    """The landmarks of a recording.

    Args:
        mono: Samples at `RATE`, of any level.

    Shape:
        - mono: `[T]`
    """
    from scipy.ndimage import maximum_filter

    if mono.numel() < _N_FFT:
        return Landmarks(np.zeros(0, np.int64), np.zeros(0, np.int64))
    power = stft(mono, _N_FFT, HOP).abs().square()[_LOWEST_BIN:]
    level = (10 * torch.log10(power.clamp_min(1e-12))).numpy()
    audible = level > level.max() + _FLOOR_DB
    # Music falls with frequency; without its mean spectrum all peaks would be low ones.
    level = level - level.mean(axis=1, keepdims=True)
    around = maximum_filter(level, size=(2 * _FREQUENCY_REACH + 1, 2 * _TIME_REACH + 1))
    times, bins = np.nonzero(((level == around) & audible).T)
    return _pair(bins.astype(np.int64), times.astype(np.int64))


def find_matches(recordings: list[Landmarks], *, least_share: float, least_overlap: float) -> list[Match]:
    """Pairs of recordings whose landmarks agree at one offset, each pair once.

    Args:
        recordings: At least one.
        least_share: See `Match`.
        least_overlap: In s.
    """
    codes = np.concatenate([r.codes for r in recordings])
    times = np.concatenate([r.times for r in recordings])
    owner = np.repeat(np.arange(len(recordings)), [r.codes.size for r in recordings])
    order = np.lexsort((times, owner, codes))
    codes, times, owner = codes[order], times[order], owner[order]
    width = 2 * (int(times.max(initial=0)) + 2)
    matches = []
    block_of = np.cumsum([r.codes.size for r in recordings]) // _BLOCK
    for block in np.unique(block_of):
        # Pairs whose first recording is in the block; all at once would take gigabytes.
        index = np.nonzero(block_of[owner] == block)[0]
        keys, total = _count(codes, times, owner, index, len(recordings), width)
        pairs, offsets = keys // width, keys % width - width // 2
        best = np.lexsort((-total, pairs))
        best = best[np.r_[True, np.diff(pairs[best]) > 0][: best.size]]
        for place in best[total[best] > 1]:
            first, second = divmod(int(pairs[place]), len(recordings))
            match = _judge(recordings, first, second, int(offsets[place]), int(total[place]))
            if match.share >= least_share and match.overlap >= least_overlap:
                matches.append(match)
    return matches


def _count(
    codes: Integers, times: Integers, owner: Integers, index: Integers, recordings: int, width: int
) -> tuple[Integers, Integers]:
    """How many landmarks agree, by pair of recordings and offset (as one number), near offsets included.

    Args:
        codes: Sorted.
        times: Of the same landmarks.
        owner: Number of their recording, increasing within a code.
        index: Which landmarks to compare with those after them.
        recordings: Their number.
        width: Number of offsets.
    """
    found = []
    for lag in range(1, _LARGEST_GROUP):
        a = index[: np.searchsorted(index, codes.size - lag)]
        a = a[(codes[a] == codes[a + lag]) & (owner[a] != owner[a + lag])]
        found.append(
            (owner[a] * recordings + owner[a + lag]) * width + times[a] - times[a + lag] + width // 2
        )
    keys, counts = np.unique(np.concatenate(found), return_counts=True)
    total = counts.copy()
    if keys.size:
        # A peak may fall into a neighbouring frame.
        for step in (-2, -1, 1, 2):
            place = np.minimum(np.searchsorted(keys, keys + step), keys.size - 1)
            total += np.where(keys[place] == keys + step, counts[place], 0)
    return keys, total


def correlate(first: Tensor, second: Tensor, offset: float) -> float:
    """Greatest correlation of two recordings where they overlap, near an offset; from 0 to 1.

    It is that of their differences from sample to sample, since a bass drum would decide it otherwise.

    Args:
        first: Samples at `RATE`.
        second: Samples at `RATE`.
        offset: Where `second` begins in `first`, in s, up to four frames early or late.

    Shape:
        - first: `[T]`
        - second: `[U]`
    """
    shift, reach = round(offset * RATE), 4 * HOP
    a, b = first[max(shift, 0) :].double().diff(), second[max(-shift, 0) :].double().diff()
    length = min(a.numel(), b.numel())
    if length <= 2 * reach:
        return 0.0
    a, b = a[:length], b[reach : length - reach]  # so that all of b has a partner at every lag
    size = 2 * length
    product = torch.fft.rfft(a, size) * torch.fft.rfft(b, size).conj()
    lags = torch.fft.irfft(product, size)[: 2 * reach + 1]
    energy = functional.pad(a.square().cumsum(0), (1, 0))
    norm = (energy[b.numel() :][: 2 * reach + 1] - energy[: 2 * reach + 1]) * b.square().sum()
    return float((lags.abs() / norm.clamp_min(1e-24).sqrt()).max().clamp_max(1.0))


def _judge(recordings: list[Landmarks], first: int, second: int, offset: int, agreeing: int) -> Match:
    a, b = recordings[first].times, recordings[second].times + offset
    start, end = max(a.min(), b.min()), min(a.max(), b.max())
    inside = min(int(((t >= start) & (t <= end)).sum()) for t in (a, b))
    seconds = HOP / RATE
    return Match(
        first,
        second,
        min(1.0, agreeing / max(inside, 1)),
        offset * seconds,
        max(0.0, float(end - start) * seconds),
    )


def _pair(bins: Integers, times: Integers) -> Landmarks:
    """Each peak with the next ones that are near enough; peaks are in the order of time."""
    codes, starts = [], []
    for index in range(bins.size):
        low = np.searchsorted(times, times[index] + _NEAREST)
        high = np.searchsorted(times, times[index] + _FARTHEST)
        near = low + np.nonzero(np.abs(bins[low:high] - bins[index]) <= _WIDEST)[0][:_FOLLOWERS]
        step = bins[near] - bins[index] + _WIDEST
        gap = (times[near] - times[index]) // _TIME_STEP
        codes.append((bins[index] * (2 * _WIDEST + 1) + step) * _FARTHEST + gap)
        starts.append(np.full(near.size, times[index]))
    if not codes:
        return Landmarks(bins, times)
    return Landmarks(np.concatenate(codes), np.concatenate(starts))
