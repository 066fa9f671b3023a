"""The figure of a pitch track: posteriors with the pitch on top, the confidence below."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio_io.figures import PALETTE, new_figure
from pitch.constants import CENTS_PER_BIN, FIRST_BIN_CENTS, PITCH_BINS, REFERENCE_HZ
from pitch.notes import note_name
from pitch.result import Track

Floats = npt.NDArray[np.float64]
Truth = Callable[[Floats], Floats]

# More points than a figure has pixels only cost time.
MAX_POINTS = 6000
TICKS_HZ = (50, 70, 100, 150, 200, 300, 400, 600, 800, 1200, 1600)


def plot_track(track: Track, target: str | Path, *, name: str, truth: Truth | None = None) -> None:
    """Draw a track and save the figure.

    Args:
        track: What to draw.
        target: Image file; the suffix sets the format.
        name: Of the recording, for the title.
        truth: Gives the true pitch in Hz, 0 where there is none, at times in s; drawn if given.
    """
    step = max(1, len(track.frequency) // MAX_POINTS)
    times, frequency = track.times[::step], track.frequency[::step].astype(np.float64)
    confidence, voiced = track.confidence[::step], track.voiced[::step]
    with new_figure(target, width=10.0, height=5.0) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.imshow(
            track.overview.image(),
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            # Frame k is centred on k hops: its column reaches half a hop to either side.
            extent=(
                -track.hop_seconds / 2,
                (len(track.frequency) - 0.5) * track.hop_seconds,
                FIRST_BIN_CENTS - CENTS_PER_BIN / 2,
                FIRST_BIN_CENTS + (PITCH_BINS - 0.5) * CENTS_PER_BIN,
            ),
            vmin=0.0,
            vmax=1.0,
        )
        shown = np.where(voiced, frequency, 0.0)
        upper.plot(times, _cents(shown), color=PALETTE[4], linewidth=2.0, label="voiced pitch")
        if truth is not None:
            upper.plot(
                times, _cents(truth(times)), color="white", linewidth=0.9, linestyle=":", label="true pitch"
            )
        upper.set_yticks([_cents(np.array([f]))[0] for f in TICKS_HZ], [str(f) for f in TICKS_HZ])
        upper.set_ylim(*_pitch_range(track))
        upper.set_ylabel("frequency (Hz)")
        upper.set_title(_finding(track, name), parse_math=False)
        upper.grid(visible=False)
        upper.legend(loc="upper right", labelcolor="white")
        lower.fill_between(times, confidence, color=PALETTE[0], alpha=0.3, linewidth=0)
        lower.plot(times, confidence, color=PALETTE[0], linewidth=0.8)
        lower.axhline(track.threshold, color=PALETTE[1], linewidth=1, linestyle="--")
        lower.set_ylim(0, 1)
        lower.set_xlim(0, max(float(track.times[-1]), track.hop_seconds))
        lower.set_ylabel("confidence")
        lower.set_xlabel("time (s)")


def _cents(frequency: Floats) -> Floats:
    """Cents above 10 Hz, NaN (a gap in the line) for 0 Hz."""
    with np.errstate(divide="ignore"):
        cents: Floats = 1200 * np.log2(frequency / REFERENCE_HZ)
    return np.where(np.isfinite(cents), cents, np.nan)


def _pitch_range(track: Track) -> tuple[float, float]:
    """The part of the pitch axis worth showing, in cents: the voiced pitch and 9 semitones to either side."""
    lowest, highest = FIRST_BIN_CENTS, FIRST_BIN_CENTS + PITCH_BINS * CENTS_PER_BIN
    summary = track.summary()
    if summary.lowest is None or summary.highest is None:
        return lowest, highest
    low, high = _cents(np.array([summary.lowest, summary.highest]))
    return max(lowest, low - 900), min(highest, high + 900)


def _finding(track: Track, name: str) -> str:
    summary = track.summary()
    if summary.lowest is None or summary.median is None or summary.highest is None:
        return f"{name}: no pitch found"
    notes = (note_name(f).split()[0] for f in (summary.lowest, summary.highest, summary.median))
    low, high, median = notes
    return f"{name}: {low} to {high}, around {median}; {summary.voiced_share:.0%} of the frames voiced"
