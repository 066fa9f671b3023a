"""Musical notes: names of frequencies, what a note of a recording is, how a track is cut into notes."""

import math
from dataclasses import dataclass

from audio_io.settings import check, setting

A4_HZ = 440.0
A4_MIDI = 69
NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


@dataclass(frozen=True)
class NoteConfig:
    """How a track is cut into notes; every field is an option of the commands that do so.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    min_note: float = setting(0.1, "shortest note", unit="s", minimum=0.0)
    max_gap: float = setting(0.05, "longest unvoiced gap within a note", unit="s", minimum=0.0)
    min_step: float = setting(60.0, "least step of pitch between joined notes", unit="cents", minimum=0.0)
    change_cost: float = setting(
        6.0, "what a change of note costs; greater finds fewer notes", unit="cents × s", minimum=0.0
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class NoteEvent:
    """One note of a recording.

    Attributes:
        onset: Where it begins, in s.
        offset: Where it ends, in s.
        frequency: Median pitch in Hz.
        confidence: Mean confidence of its frames, from 0 to 1.
    """

    onset: float
    offset: float
    frequency: float
    confidence: float

    @property
    def duration(self) -> float:
        """Length in s."""
        return self.offset - self.onset

    @property
    def midi(self) -> float:
        """Fractional MIDI note number; 69 is A4, 440 Hz."""
        return frequency_to_midi(self.frequency)

    @property
    def cents(self) -> float:
        """Distance to the nearest note of equal temperament (A4 = 440 Hz) in cents, from -50 to 50."""
        return 100 * (self.midi - round(self.midi))

    @property
    def name(self) -> str:
        """The nearest note, such as `C♯4`."""
        return midi_name(self.midi)


def frequency_to_midi(frequency: float) -> float:
    """Fractional MIDI note number of a frequency in Hz, above 0.

    >>> frequency_to_midi(220.0)
    57.0
    """
    return A4_MIDI + 12 * math.log2(frequency / A4_HZ)


def midi_name(midi: float) -> str:
    """Name of the nearest note.

    >>> midi_name(60.3)
    'C4'
    """
    nearest = round(midi)
    return f"{NAMES[nearest % 12]}{nearest // 12 - 1}"


def note_name(frequency: float) -> str:
    """Nearest note of equal temperament (A4 = 440 Hz) and the distance to it in cents.

    Args:
        frequency: In Hz, above 0.

    >>> note_name(440.0)
    'A4 +0 cents'
    >>> note_name(260.0)
    'C4 -11 cents'
    """
    midi = frequency_to_midi(frequency)
    return f"{midi_name(midi)} {round(100 * (midi - round(midi))):+d} cents"
