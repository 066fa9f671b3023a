"""The figure of an analysis: the contour over its notes, the vibrato, the deviations."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from audio_io.figures import PALETTE, new_figure
from pitch.analysis.report import Analysis
from pitch.notes import A4_MIDI, midi_name
from pitch.result import Track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

SPAN_CENTS = 50.0  # of the colours, to either side
BIN_CENTS = 5.0
MOST_LABELS = 40  # notes whose names fit above them
MOST_LINES = 13  # names on the pitch axis


def plot_analysis(analysis: Analysis, track: Track, target: str | Path, *, name: str) -> None:
    """Draw an analysis and save the figure.

    Args:
        analysis: From `analyze_track`.
        track: What was analysed.
        target: Image file; the suffix sets the format.
        name: Of the recording, for the title.
    """
    with new_figure(target, width=10.0, height=7.0) as figure:
        grid = figure.add_gridspec(2, 2, height_ratios=(2, 1))
        roll = figure.add_subplot(grid[0, :])
        roll.set_title(f"{name}: {analysis.finding()}", parse_math=False)
        _draw_roll(figure, roll, analysis, track)
        _draw_vibrato(figure.add_subplot(grid[1, 0]), analysis)
        _draw_deviations(figure.add_subplot(grid[1, 1]), analysis)


def contour_midi(track: Track, tuning: float) -> Floats:
    """Pitch of each frame as fractional MIDI note number in a tuning, NaN where nothing is voiced, `[K]`."""
    midi = A4_MIDI + 12 * np.log2(np.maximum(track.frequency.astype(np.float64), 1e-3) / tuning)
    return np.where(track.voiced, midi, np.nan)


def _draw_roll(figure: "Figure", axes: "Axes", analysis: Analysis, track: Track) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colours = ScalarMappable(Normalize(-SPAN_CENTS, SPAN_CENTS), cmap="coolwarm")
    for note in analysis.notes:
        width = note.offset_s - note.onset_s
        colour = colours.to_rgba(np.array(note.deviation_cents))
        axes.broken_barh(
            [(note.onset_s, width)],
            (note.target_midi - 0.5, 1.0),
            facecolor=colour,
            edgecolor="#444444",
            linewidth=0.4,
        )
        if len(analysis.notes) <= MOST_LABELS:
            label = f"{note.name}\n{note.deviation_cents:+.0f}"
            axes.text(note.onset_s + width / 2, note.target_midi + 0.7, label, ha="center", fontsize=7)
    axes.plot(track.times, contour_midi(track, analysis.song.tuning_hz), color="black", linewidth=0.9)
    if analysis.notes:
        low = min(note.target_midi for note in analysis.notes) - 2
        high = max(note.target_midi for note in analysis.notes) + 3
        step = -(-(high - low) // MOST_LINES)
        ticks = list(range(low, high + 1, step))
        axes.set_yticks(ticks, [midi_name(tick) for tick in ticks])
        axes.set_ylim(low, high)
    axes.set_xlim(0, max(track.duration, track.hop_seconds))
    axes.set_xlabel("time (s)")
    axes.set_ylabel("note")
    figure.colorbar(colours, ax=axes, label="deviation (cents)", pad=0.01)


def _draw_vibrato(axes: "Axes", analysis: Analysis) -> None:
    found = [note for note in analysis.notes if note.vibrato is not None]
    axes.set_title("Vibrato of each note")
    axes.set_xlabel("rate (Hz)")
    axes.set_ylabel("extent (± cents)")
    axes.set_xlim(3.5, 9.0)
    for note in found:
        assert note.vibrato is not None
        axes.scatter(
            note.vibrato.rate_hz,
            note.vibrato.extent_cents,
            s=60 * (note.offset_s - note.onset_s),
            color=PALETTE[0],
            alpha=0.6,
        )
    axes.set_ylim(0, 1.3 * max([note.vibrato.extent_cents for note in found if note.vibrato], default=100.0))
    if not found:
        axes.text(0.5, 0.5, "none found", transform=axes.transAxes, ha="center")


def _draw_deviations(axes: "Axes", analysis: Analysis) -> None:
    deviations = [note.deviation_cents for note in analysis.notes]
    lengths = [note.offset_s - note.onset_s for note in analysis.notes]
    reach = max(SPAN_CENTS, *(abs(value) for value in deviations), 0.0) + BIN_CENTS
    edges = np.arange(-reach // BIN_CENTS, reach // BIN_CENTS + 1) * BIN_CENTS
    axes.hist(deviations, bins=edges.tolist(), weights=lengths, color=PALETTE[0])
    for side in (-1, 1):
        axes.axvline(side * analysis.config.tolerance, color=PALETTE[1], linewidth=1, linestyle="--")
    axes.set_title("Deviation of the notes")
    axes.set_xlabel("cents from the note meant")
    axes.set_ylabel("sung time (s)")
