"""A sung melody: a pulse train through five formants, with glides, vibrato and consonants of noise.

References:
    Formants of an alto: Csound Manual, appendix D. Vibrato of 5 to 6 Hz: Sundberg, "The Science of the
    Singing Voice", 1987.
"""

from dataclasses import dataclass

import numpy as np

from separation_coreml.stems.song import Song
from separation_coreml.stems.sounds import CONTROL_HOP, SAMPLE_RATE, Floats, band, gate, hertz, pan, smooth

_HIGHEST = 9000  # Hz, of the harmonics
_REST = 0.18  # share of the notes that are rests
_CONSONANT = 0.4  # share of the notes that begin with one
# Frequencies in Hz, levels in dB and bandwidths in Hz of five formants.
_VOWELS = np.array(
    [
        [[800, 0, 80], [1150, -4, 90], [2800, -20, 120], [3500, -36, 130], [4950, -60, 140]],
        [[400, 0, 60], [1600, -24, 80], [2700, -30, 120], [3300, -35, 150], [4950, -60, 200]],
        [[350, 0, 50], [1700, -20, 100], [2700, -30, 120], [3700, -36, 150], [4950, -60, 200]],
        [[450, 0, 70], [800, -9, 80], [2830, -16, 100], [3500, -28, 130], [4950, -55, 135]],
    ],
    dtype=np.float64,
)


@dataclass(frozen=True)
class _Melody:
    """Control curves, `[size]` each; formants `[5, 3, size]`."""

    pitch: Floats
    level: Floats
    vibrato: Floats
    hiss: Floats
    formants: Floats


def vocals(song: Song, rng: np.random.Generator) -> Floats:
    """A voice, at times two an instant apart, `[2, T]`."""
    time = np.arange(song.length // CONTROL_HOP + 2) * CONTROL_HOP / SAMPLE_RATE
    melody = _melody(song, time, rng)
    place = float(rng.uniform(-0.15, 0.15))
    if rng.random() < 0.3:
        left, right = (_sing(song, melody, time, rng) for _ in range(2))
        return pan(left, place - 0.5) + pan(right, place + 0.5)
    return pan(_sing(song, melody, time, rng), place)


def _melody(song: Song, time: Floats, rng: np.random.Generator) -> _Melody:
    octave, degree, start = int(rng.integers(3, 5)), int(rng.integers(0, 7)), 0.0
    pitch = np.full(time.size, float(song.pitch(degree, octave)))
    level, vibrato, hiss = np.zeros(time.size), np.zeros(time.size), np.zeros(time.size)
    formants = np.tile(_VOWELS[0], (time.size, 1, 1))
    while start < time[-1]:
        seconds = song.bar / 8 * float(rng.choice([1, 1, 2, 2, 3, 4]))
        if rng.random() > _REST:
            degree = int(np.clip(degree + rng.choice([-2, -1, -1, 0, 1, 1, 2, 4, -3]), -1, 9))
            note = (time >= start) & (time < start + seconds)
            since = time[note] - start
            pitch[time >= start] = song.pitch(degree, octave)
            level[note] = gate(since, 0.04, seconds - 0.06, 0.03) * rng.uniform(0.7, 1)
            vibrato[note] = np.clip((since - 0.2) / 0.3, 0, 1)
            formants[note] = _VOWELS[rng.integers(len(_VOWELS))]
            if rng.random() < _CONSONANT:
                hiss += 0.12 * np.exp(-(((time - start + 0.02) / 0.03) ** 2))
        start += seconds
    curves = formants.transpose(1, 2, 0)
    curves = np.apply_along_axis(smooth, -1, curves, 0.03)
    curves[:, 0] *= rng.uniform(0.85, 1.2)  # length of the vocal tract
    return _Melody(pitch, level, vibrato, hiss, curves)


def _sing(song: Song, melody: _Melody, time: Floats, rng: np.random.Generator) -> Floats:
    """One rendition of a melody, `[T]`."""
    depth, rate = rng.uniform(0.1, 0.5), rng.uniform(5, 6.2)
    vibrato = depth * melody.vibrato * np.sin(2 * np.pi * rate * time)
    frequency = hertz(smooth(melody.pitch, rng.uniform(0.02, 0.06)) + vibrato + rng.normal(0, 0.05))
    samples = np.arange(song.length) / CONTROL_HOP

    def upsample(curve: Floats) -> Floats:
        return np.asarray(np.interp(samples, np.arange(time.size), curve))

    phase = 2 * np.pi * np.cumsum(upsample(frequency)) / SAMPLE_RATE
    voice = np.zeros(song.length)
    for k in range(1, int(_HIGHEST / frequency.min()) + 1):
        level = _resonance(k * frequency, melody.formants) / k * (k * frequency < _HIGHEST) * melody.level
        voice += upsample(level) * np.sin(k * phase)
    breath = rng.uniform(0.002, 0.01) * upsample(melody.level) * rng.standard_normal(song.length)
    hiss = 0.3 * upsample(melody.hiss) * band(rng.standard_normal(song.length), 4500, 11000)
    return voice + breath + hiss


def _resonance(frequency: Floats, formants: Floats) -> Floats:
    centre, level, width = formants[:, 0], formants[:, 1], formants[:, 2]
    gains: Floats = 10 ** (level / 20) / np.sqrt(1 + ((frequency - centre) / (width / 2)) ** 2)
    return np.asarray(gains.sum(axis=0))
