"""Musical names of frequencies."""

import math

A4_HZ = 440.0
_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


def note_name(frequency: float) -> str:
    """Nearest note of equal temperament (A4 = 440 Hz) and the distance to it in cents.

    Args:
        frequency: In Hz, above 0.

    >>> note_name(440.0)
    'A4 +0 cents'
    >>> note_name(260.0)
    'C4 -11 cents'
    """
    semitones = 69 + 12 * math.log2(frequency / A4_HZ)  # MIDI note number
    nearest = round(semitones)
    return f"{_NAMES[nearest % 12]}{nearest // 12 - 1} {round(100 * (semitones - nearest)):+d} cents"
