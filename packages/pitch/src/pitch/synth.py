"""A sung phrase made from nothing, so that its pitch is known exactly at every instant.

The pitch curve comes first; the phase of the voice is its integral, so the f0 of the sound is the curve
itself and not an estimate. A glottal source (harmonics falling by 12 dB an octave) goes through the
formants of sung vowels, evaluated at the instantaneous frequency of each harmonic.

Reference:
    Vowel formants of an alto: Csound Manual, appendix D "Formant Values". Vibrato of 5 to 6 Hz and about
    ±50 cents: Sundberg, "The Science of the Singing Voice", 1987.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio_io.atomic import atomic_path

Floats = npt.NDArray[np.float64]

SAMPLE_RATE = 44100  # Hz
VIBRATO_HZ = 5.5
VIBRATO_CENTS = 45.0
VIBRATO_ONSET = 0.25  # s after the start of a note
GLIDE_SECONDS = 0.06  # time constant of the slide from note to note
HIGHEST_HARMONIC_HZ = 9000.0
BREATH_DB = -48.0  # noise of the breath below full scale

# Frequencies in Hz, levels in dB and bandwidths in Hz of five formants.
VOWELS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "a": ((800, 0, 80), (1150, -4, 90), (2800, -20, 120), (3500, -36, 130), (4950, -60, 140)),
    "e": ((400, 0, 60), (1600, -24, 80), (2700, -30, 120), (3300, -35, 150), (4950, -60, 200)),
    "i": ((350, 0, 50), (1700, -20, 100), (2700, -30, 120), (3700, -36, 150), (4950, -60, 200)),
    "o": ((450, 0, 70), (800, -9, 80), (2830, -16, 100), (3500, -28, 130), (4950, -55, 135)),
}


@dataclass(frozen=True)
class Note:
    """One sung note, or a rest.

    Attributes:
        pitch: MIDI note number (69 is A4, 440 Hz); None is a rest.
        seconds: How long it lasts.
        vowel: A key of `VOWELS`.
    """

    pitch: float | None
    seconds: float
    vowel: str = "a"


# Two breaths of a melody in D minor, D4 to D5, with a slide up a fifth and a rest between.
PHRASE = (
    Note(None, 0.25),
    Note(62, 0.55, "a"),
    Note(65, 0.45, "e"),
    Note(69, 0.95, "o"),
    Note(None, 0.40),
    Note(74, 0.85, "a"),
    Note(72, 0.35, "e"),
    Note(69, 0.40, "i"),
    Note(62, 1.20, "o"),
    Note(None, 0.30),
)


@dataclass(frozen=True)
class Phrase:
    """Sound and its exact pitch.

    Attributes:
        waveform: Samples within ±1, `[T]`.
        f0: Pitch at each sample in Hz, 0 where nothing is sung, `[T]`.
        sample_rate: In Hz.
    """

    waveform: Floats
    f0: Floats
    sample_rate: int

    def f0_at(self, times: Floats) -> Floats:
        """Pitch in Hz at the given times in s (nearest sample), 0 where nothing is sung."""
        index = np.rint(np.asarray(times) * self.sample_rate).astype(np.int64)
        inside = (index >= 0) & (index < len(self.f0))
        return np.where(inside, self.f0[index.clip(0, len(self.f0) - 1)], 0.0)


def sung_phrase(notes: tuple[Note, ...] = PHRASE, *, sample_rate: int = SAMPLE_RATE, seed: int = 0) -> Phrase:
    """The phrase as sound, with its f0.

    Args:
        notes: What is sung.
        sample_rate: In Hz.
        seed: Of the breath noise.
    """
    lengths = [round(note.seconds * sample_rate) for note in notes]
    sung = np.concatenate(
        [np.full(n, note.pitch is not None) for note, n in zip(notes, lengths, strict=True)]
    )
    f0 = np.where(sung, _pitch_curve(notes, lengths, sample_rate), 0.0)
    # Fades of 15 ms at the ends of each breath: an instant start would be a click with a spectrum of its own.
    envelope = _smooth(sung.astype(np.float64), round(0.015 * sample_rate))
    voice = _harmonics(
        np.where(sung, f0, _hold(f0)), _formant_curves(notes, lengths, sample_rate), sample_rate
    )
    noise = np.random.default_rng(seed).standard_normal(len(f0)) * 10 ** (BREATH_DB / 20)
    waveform = 0.5 * voice / np.abs(voice[sung]).max() * envelope * sung + noise * (0.2 + 0.8 * envelope)
    return Phrase(waveform=waveform, f0=f0, sample_rate=sample_rate)


def _pitch_curve(notes: tuple[Note, ...], lengths: list[int], sample_rate: int) -> Floats:
    """F0 in Hz at each sample: glides between notes of one breath, and vibrato that grows in."""
    semitones, depth = [], []
    current: float | None = None
    for note, length in zip(notes, lengths, strict=True):
        time = np.arange(length) / sample_rate
        if note.pitch is None:
            semitones.append(np.zeros(length))
            depth.append(np.zeros(length))
            current = None
            continue
        start = note.pitch if current is None else current
        semitones.append(note.pitch + (start - note.pitch) * np.exp(-time / GLIDE_SECONDS))
        depth.append(np.clip((time - VIBRATO_ONSET) / 0.2, 0, 1) * VIBRATO_CENTS / 100)
        current = float(semitones[-1][-1])
    curve = np.concatenate(semitones)
    time = np.arange(len(curve)) / sample_rate
    vibrato = _smooth(np.concatenate(depth), round(0.05 * sample_rate)) * np.sin(
        2 * np.pi * VIBRATO_HZ * time
    )
    pitch: Floats = 440.0 * 2 ** ((curve + vibrato - 69) / 12)
    return pitch


def _formant_curves(notes: tuple[Note, ...], lengths: list[int], sample_rate: int) -> Floats:
    """Frequency, level and bandwidth of each formant at each sample, `[5, 3, T]`; vowels slide."""
    steps = np.concatenate(
        [
            np.repeat(np.asarray(VOWELS[note.vowel])[..., None], n, axis=2)
            for note, n in zip(notes, lengths, strict=True)
        ],
        axis=2,
    )
    return np.stack([[_smooth(row, round(0.08 * sample_rate)) for row in formant] for formant in steps])


def _harmonics(f0: Floats, formants: Floats, sample_rate: int) -> Floats:
    phase = 2 * np.pi * np.cumsum(f0) / sample_rate
    voice = np.zeros_like(f0)
    for number in range(1, int(HIGHEST_HARMONIC_HZ / f0.min()) + 1):
        frequency = number * f0
        # Each formant is a resonance (a Lorentzian in power); together they shape the amplitude of the
        # harmonic.
        gain = np.zeros_like(f0)
        for centre, level, bandwidth in formants:
            gain += 10 ** (level / 20) / np.sqrt(1 + ((frequency - centre) / (bandwidth / 2)) ** 2)
        # A harmonic that vibrato or a glide carries past the limit fades out instead of aliasing.
        within = np.clip((HIGHEST_HARMONIC_HZ - frequency) / 500.0, 0.0, 1.0)
        voice += within * gain / number * np.cos(number * phase)
    return voice


def _hold(f0: Floats) -> Floats:
    """F0 with the rests filled by the pitch before them (the first rest by the first pitch)."""
    index = np.where(f0 > 0, np.arange(len(f0)), 0)
    held = f0[np.maximum.accumulate(index)]
    return np.where(held > 0, held, f0[f0 > 0][0])


def _smooth(x: Floats, length: int) -> Floats:
    """Convolution with a Hann window of `length` samples, the ends extended."""
    window = np.hanning(length + 2)
    padded = np.pad(x, (length // 2, (length - 1) // 2 + 2), mode="edge")
    size = 1 << (len(padded) + len(window)).bit_length()
    product = np.fft.rfft(padded, size) * np.fft.rfft(window / window.sum(), size)
    smooth: Floats = np.fft.irfft(product, size)[len(window) - 1 : len(window) - 1 + len(x)]
    return smooth


def save_f0(path: str | Path, phrase: Phrase, hop_seconds: float = 0.01) -> None:
    """Write the exact pitch as CSV, `time,frequency` in s and Hz, 0 Hz where nothing is sung."""
    times = np.arange(0, len(phrase.f0) / phrase.sample_rate, hop_seconds)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("time,frequency\n")
        file.writelines(f"{time:.3f},{f0:.4f}\n" for time, f0 in zip(times, phrase.f0_at(times), strict=True))
