"""From a genre and an artist to the notes of a song, each part by itself.

The genre decides what is played, the artist how it sounds: the instruments, the tone and the room of the
recordings, the balance of the stems, the keys and the favoured grooves. So a classifier can do well by
knowing artists, which is what artist-grouped folds are there to show (Pampalk, Flexer & Widmer 2005,
"Improvements of audio-based music similarity and genre classification").
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from genre.config import GENRES
from genre.corpus.config import DemoConfig
from genre.corpus.styles import QUALITIES, STYLES, Beat, Style

Rng = np.random.Generator
T = TypeVar("T")

_HABIT = 0.7  # probability that a song keeps to what its artist favours
_DRUM_GATE = 0.1  # s
_BASS_LOWEST, _CHORD_LOWEST, _VOICE_LOWEST = 28, 52, 57  # MIDI note numbers
_ACCENT = {"X": 1.12, "x": 0.92, "o": 0.45}


@dataclass(frozen=True)
class Note:
    """Start and duration in s, MIDI note number, velocity from 1 to 127."""

    start: float
    duration: float
    key: int
    velocity: int


@dataclass(frozen=True)
class Part:
    """What one instrument plays; a kit's program is a preset of bank 128."""

    program: int
    notes: tuple[Note, ...]
    is_kit: bool = False


@dataclass(frozen=True)
class Artist:
    """Habits of an artist, and how the recordings sound.

    Attributes:
        name: Unique in the corpus.
        genre: One of `GENRES`.
        kit: Preset of the drums.
        bass_program: Instrument of the bass.
        comp_programs: The two instruments of the chords.
        voice_program: Instrument of the voice.
        voice_lowest: Lowest note of the voice.
        keys: Favoured tonics, 0 to 11.
        pace: Where in the genre's range the tempo is, from 0 to 1.
        habits: Which groove of drums, bass and chords and which progression is favoured, from 0 to 1.
        balance: Added to the genre's level of each stem, in dB.
        low_shelf: Gain below 250 Hz, in dB.
        high_shelf: Gain above 2500 Hz, in dB.
        room_seconds: Time in which the room falls by 60 dB.
        room_level: Of the room against the dry sound, in dB.
    """

    name: str
    genre: str
    kit: int
    bass_program: int
    comp_programs: tuple[int, int]
    voice_program: int
    voice_lowest: int
    keys: tuple[int, ...]
    pace: float
    habits: tuple[float, float, float, float]
    balance: tuple[float, float, float, float]
    low_shelf: float
    high_shelf: float
    room_seconds: float
    room_level: float


@dataclass(frozen=True)
class Song:
    """Parts by stem, in the order of `STEMS`, and the level of each stem in dB."""

    parts: tuple[tuple[Part, ...], ...]
    levels: tuple[float, ...]


def make_artist(config: DemoConfig, genre: str, index: int) -> Artist:
    """An artist of a genre; the same numbers give the same artist."""
    rng = np.random.default_rng([config.seed, GENRES.index(genre), index])
    style = STYLES[genre]
    comps = rng.permutation(sorted(set(style.comp_programs)))[:2]
    balance = rng.normal(0, 3.5, 4)
    return Artist(
        name=f"{genre}-{index:02d}",
        genre=genre,
        kit=_pick(rng, style.kits),
        bass_program=_pick(rng, style.bass_programs),
        comp_programs=(int(comps[0]), int(comps[1])),
        voice_program=_pick(rng, style.voice_programs),
        voice_lowest=_VOICE_LOWEST + int(rng.integers(-7, 8)),
        keys=tuple(int(key) for key in rng.permutation(12)[:3]),
        pace=float(rng.uniform(0.1, 0.9)),
        habits=tuple(rng.uniform(size=4).tolist()),
        balance=tuple(balance.tolist()),
        low_shelf=float(rng.uniform(-6, 6)),
        high_shelf=float(rng.uniform(-10, 6)),
        room_seconds=float(rng.uniform(0.1, 1.2)),
        room_level=float(rng.uniform(-30, -9)),
    )


def compose(config: DemoConfig, artist: Artist, rng: Rng) -> Song:
    """A song of an artist: an excerpt that begins anywhere in a bar and a progression.

    Args:
        config: For the duration.
        artist: Who plays.
        rng: Everything that is drawn comes from it.
    """
    style = STYLES[artist.genre]
    low, high = style.tempo
    pace = float(np.clip(artist.pace + rng.normal(0, 0.08), 0, 1))
    bar = 4 * 60 / (low + pace * (high - low))  # s
    starts = np.arange(-rng.uniform(), config.duration / bar) * bar
    progression = _favoured(rng, style.progressions, artist.habits[3]).split()
    first = int(rng.integers(len(progression)))
    tonic = artist.keys[int(rng.integers(len(artist.keys)))]
    roots: list[int] = []
    qualities: list[tuple[int, ...]] = []
    for index in range(len(starts) + 1):
        semitones, _, quality = progression[(first + index) % len(progression)].partition(":")
        roots.append((tonic + int(semitones)) % 12)
        qualities.append(QUALITIES[quality])
    swing = rng.uniform(*style.swing)
    player = _Player(style, rng, config.duration, bar, swing, starts, roots, qualities)

    beat = _favoured(rng, style.beats, artist.habits[0])
    kit = player.drums(beat)
    bass = player.bass(_favoured(rng, style.bass, artist.habits[1]))
    comp = _favoured(rng, style.comps, artist.habits[2])
    second = _pick(rng, style.comps)
    chords = [player.chords(comp, 0), player.chords(second, 5)]
    voice = player.voice(tonic, artist.voice_lowest)
    levels = np.add(style.levels, artist.balance) + rng.normal(0, 1, 4)
    return Song(
        (
            (Part(artist.voice_program, voice),),
            (Part(artist.kit, kit, is_kit=True),),
            (Part(artist.bass_program, bass),),
            tuple(Part(p, notes) for p, notes in zip(artist.comp_programs, chords, strict=True)),
        ),
        tuple(levels.tolist()),
    )


