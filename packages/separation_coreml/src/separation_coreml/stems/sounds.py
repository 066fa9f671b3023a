"""What the parts of rendered songs are made with: time, pitch, envelopes, noise, panorama, reverberation."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SAMPLE_RATE = 44100  # Hz
CONTROL_HOP = 64  # samples from one value of a control curve to the next
_TAIL_SECONDS = 1.2
_FIRST_REFLECTION = 0.01  # s


def time_axis(seconds: float) -> Floats:
    """Times of samples in s, `[T]`."""
    return np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def hertz(pitch: Floats | float) -> Floats:
    """Frequency in Hz of MIDI note numbers."""
    return np.asarray(440 * 2 ** ((np.asarray(pitch, dtype=np.float64) - 69) / 12))


def gate(time: Floats, attack: float, seconds: float, release: float) -> Floats:
    """An envelope that rises within `attack`, holds, and dies away after `seconds`; all in s."""
    rise = np.clip(time / attack, 0, 1)
    return rise * np.exp(-np.clip(time - seconds, 0, None) / (release / 3))


def smooth(curve: Floats, seconds: float) -> Floats:
    """A control curve that follows its steps with a time constant, as a low-pass of first order does."""
    steps = np.arange(int(6 * seconds * SAMPLE_RATE / CONTROL_HOP) + 1)
    kernel = np.exp(-steps * CONTROL_HOP / SAMPLE_RATE / seconds)
    padded = np.concatenate([np.full(kernel.size - 1, curve[0]), curve])
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def band(noise: Floats, low: float, high: float) -> Floats:
    """Noise between two frequencies in Hz, with flanks of 12 dB an octave."""
    frequency = np.fft.rfftfreq(noise.size, 1 / SAMPLE_RATE)
    gain = 1 / np.sqrt((1 + (low / np.maximum(frequency, 1)) ** 4) * (1 + (frequency / high) ** 4))
    return np.fft.irfft(np.fft.rfft(noise) * gain, noise.size)


def pan(sound: Floats, place: float) -> Floats:
    """Left and right at constant power, `[2, T]`, of `[T]` or `[2, T]`; place -1 is left."""
    angle = (place + 1) * np.pi / 4
    gains = np.sqrt(2) * np.array([np.cos(angle), np.sin(angle)])
    return np.asarray(gains[:, None] * sound)


def add(track: Floats, start: float, sound: Floats) -> None:
    """Add a sound to a track from `start` (in s) on; what is beyond the end is cut."""
    first = max(0, round(start * SAMPLE_RATE))
    length = min(sound.shape[-1], track.shape[1] - first)
    if length > 0:
        track[:, first : first + length] += sound[:, :length]


def reverberate(dry: Floats, rng: np.random.Generator) -> Floats:
    """The reverberation alone: noise that decays, another in each channel, as loud as the dry sound."""
    time = time_axis(_TAIL_SECONDS)
    tail = rng.standard_normal((2, time.size)) * np.exp(-time / rng.uniform(0.12, 0.3))
    tail[:, : int(_FIRST_REFLECTION * SAMPLE_RATE)] = 0
    tail /= np.sqrt((tail**2).sum(axis=1, keepdims=True))
    size = 1 << (dry.shape[1] + time.size).bit_length()
    return np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(tail, size), size)[:, : dry.shape[1]]
