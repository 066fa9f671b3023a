"""Settings of the analysis. Free of NumPy, so that the command line can show its help at once."""

from dataclasses import dataclass
from typing import Literal

from audio_io.settings import check, setting

ScaleName = Literal[
    "chromatic",
    "major",
    "minor",
    "harmonic_minor",
    "dorian",
    "phrygian",
    "lydian",
    "mixolydian",
    "locrian",
    "major_pentatonic",
    "minor_pentatonic",
    "blues",
]
TonicName = Literal[
    "C", "C#", "Db", "D", "D#", "Eb", "E", "F", "F#", "Gb", "G", "G#", "Ab", "A", "A#", "Bb", "B"
]  # fmt: skip

# Semitones above the tonic.
SCALES: dict[ScaleName, tuple[int, ...]] = {
    "chromatic": tuple(range(12)),
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic_minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "locrian": (0, 1, 3, 5, 6, 8, 10),
    "major_pentatonic": (0, 2, 4, 7, 9),
    "minor_pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
}


@dataclass(frozen=True)
class AnalysisConfig:
    """What the intonation is measured against; every field is an option of `pitch analyze`.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    scale: ScaleName = setting("chromatic", "notes that are right")
    tonic: TonicName = setting("C", "first note of the scale")
    tuning: float | None = setting(
        None, "A4 in Hz; none estimates it from the notes", minimum=380.0, maximum=500.0
    )
    tolerance: float = setting(
        25.0, "greatest deviation of a note in tune", unit="cents", minimum=0.0, maximum=600.0
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def degrees(self) -> frozenset[int]:
        """Pitch classes of the scale; 0 is C."""
        tonic = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[self.tonic[0]]
        tonic += self.tonic.count("#") - self.tonic[1:].count("b")
        return frozenset((tonic + step) % 12 for step in SCALES[self.scale])