@dataclass(frozen=True)
class _Player:
    style: Style
    rng: Rng
    duration: float
    bar: float
    swing: float
    starts: NDArray[np.float64]
    roots: list[int]
    qualities: list[tuple[int, ...]]

    def note(self, start: float, duration: float, key: int, accent: float = 1.0) -> Note | None:
        """A note as a human plays it; None outside of the song."""
        mean, spread = self.style.velocity
        start += self.rng.normal(0, 0.004)
        velocity = int(np.clip(accent * mean + self.rng.normal(0, spread / 2), 8, 127))
        if not 0 <= start < self.duration:
            return None
        return Note(float(start), float(duration), key, velocity)

    def at(self, index: int, step: float, steps: int) -> float:
        """Start of a step of a bar, in s."""
        late = self.swing if int(step) % 2 else 0.0
        return float(self.starts[index] + (step + late) * self.bar / steps)

    def drums(self, beat: Beat) -> tuple[Note, ...]:
        notes = [
            self.note(self.at(index, step, len(pattern)), _DRUM_GATE, key, _ACCENT[stroke])
            for index in range(len(self.starts))
            for key, pattern in beat.items()
            for step, stroke in enumerate(pattern)
            if stroke in _ACCENT
        ]
        return _present(notes)

    def bass(self, pattern: str) -> tuple[Note, ...]:
        notes = []
        for index in range(len(self.starts)):
            root = _BASS_LOWEST + (self.roots[index] - _BASS_LOWEST) % 12
            after = _BASS_LOWEST + (self.roots[index + 1] - _BASS_LOWEST) % 12
            third = self.qualities[index][1]
            degrees = {"r": root, "3": root + third, "5": root + 7, "6": root + 9, "7": root + 10}
            degrees |= {"8": root + 12, "a": after - 1}
            for step, length, name in _tones(pattern):
                width = length * self.bar / len(pattern)
                notes.append(self.note(self.at(index, step, len(pattern)), 0.92 * width, degrees[name]))
        return _present(notes)

    def chords(self, pattern: str, shift: int) -> tuple[Note, ...]:
        """Chords or arpeggios; `shift` moves the voicing up, for the second instrument."""
        lowest = _CHORD_LOWEST + shift
        notes: list[Note | None] = []
        for index in range(len(self.starts)):
            keys = [lowest + (self.roots[index] - lowest) % 12 + tone for tone in self.qualities[index]]
            for step, length, name in _tones(pattern):
                width = length * self.bar / len(pattern)
                played = keys if name == "x" else [keys[int(name) - 1]]
                start = self.at(index, step, len(pattern))
                notes.extend(self.note(start, 0.92 * width, key, 0.9) for key in played)
        return _present(notes)

    def voice(self, tonic: int, lowest: int) -> tuple[Note, ...]:
        """A walk over the scale in phrases, or syllables on one pitch."""
        kind = self.style.voice
        octave = [lowest + (tonic + degree - lowest) % 12 for degree in self.style.scale]
        scale = sorted(octave + [key + 12 for key in octave])
        place = len(scale) // 2
        notes = []
        lengths = {"long": (4, 8), "melody": (1, 2, 2, 3, 4), "syllables": (1, 1, 1, 2)}[kind]
        pause = {"long": 0.1, "melody": 0.2, "syllables": 0.12}[kind]
        for index in range(len(self.starts)):
            step = 0
            while step < 16:
                length = min(_pick(self.rng, lengths), 16 - step)
                if self.rng.uniform() > pause:
                    moves = (-1, 0, 0, 0, 1) if kind == "syllables" else (-2, -1, -1, 1, 1, 2)
                    place = int(np.clip(place + _pick(self.rng, moves), 0, len(scale) - 1))
                    width = length * self.bar / 16
                    share = 0.6 if kind == "syllables" else 0.95
                    notes.append(self.note(self.at(index, step, 16), share * width, scale[place]))
                step += length
        return _present(notes)


def _tones(pattern: str) -> list[tuple[int, int, str]]:
    """Step, length in steps and name of the notes of a pattern."""
    tones: list[tuple[int, int, str]] = []
    for step, name in enumerate(pattern):
        if name == "-":
            first, length, held = tones.pop()
            tones.append((first, length + 1, held))
        elif name != ".":
            tones.append((step, 1, name))
    return tones


def _present(notes: list[Note | None]) -> tuple[Note, ...]:
    return tuple(note for note in notes if note is not None)


def _pick(rng: Rng, options: tuple[T, ...]) -> T:
    return options[int(rng.integers(len(options)))]


def _favoured(rng: Rng, options: tuple[T, ...], habit: float) -> T:
    """The artist's habit mostly, else anything."""
    if rng.uniform() < _HABIT:
        return options[int(habit * len(options))]
    return _pick(rng, options)
