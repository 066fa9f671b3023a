"""Clean sounds of three families whose pitch is known exactly, for evaluation.

The pitch curve comes first and the phase of every partial is a multiple of its integral, so that the f0 of
the sound is the curve itself. Nothing here is shared with the material that networks are trained on.

Reference:
    Speech: syllables of 150 to 250 ms, f0 that declines over a phrase, a source falling by 12 dB an octave,
    as in Klatt, "Software for a cascade/parallel formant synthesizer", J. Acoust. Soc. Am. 67(3), 1980.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

import audio_io
from pitch.constants import SAMPLE_RATE
from pitch.synth import VOWELS, Note, sung_phrase

Floats = npt.NDArray[np.float64]
FamilyName = Literal["harmonic", "sung", "speech"]

HOP_SECONDS = 0.01  # between the times at which the true pitch is given, s
LOWEST_HZ, HIGHEST_HZ = 32.0, 1900.0  # of the harmonic family; the network's bins reach from 31.7 to 2006 Hz
RANGE_PARTS = 5
HIGHEST_PARTIAL_HZ = 7600.0
FADE_SECONDS = 0.012  # at the ends of voiced parts: an instant start would be a click
FLOOR_DB = -60.0  # of the noise in clean sounds, below their voiced parts: silence has no pitch and no noise

# Gain of the partials: number and frequency in Hz `[K]` to amplitudes `[K]`.
Gain = Callable[[int, Floats], Floats]


@dataclass(frozen=True)
class Clip:
    """A clean sound and its exact pitch.

    Attributes:
        waveform: Samples at 16 kHz, `[T]`.
        f0: Pitch at each sample in Hz, 0 where there is none, `[T]`.
    """

    waveform: Floats
    f0: Floats


def make_clip(family: FamilyName, seconds: float, rng: np.random.Generator) -> Clip:
    """A sound of a family.

    Args:
        family: `harmonic` (partials of random strength, glides, 32 to 1,900 Hz), `sung` (vowels, vibrato;
            `pitch.synth`) or `speech` (syllables, fricatives and pauses).
        seconds: Its length.
        rng: Where all that is random comes from.
    """
    makers: dict[FamilyName, Callable[[int, np.random.Generator], Clip]] = {
        "harmonic": _harmonic,
        "sung": _sung,
        "speech": _speech,
    }
    clip = makers[family](round(seconds * SAMPLE_RATE), rng)
    voiced = clip.f0 > 0
    level = np.sqrt(np.mean(clip.waveform[voiced] ** 2))
    floor = 10 ** (FLOOR_DB / 20) * rng.standard_normal(len(clip.f0))
    return Clip(0.1 * (clip.waveform / level + floor), clip.f0)


def _harmonic(length: int, rng: np.random.Generator) -> Clip:
    """Tones of 0.4 to 1 s, held or gliding, each with partials of its own, and gaps between them."""
    waveform, f0 = np.zeros(length), np.zeros(length)
    start = round(0.05 * SAMPLE_RATE)
    low, high = np.log2(LOWEST_HZ), np.log2(HIGHEST_HZ)
    parts: list[int] = []
    while start < length - round(0.3 * SAMPLE_RATE):
        end = min(start + round(rng.uniform(0.4, 1.0) * SAMPLE_RATE), length)
        # One tone from each part of the range before any part comes again: a clip has few tones.
        parts = parts or list(rng.permutation(RANGE_PARTS))
        first = low + (high - low) * (parts.pop() + rng.uniform(0, 1)) / RANGE_PARTS
        # Half of the tones are held, half glide by up to an octave.
        last = np.clip(first + rng.choice([0.0, 1.0]) * rng.uniform(-1, 1), low, high)
        ease = 0.5 - 0.5 * np.cos(np.pi * np.linspace(0, 1, end - start))
        curve = 2 ** (first + (last - first) * ease)
        slope = rng.uniform(0.0, 2.0)  # amplitudes fall by 0 to 12 dB an octave
        strength = 10 ** (rng.uniform(-20, 0, 300) / 20)
        strength[3:][rng.random(297) < 0.2] = 0.0
        # A third of the lower tones have almost no fundamental. Of the higher ones too few partials are
        # left to tell a missing fundamental from a higher pitch.
        strength[0] = 1.0 if first > np.log2(400) or rng.random() < 2 / 3 else 0.05

        def gain(
            number: int, frequency: Floats, *, strength: Floats = strength, slope: float = slope
        ) -> Floats:
            return np.full_like(frequency, strength[number - 1] / number**slope)

        tone = _partials(curve, gain, rng)
        tone /= np.sqrt(np.mean(tone**2))
        waveform[start:end] = tone * _fades(end - start)
        f0[start:end] = curve
        start = end + round(rng.uniform(0.08, 0.2) * SAMPLE_RATE)
    return Clip(waveform, f0)


def _sung(length: int, rng: np.random.Generator) -> Clip:
    """Notes of a random melody with rests, in one of four voices from bass to soprano."""
    centre = rng.choice([45.0, 55.0, 65.0, 75.0])  # MIDI notes
    notes: list[Note] = [Note(None, 0.1)]
    pitch = centre
    seconds = length / SAMPLE_RATE
    while sum(note.seconds for note in notes) < seconds:
        pitch = float(np.clip(pitch + rng.choice([-7, -4, -2, -1, 1, 2, 4, 7]), centre - 9, centre + 9))
        notes.append(Note(pitch, float(rng.uniform(0.25, 0.8)), str(rng.choice(list(VOWELS)))))
        if rng.random() < 0.25:
            notes.append(Note(None, float(rng.uniform(0.15, 0.35))))
    phrase = sung_phrase(tuple(notes), seed=int(rng.integers(2**31)))
    waveform = audio_io.resample(
        torch.from_numpy(phrase.waveform).float()[None], phrase.sample_rate, SAMPLE_RATE
    )
    f0 = phrase.f0_at(np.arange(length) / SAMPLE_RATE)
    return Clip(waveform[0, :length].double().numpy(), f0)


def _speech(length: int, rng: np.random.Generator) -> Clip:
    """Syllables whose f0 declines with an accent on each, unvoiced consonants and pauses between them."""
    base = np.exp(rng.uniform(np.log(75), np.log(300)))  # Hz, at the end of a phrase
    tract = rng.uniform(0.9, 1.25)  # scales the formants
    waveform, f0 = np.zeros(length), np.zeros(length)
    start = phrase_start = round(0.05 * SAMPLE_RATE)
    while start < length - round(0.15 * SAMPLE_RATE):
        end = min(start + round(rng.uniform(0.12, 0.26) * SAMPLE_RATE), length)
        position = np.linspace(0, 1, end - start)
        since = (start + (end - start) * position - phrase_start) / SAMPLE_RATE
        semitones = (
            5 * np.exp(-since / 0.8)
            + rng.uniform(-1, 5) * np.sin(np.pi * position) ** 2
            + rng.uniform(-3, 3) * (position - 0.5)
        )
        curve = base * 2 ** (semitones / 12)
        f0[start:end] = curve
        waveform[start:end] = _syllable(curve, tract, rng)
        kind = rng.random()
        gap = round((rng.uniform(0.25, 0.45) if kind < 0.15 else rng.uniform(0.05, 0.12)) * SAMPLE_RATE)
        if kind < 0.15:
            phrase_start = end + gap
        elif kind < 0.7:
            stop = min(end + gap, length)
            waveform[end:stop] = _fricative(stop - end, rng)
        start = end + gap
    return Clip(waveform, f0)


def _syllable(curve: Floats, tract: float, rng: np.random.Generator) -> Floats:
    first = tract * np.array([rng.uniform(280, 800), rng.uniform(850, 2300), rng.uniform(2300, 3000)])
    move = rng.uniform(0.85, 1.18, 3)

    def gain(number: int, frequency: Floats) -> Floats:
        position = np.linspace(0, 1, len(frequency))
        amplitude = np.full(len(frequency), 0.003)
        for formant, factor, width in zip(first, move, (90.0, 120.0, 180.0), strict=True):
            centre = formant * factor**position
            amplitude += 1 / np.sqrt(1 + ((frequency - centre) / (width / 2)) ** 2) * (500 / formant)
        return amplitude / number

    tone = _partials(curve, gain, rng)
    level: float = np.sqrt(np.mean(tone**2)) / rng.uniform(0.5, 1.0)
    return tone / level * _fades(len(curve))


def _fricative(length: int, rng: np.random.Generator) -> Floats:
    # Differences of white noise rise by 6 dB an octave, as the noise of an s or f roughly does.
    noise = np.diff(rng.standard_normal(length + 1))
    return 0.25 * noise * _fades(length) * rng.uniform(0.3, 1.0)


def _partials(f0: Floats, gain: Gain, rng: np.random.Generator) -> Floats:
    """The sum of all partials below the limit, with random phases at the start.

    Shape:
        `[T]`, in and out
    """
    # Strengths move slowly: every 5 ms is enough, and much cheaper than every sample.
    coarse = np.unique(np.append(np.arange(0, len(f0), SAMPLE_RATE // 200), len(f0) - 1))
    phase = 2 * np.pi * np.cumsum(f0) / SAMPLE_RATE
    total = np.zeros_like(f0)
    for number in range(1, int(HIGHEST_PARTIAL_HZ / f0.min()) + 1):
        frequency = number * f0[coarse]
        # A partial that a glide carries past the limit fades out instead of aliasing.
        within = np.clip((HIGHEST_PARTIAL_HZ - frequency) / 400.0, 0.0, 1.0)
        amplitude = within * gain(number, frequency)
        if amplitude.any():
            strength = np.interp(np.arange(len(f0)), coarse, amplitude)
            total += strength * np.cos(number * phase + rng.uniform(0, 2 * np.pi))
    return total


def _fades(length: int) -> Floats:
    edge = min(round(FADE_SECONDS * SAMPLE_RATE), length // 2)
    envelope = np.ones(length)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / edge)
    envelope[:edge], envelope[length - edge :] = ramp, ramp[::-1]
    return envelope
