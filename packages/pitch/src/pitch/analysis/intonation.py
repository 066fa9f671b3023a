"""Intonation: the tuning that was sung in, the note that was meant, the drift.

Reference:
    Dressler, Streich, "Tuning Frequency Estimation Using Circular Statistics", ISMIR 2007; Mauch, Frieler,
    Dixon, "Intonation in unaccompanied singing: Accuracy, drift, and a model of reference pitch memory",
    J. Acoust. Soc. Am. 136(1), 2014 (drift); Sen, "Estimates of the regression coefficient based on
    Kendall's tau", J. Am. Stat. Assoc. 63, 1968 (its slope).
"""

import math
from collections.abc import Set

import numpy as np
import numpy.typing as npt

from pitch.notes import A4_HZ

Floats = npt.NDArray[np.float64]

MOST_NOTES = 1000  # whose pairs the drift is taken from: more only cost time


def estimate_tuning(midi: npt.ArrayLike, weights: npt.ArrayLike) -> float:
    """The frequency of A4 that fits notes best, by the circular mean of their distances to the semitones.

    It is known up to whole semitones only: the result is within 50 cents of 440 Hz.

    Args:
        midi: Fractional MIDI note numbers (A4 = 440 Hz).
        weights: What each counts, such as its duration.

    Returns:
        In Hz; 440 for no notes.

    Shape:
        - midi and weights: `[N]`
    """
    angles = 2j * np.pi * np.asarray(midi, dtype=np.float64)
    mean = complex(np.sum(np.asarray(weights, dtype=np.float64) * np.exp(angles)))
    if abs(mean) < 1e-12:
        return A4_HZ
    return float(A4_HZ * 2 ** (math.atan2(mean.imag, mean.real) / (2 * math.pi) / 12))


def nearest_degree(midi: float, degrees: Set[int]) -> int:
    """The MIDI note number, of the pitch classes given, that is nearest to a fractional one."""
    around = range(math.floor(midi) - 11, math.floor(midi) + 13)
    return min((note for note in around if note % 12 in degrees), key=lambda note: abs(note - midi))


def drift(times: npt.ArrayLike, deviations: npt.ArrayLike) -> float:
    """How fast the intonation rises: the median slope of all pairs of notes (Theil and Sen).

    Single wrong notes do not move it.

    Args:
        times: Of the notes, in s.
        deviations: Of the notes, in cents.

    Returns:
        In cents per minute.

    Shape:
        - times and deviations: `[N]`, N at least 2, at different times
    """
    time = np.asarray(times, dtype=np.float64)
    cents = np.asarray(deviations, dtype=np.float64)
    step = -(-len(time) // MOST_NOTES)
    time, cents = time[::step], cents[::step]
    first, second = np.triu_indices(len(time), k=1)
    apart = time[second] - time[first]
    return float(60 * np.median((cents[second] - cents[first])[apart > 0] / apart[apart > 0]))
