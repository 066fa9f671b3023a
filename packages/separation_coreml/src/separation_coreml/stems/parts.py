"""Drums, bass and chords of rendered songs."""

from collections.abc import Callable

import numpy as np

from separation_coreml.stems.song import Song
from separation_coreml.stems.sounds import Floats, add, band, gate, hertz, pan, time_axis

_STEPS_PER_BAR = 16
_CHANGED = 0.06  # share of the steps of a groove that are drawn anew in a bar
# How likely a drum is hit on each step of a bar.
_HITS: dict[str, dict[int, float]] = {
    "kick": {0: 1, 8: 0.8, 6: 0.4, 10: 0.5, 3: 0.15},
    "snare": {4: 1, 12: 1, 15: 0.15, 7: 0.1},
    "hat": dict.fromkeys(range(0, 16, 2), 0.95) | dict.fromkeys(range(1, 16, 2), 0.35),
    "open": {14: 0.3},
    "tom": {13: 0.15, 14: 0.15, 15: 0.15},
}
_BASS_STEPS = np.array([1, 0.3, 0.6, 0.6, 0.8, 0.3, 0.6, 0.5])  # as above, for eighths


def drums(song: Song, rng: np.random.Generator) -> Floats:
    """A groove that is drawn once and repeats with few changes, `[2, T]`."""
    kit = {
        "kick": pan(_kick(rng), 0.0),
        "snare": pan(_snare(rng), 0.05),
        "hat": pan(_cymbal(rng, rng.uniform(0.02, 0.05)), 0.35),
        "open": pan(_cymbal(rng, rng.uniform(0.12, 0.3)), 0.35),
        "tom": pan(_tom(rng), -0.4),
    }
    chances = {name: _pattern(hits) for name, hits in _HITS.items()}
    groove = {name: rng.random(_STEPS_PER_BAR) < chance for name, chance in chances.items()}
    track = np.zeros((2, song.length))
    for bar in range(song.bars):
        for name, hits in groove.items():
            drawn = rng.random(_STEPS_PER_BAR) < chances[name]
            changed = rng.random(_STEPS_PER_BAR) < _CHANGED
            for step in np.flatnonzero(np.where(changed, drawn, hits)):
                start = (bar + step / _STEPS_PER_BAR) * song.bar + rng.normal(0, 0.002)
                level = rng.uniform(0.75, 1.0) * (1.0 if step % 4 == 0 else 0.7)
                add(track, start, level * kit[name])
    return track


def _pattern(chances: dict[int, float]) -> Floats:
    steps = np.zeros(_STEPS_PER_BAR)
    steps[list(chances)] = list(chances.values())
    return steps


def _kick(rng: np.random.Generator) -> Floats:
    time = time_axis(0.35)
    low, sweep = rng.uniform(42, 60), rng.uniform(80, 180)
    phase = 2 * np.pi * (low * time + sweep * 0.03 * (1 - np.exp(-time / 0.03)))
    click = rng.standard_normal(time.size) * np.exp(-time / 0.002)
    return 1.2 * np.sin(phase) * np.exp(-time / rng.uniform(0.07, 0.13)) + rng.uniform(0.05, 0.3) * click


def _snare(rng: np.random.Generator) -> Floats:
    time = time_axis(0.4)
    noise = band(rng.standard_normal(time.size), rng.uniform(900, 1800), rng.uniform(6000, 12000))
    tone = np.sin(2 * np.pi * rng.uniform(170, 230) * time) + 0.6 * np.sin(2 * np.pi * 330 * time)
    return 0.8 * noise * np.exp(-time / rng.uniform(0.05, 0.12)) + rng.uniform(0, 0.5) * tone * np.exp(
        -time / 0.05
    )


def _cymbal(rng: np.random.Generator, decay: float) -> Floats:
    time = time_axis(5 * decay)
    noise = band(rng.standard_normal(time.size), rng.uniform(5000, 8000), 16000)
    return rng.uniform(0.2, 0.45) * noise * np.exp(-time / decay)


def _tom(rng: np.random.Generator) -> Floats:
    time = time_axis(0.4)
    phase = 2 * np.pi * (rng.uniform(80, 140) * time + 1.2 * (1 - np.exp(-time / 0.04)))
    return np.sin(phase) * np.exp(-time / 0.12)


