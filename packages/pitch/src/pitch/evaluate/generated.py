"""A data set made from nothing: exact pitch, known noise, no download.

Each clean clip is heard at every level of noise, so that what changes from level to level is the noise
alone; the kinds of noise take turns from clip to clip.
"""

import functools
from collections.abc import Sequence
from typing import get_args

import numpy as np

from audio_io.errors import ConfigError
from pitch.constants import SAMPLE_RATE
from pitch.evaluate.contours import HOP_SECONDS, Clip, FamilyName, Floats, make_clip
from pitch.evaluate.examples import Example, Truth

FAMILIES: tuple[FamilyName, ...] = get_args(FamilyName)
NOISES = ("white", "pink", "babble")
# Level of the voiced parts over the noise, in dB; None is clean.
LEVELS: tuple[float | None, ...] = (None, 20.0, 10.0, 0.0)
BABBLE_VOICES = 8
SECONDS = 4.0  # of a clip
CLIPS = 6  # of a family

# Changes when the sounds do, so that a resumed evaluation does not mix two sets.
VERSION = 1


def generated_set(
    *,
    seconds: float = SECONDS,
    clips: int = CLIPS,
    seed: int = 0,
    families: Sequence[FamilyName] = FAMILIES,
    levels: Sequence[float | None] = LEVELS,
) -> list[Example]:
    """The examples, ordered so that a part from the front has every family and level.

    Args:
        seconds: Length of a clip in s, at least 1.
        clips: Different clean clips of a family.
        seed: Another one makes other sounds.
        families: `harmonic`, `sung`, `speech`.
        levels: Levels of the voiced parts over the noise in dB; None is clean.

    Raises:
        ConfigError: If the length or the number of clips cannot be used.
    """
    if not seconds >= 1:
        raise ConfigError("seconds", seconds, "at least 1")
    if clips < 1:
        raise ConfigError("clips", clips, "at least 1")
    return [
        _example(family, number, level, seconds, seed)
        for number in range(clips)
        for family in families
        for level in levels
    ]


def _example(family: FamilyName, number: int, level: float | None, seconds: float, seed: int) -> Example:
    noise = NOISES[number % len(NOISES)]
    label = "clean" if level is None else f"{level:g} dB"
    groups = {"family": family, "snr": label, **({} if level is None else {"noise": noise})}

    def sound() -> Floats:
        clip = _clean(family, number, seconds, seed)
        if level is None:
            return clip.waveform
        hiss = _noise(noise, number, seconds, seed)
        power = np.mean(clip.waveform[clip.f0 > 0] ** 2) / np.mean(hiss**2)
        mixed: Floats = clip.waveform + hiss * np.sqrt(power / 10 ** (level / 10))
        return mixed

    def truth() -> Truth:
        f0 = _clean(family, number, seconds, seed).f0
        step = round(HOP_SECONDS * SAMPLE_RATE)
        return Truth(np.arange(0, len(f0), step) / SAMPLE_RATE, f0[::step])

    suffix = "" if level is None else f"-{noise}-{level:g}dB"
    return Example(
        name=f"{family}-{number + 1}{suffix or '-clean'}",
        sound=sound,
        truth=truth,
        groups=groups,
        identity=f"generated {VERSION}, {seconds} s, seed {seed}",
    )


# A default set has 18 clips of 0.5 MB, each of which is asked for eight times.
@functools.lru_cache(maxsize=64)
def _clean(family: FamilyName, number: int, seconds: float, seed: int) -> Clip:
    return make_clip(family, seconds, np.random.default_rng([seed, FAMILIES.index(family), number]))


def _noise(kind: str, number: int, seconds: float, seed: int) -> Floats:
    length = round(seconds * SAMPLE_RATE)
    rng = np.random.default_rng([seed, 100 + NOISES.index(kind), number])
    if kind == "babble":
        return np.roll(_babble(seconds, seed), rng.integers(length))
    white = rng.standard_normal(length)
    if kind == "white":
        return white
    # Pink noise: power falls by 3 dB an octave, from 20 Hz on.
    spectrum = np.fft.rfft(white)
    frequency = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 20.0)), length)


@functools.lru_cache(maxsize=4)
def _babble(seconds: float, seed: int) -> Floats:
    """Several voices at once that start at different times; none of them is in the set."""
    length = round(seconds * SAMPLE_RATE)
    total = np.zeros(length)
    for voice in range(BABBLE_VOICES):
        rng = np.random.default_rng([seed, 200, voice])
        total += np.roll(make_clip("speech", seconds, rng).waveform, rng.integers(length))
    return total
