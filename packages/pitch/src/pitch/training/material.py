"""Generated frames to train on: harmonic sounds, sung vowels, noise, and what is between them.

Every frame is drawn apart, so that one batch holds as much variety as it has frames. One period of a sound
is a table, filled from its harmonics by an inverse FFT and read at the phase of a gliding pitch: no aliasing
and no cost that grows with the number of harmonics.
"""

import numpy as np
import numpy.typing as npt

from pitch.constants import SAMPLE_RATE, WINDOW_SIZE

Floats = npt.NDArray[np.float32]

# The range of the pitch bins: 31.7 Hz to 1975.5 Hz, a little inside its ends.
LOWEST_HZ, HIGHEST_HZ = 32.5, 1950.0
TABLE_SIZE = 2048
# Formants of sung and spoken vowels lie in these ranges, in Hz (Peterson and Barney, JASA 24, 1952).
FORMANT_RANGES = ((250.0, 1000.0), (700.0, 2800.0), (1800.0, 3600.0), (3000.0, 4600.0), (3800.0, 5600.0))

_NYQUIST = SAMPLE_RATE / 2
_HARMONICS = TABLE_SIZE // 2 - 1


def harmonic_frames(count: int, rng: np.random.Generator) -> Floats:
    """Sounds with random spectra: power laws, formants, odd harmonics only, missing fundamentals.

    Args:
        count: N.
        rng: Draws everything.

    Shape:
        - Output: `[N, 1024]`, of unit power
    """
    f0 = np.exp(rng.uniform(np.log(LOWEST_HZ), np.log(HIGHEST_HZ), (count, 1)))  # Hz
    number = np.arange(1, _HARMONICS + 1)[None]  # [1, H]
    frequency: npt.NDArray[np.float64] = f0 * number
    slope = rng.uniform(0.0, 2.5, (count, 1))
    roughness = rng.uniform(0.0, 1.2, (count, 1))
    level = -slope * np.log(number) + roughness * rng.standard_normal((count, _HARMONICS))
    is_vowel = rng.random((count, 1)) < 0.5
    level = np.where(is_vowel, _vowel_level(frequency, rng), level)
    odd_only = (rng.random((count, 1)) < 0.06) & (number % 2 == 0)
    missing = (rng.random((count, 1)) < 0.06) & (number == 1)
    few = number > np.where(rng.random((count, 1)) < 0.15, rng.integers(1, 5, (count, 1)), _HARMONICS)
    amplitude = np.exp(level) * ~(odd_only & ~is_vowel) * ~(missing & (f0 < 900)) * ~few
    # Glides and vibrato carry the pitch by up to a few semitones; what could alias is left out.
    cutoff = rng.uniform(0.35, 1.0, (count, 1)) ** 0.7 * _NYQUIST / 1.08
    amplitude *= np.clip((cutoff - frequency) / 400.0, 0.0, 1.0)
    amplitude[:, :1] += 1e-4 * (amplitude.sum(axis=1, keepdims=True) == 0)
    spectrum = np.zeros((count, TABLE_SIZE // 2 + 1), dtype=np.complex64)
    spectrum[:, 1:-1] = amplitude * np.exp(2j * np.pi * rng.random((count, _HARMONICS)))
    # A voice's harmonics are in phase with its pulses, an instrument's need not be.
    in_phase = rng.random(count) < 0.4
    spectrum[in_phase] = np.abs(spectrum[in_phase])
    tables = np.fft.irfft(spectrum, axis=1)  # [N, TABLE_SIZE]
    return unit_power(_read(tables, _phase(f0, rng)))


def noise_frames(count: int, rng: np.random.Generator) -> Floats:
    """Noise with random spectral slopes, white to brown, some of it confined to a band.

    Shape:
        - Output: `[N, 1024]`, of unit power
    """
    spectrum = np.fft.rfft(rng.standard_normal((count, WINDOW_SIZE)), axis=1)
    frequency = np.fft.rfftfreq(WINDOW_SIZE, 1 / SAMPLE_RATE)[None]
    gain = np.maximum(frequency, 30.0) ** -rng.uniform(-0.2, 1.2, (count, 1))
    centre = np.exp(rng.uniform(np.log(100), np.log(6000), (count, 1)))
    octaves = np.abs(np.log2(np.maximum(frequency, 1.0) / centre))
    is_band = rng.random((count, 1)) < 0.2
    gain = np.where(is_band, gain * np.exp(-((octaves / rng.uniform(0.3, 2.0, (count, 1))) ** 2)), gain)
    return unit_power(np.fft.irfft(spectrum * gain, axis=1))


def disturb(frames: Floats, noise: Floats, rng: np.random.Generator) -> Floats:
    """Frames through random rooms and filters, with noise added to most of them.

    Args:
        frames: Of any power.
        noise: As many, of unit power.
        rng: Draws everything.

    Shape:
        - frames, noise, Output: `[N, 1024]`
    """
    count = len(frames)
    spectrum = np.fft.rfft(frames, axis=1)
    frequency = np.fft.rfftfreq(WINDOW_SIZE, 1 / SAMPLE_RATE)[None]
    tilt = np.where(rng.random((count, 1)) < 0.5, rng.normal(0.0, 0.4, (count, 1)), 0.0)
    gain = (np.maximum(frequency, 40.0) / 500.0) ** tilt
    highpass = np.where(rng.random((count, 1)) < 0.15, rng.uniform(80, 300, (count, 1)), 1.0)
    lowpass = np.where(rng.random((count, 1)) < 0.2, rng.uniform(2000, 7000, (count, 1)), 1e6)
    gain = gain / np.sqrt(
        (1 + (highpass / np.maximum(frequency, 1.0)) ** 4) * (1 + (frequency / lowpass) ** 8)
    )
    filtered = unit_power(np.fft.irfft(spectrum * gain, axis=1))
    clean = rng.random((count, 1)) < 0.35
    snr_db = np.where(clean, rng.uniform(35, 80, (count, 1)), rng.uniform(-3, 35, (count, 1)))
    return (filtered + noise * 10 ** (-snr_db / 20)).astype(np.float32)


def unit_power(frames: npt.NDArray[np.floating]) -> Floats:
    """Each frame over its root mean square; silence stays silence."""
    rms = np.sqrt(np.mean(np.square(frames), axis=1, keepdims=True))
    scaled: Floats = (frames / np.maximum(rms, 1e-8)).astype(np.float32)
    return scaled


def _vowel_level(frequency: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Log amplitude of harmonics of a falling glottal spectrum through five random formants."""
    count = len(frequency)
    level = np.full(frequency.shape, 1e-6)
    for index, (low, high) in enumerate(FORMANT_RANGES):
        centre = rng.uniform(low, high, (count, 1))
        bandwidth = rng.uniform(50, 180, (count, 1)) * (1 + 0.3 * index)
        peak = 10 ** (-rng.uniform(4, 10, (count, 1)) * index / 20)
        level += peak / np.sqrt(1 + ((frequency - centre) / (bandwidth / 2)) ** 2)
    slope = rng.uniform(0.6, 1.8, (count, 1))
    vowel: npt.NDArray[np.float64] = np.log(level) - slope * np.log(frequency / frequency[:, :1])
    return vowel


def _phase(f0: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Phase in turns of a pitch that glides about its value at the frame's centre, `[N, 1024]`."""
    count = len(f0)
    time = (np.arange(WINDOW_SIZE) - WINDOW_SIZE / 2) / SAMPLE_RATE  # s
    octaves_per_s = rng.normal(0.0, 1.2, (count, 1)) * (rng.random((count, 1)) < 0.6)
    rate = 2 * np.pi * rng.uniform(4.0, 8.0, (count, 1))
    depth = rng.uniform(0.0, 1 / 12, (count, 1)) * (rng.random((count, 1)) < 0.4)
    offset = rng.uniform(0, 2 * np.pi, (count, 1))
    octaves = octaves_per_s * time + depth * (np.sin(rate * time + offset) - np.sin(offset))
    pitch = f0 * 2 ** np.clip(octaves, -0.1, 0.1)
    phase: npt.NDArray[np.float64] = np.cumsum(pitch, axis=1) / SAMPLE_RATE + rng.random((count, 1))
    return phase


def _read(tables: npt.NDArray[np.floating], phase: npt.NDArray[np.float64]) -> npt.NDArray[np.floating]:
    """Tables at a phase in turns, linearly interpolated."""
    place = (phase % 1.0) * TABLE_SIZE
    low = place.astype(np.int64)
    share = place - low
    first = np.take_along_axis(tables, low % TABLE_SIZE, axis=1)
    second = np.take_along_axis(tables, (low + 1) % TABLE_SIZE, axis=1)
    read: npt.NDArray[np.floating] = first * (1 - share) + second * share
    return read