def bass(song: Song, rng: np.random.Generator) -> Floats:
    """Roots and fifths of the chords in eighths, `[2, T]`."""
    brightness = rng.uniform(1.5, 9)  # cut-off of the low-pass in harmonics
    plays = rng.random(8) < _BASS_STEPS
    fifths = rng.random(8) < 0.2
    drive = rng.uniform(0.5, 4) if rng.random() < 0.4 else 0.0
    k = np.arange(1, 25)[:, None]
    track = np.zeros((2, song.length))
    for bar in range(song.bars):
        root = song.chord(bar)[0]
        for step in np.flatnonzero(plays):
            frequency = hertz(song.pitch(root + 4 * int(fifths[step]), 1))
            seconds = song.bar / 8 * rng.choice([0.6, 0.95])
            time = time_axis(seconds + 0.05)
            cutoff = brightness * (0.4 + 0.6 * np.exp(-time / 0.15))
            levels = 1 / k / np.sqrt(1 + (k / cutoff) ** 4)
            tone = (levels * np.sin(2 * np.pi * frequency * k * time)).sum(axis=0)
            tone = np.tanh(drive * tone) / drive if drive else tone
            add(track, (bar + step / 8) * song.bar, pan(tone * gate(time, 0.006, seconds, 0.03), 0.0))
    return track


def chords(song: Song, rng: np.random.Generator) -> Floats:
    """One or two instruments that play the chords, held, in beats or broken, `[2, T]`."""
    track = _instrument(song, rng)
    return track + rng.uniform(0.4, 1) * _instrument(song, rng) if rng.random() < 0.5 else track


def _instrument(song: Song, rng: np.random.Generator) -> Floats:
    sound = _SOUNDS[rng.integers(len(_SOUNDS))]
    octave, place = int(rng.integers(3, 5)), float(rng.uniform(-0.6, 0.6))
    order = rng.permutation(np.arange(8) % 3)
    broken = rng.random() < 0.6
    played: dict[tuple[int, float], Floats] = {}
    track = np.zeros((2, song.length))
    for bar in range(song.bars):
        degrees = song.chord(bar)
        if sound is _pad:
            notes = [(0.0, degree, 1.0) for degree in degrees]
        elif broken:
            notes = [(step / 8, degrees[which], 0.25) for step, which in enumerate(order)]
        else:
            notes = [(beat / 4, degree, 0.25) for beat in range(4) for degree in degrees]
        for start, degree, share in notes:
            key = song.pitch(degree, octave), share * song.bar
            if key not in played:
                played[key] = pan(sound(float(hertz(key[0])), key[1], rng), place)
            add(track, (bar + start) * song.bar, played[key])
    return np.asarray(track / np.sqrt(np.mean(track**2) + 1e-12))


def _pad(frequency: float, seconds: float, rng: np.random.Generator) -> Floats:
    time = time_axis(seconds + 0.4)
    k = np.arange(1, 1 + min(16, int(6000 / frequency)))[:, None]
    channels = np.zeros((2, time.size))
    for side in range(2):
        for cents in rng.normal(0, 7, 2):
            phase = frequency * 2 ** (cents / 1200) * k * time + rng.random(k.shape)
            channels[side] += (np.sin(2 * np.pi * phase) / k**1.3).sum(axis=0)
    return channels * gate(time, 0.15, seconds, 0.3)


def _pluck(frequency: float, seconds: float, rng: np.random.Generator) -> Floats:
    time = time_axis(seconds + 0.3)
    k = np.arange(1, 1 + min(14, int(9000 / frequency)))[:, None]
    levels = np.abs(np.sin(np.pi * k * rng.uniform(0.12, 0.3))) / k  # where the string is plucked
    tone = (levels * np.exp(-time * (1.5 + 0.9 * k)) * np.sin(2 * np.pi * frequency * k * time)).sum(axis=0)
    return np.asarray(tone * gate(time, 0.002, seconds, 0.1))


def _guitar(frequency: float, seconds: float, rng: np.random.Generator) -> Floats:
    return np.tanh(6 * _pluck(frequency, seconds, rng)) / 3


def _piano(frequency: float, seconds: float, rng: np.random.Generator) -> Floats:
    time = time_axis(seconds + 0.3)
    k = np.arange(1, 1 + min(16, int(9000 / frequency)))[:, None]
    stretched = frequency * k * np.sqrt(1 + 4e-4 * k**2)  # stiffness of the string
    decay = 0.7 * np.exp(-time * (2 + 0.5 * k)) + 0.3 * np.exp(-time * (0.6 + 0.1 * k))
    tone = (decay / k**1.2 * np.sin(2 * np.pi * (stretched * time + rng.random(k.shape)))).sum(axis=0)
    return np.asarray(tone * gate(time, 0.004, seconds, 0.12))


_SOUNDS: tuple[Callable[[float, float, np.random.Generator], Floats], ...] = (_pad, _pluck, _guitar, _piano)
