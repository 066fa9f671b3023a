"""What the parts of a rendered song have in common: key, tempo, chords, length."""

from dataclasses import dataclass

import numpy as np

from audio_io.errors import ConfigError
from separation_coreml.stems.sounds import SAMPLE_RATE

STEMS = ("drums", "bass", "other", "vocals")

_MODES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
_PROGRESSIONS = ((0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4), (1, 4, 0, 0), (0, 3, 0, 4), (0, 6, 5, 4))


@dataclass(frozen=True)
class Song:
    """What the parts of a song have in common.

    Attributes:
        seed: Of every random choice.
        length: In samples.
        tempo: In beats per minute; a bar has four beats.
        tonic: Pitch class of the key, 0 is C.
        mode: `major` or `minor`.
        progression: Degrees of the scale, from 0 on, a chord each bar.
    """

    seed: int
    length: int
    tempo: float
    tonic: int
    mode: str
    progression: tuple[int, ...]

    @property
    def bar(self) -> float:
        """Length of a bar in s."""
        return 240 / self.tempo

    @property
    def bars(self) -> int:
        """Number of bars, the last of which may be cut."""
        return int(np.ceil(self.length / (self.bar * SAMPLE_RATE)))

    def pitch(self, degree: int, octave: int) -> int:
        """MIDI note number of a degree of the scale; degrees beyond 6 are in the octaves above."""
        return 12 * (octave + 1 + degree // 7) + self.tonic + _MODES[self.mode][degree % 7]

    def chord(self, bar: int) -> tuple[int, int, int]:
        """Degrees of the triad of a bar."""
        root = self.progression[bar % len(self.progression)]
        return root, root + 2, root + 4

    def generator(self, part: str) -> np.random.Generator:
        """Random numbers of one part, whatever the others draw."""
        return np.random.default_rng([self.seed, STEMS.index(part)])


def compose(seconds: float, seed: int) -> Song:
    """Choose tempo, key and chords.

    Args:
        seconds: Length of the song.
        seed: Of every random choice, at least 0.

    Raises:
        ConfigError: If a value is out of range.
    """
    if not seconds * SAMPLE_RATE >= 1:
        raise ConfigError("seconds", seconds, "more than 0")
    if seed < 0:
        raise ConfigError("seed", seed, "at least 0")
    rng = np.random.default_rng(seed)
    return Song(
        seed=seed,
        length=round(seconds * SAMPLE_RATE),
        tempo=float(rng.uniform(84, 144)),
        tonic=int(rng.integers(12)),
        mode=str(rng.choice(list(_MODES))),
        progression=_PROGRESSIONS[rng.integers(len(_PROGRESSIONS))],
    )
