"""The pitch of one recording: the numbers, their summary, their CSV file."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio_io.atomic import atomic_path
from pitch.constants import PITCH_BINS
from pitch.notes import note_name
from pitch.voicing import voiced_probability

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

CSV_HEADER = "time,frequency,confidence,voiced"


class Overview:
    """Posteriors of a recording of any length at a resolution that fits a figure.

    Neighbouring frames share a column, which shows the largest posterior of each bin; whenever the columns
    run out, pairs of them merge.

    Args:
        max_columns: Greatest number of columns, even.
    """

    def __init__(self, max_columns: int = 2048) -> None:
        self.frames_per_column = 1
        self._max_columns = max_columns
        self._columns: Floats = np.zeros((0, PITCH_BINS), dtype=np.float32)
        # The column that is being filled, and how many frames are in it.
        self._open: Floats = np.zeros((1, PITCH_BINS), dtype=np.float32)
        self._open_frames = 0

    def add(self, posteriors: Floats) -> None:
        """Take in the next frames.

        Shape:
            - posteriors: `[N, 360]`
        """
        missing = min(self.frames_per_column - self._open_frames, len(posteriors))
        self._fill(posteriors[:missing])
        posteriors = posteriors[missing:]
        whole = len(posteriors) // self.frames_per_column * self.frames_per_column
        pooled = posteriors[:whole].reshape(-1, self.frames_per_column, PITCH_BINS).max(axis=1)
        self._columns = np.concatenate([self._columns, pooled])
        self._fill(posteriors[whole:])
        while len(self._columns) > self._max_columns:
            self._halve()

    def _fill(self, posteriors: Floats) -> None:
        self._open = np.concatenate([self._open, posteriors]).max(axis=0, keepdims=True)
        self._open_frames += len(posteriors)
        if self._open_frames == self.frames_per_column:
            self._columns = np.concatenate([self._columns, self._open])
            self._open = np.zeros_like(self._open)
            self._open_frames = 0

    def _halve(self) -> None:
        even = len(self._columns) // 2 * 2
        unpaired = self._columns[even:]
        self._columns = self._columns[:even].reshape(-1, 2, PITCH_BINS).max(axis=1)
        self._open = np.concatenate([self._open, unpaired]).max(axis=0, keepdims=True)
        self._open_frames += len(unpaired) * self.frames_per_column
        self.frames_per_column *= 2

    def image(self) -> Floats:
        """The overview as an image.

        Shape:
            - Output: `[360, columns]`, low pitch first
        """
        return (np.concatenate([self._columns, self._open]) if self._open_frames else self._columns).T


@dataclass(frozen=True)
class Track:
    """Pitch and confidence of each frame.

    Attributes:
        frequency: Pitch in Hz, voiced or not.
        confidence: The network's confidence that it is a pitch, from 0 to 1.
        hop_seconds: Time between frames, in s; frame k is centred on k times it.
        duration: Of the recording, in s.
        threshold: Confidence at which voicing begins.
        overview: Posteriors, for the figure.
        decided: Whether each frame is voiced, as `pitch.voicing.VoicingGate` has it; None leaves it to the
            threshold alone.
        model: Capacity of the network, for `probability`; None if it is not known.

    Shape:
        frequency, confidence and decided: `[K]`
    """

    frequency: Floats
    confidence: Floats
    hop_seconds: float
    duration: float
    threshold: float
    overview: Overview = field(repr=False, compare=False)
    decided: Bools | None = None
    model: str | None = None

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """Times of the frames' centres in s, `[K]`."""
        return np.arange(len(self.frequency), dtype=np.float64) * self.hop_seconds

    @property
    def voiced(self) -> Bools:
        """Whether each frame is voiced, `[K]`."""
        if self.decided is not None:
            return self.decided
        return self.confidence >= np.float32(self.threshold)

    @property
    def probability(self) -> Floats:
        """Probability that each frame is voiced, by `pitch.voicing.voiced_probability`, `[K]`."""
        return voiced_probability(self.confidence, self.model)

    def summary(self) -> "Summary":
        """What the track says in a few numbers."""
        voiced = self.frequency[self.voiced]
        low, median, high = (float(np.percentile(voiced, q)) if len(voiced) else None for q in (2, 50, 98))
        return Summary(
            frames=len(self.frequency),
            duration=self.duration,
            voiced_share=float(self.voiced.mean()),
            lowest=low,
            median=median,
            highest=high,
        )

    def save_csv(self, path: str | Path) -> None:
        """Write a row a frame: time (s), frequency (Hz) and confidence as the original CREPE, then voiced.

        The fourth column is 1 or 0; readers of the original's three columns find them where they were.
        """
        rows = zip(self.times, self.frequency, self.confidence, self.voiced, strict=True)
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(CSV_HEADER + "\n")
            file.writelines(csv_row(*row) for row in rows)


def csv_row(time: float, frequency: float, confidence: float, voiced: bool) -> str:
    """One line under `CSV_HEADER`."""
    return f"{time:.6f},{frequency:.3f},{confidence:.6f},{int(voiced)}\n"


@dataclass(frozen=True)
class Summary:
    """A track in a few numbers.

    Attributes:
        frames: Number of frames.
        duration: Of the recording, in s.
        voiced_share: Share of voiced frames, from 0 to 1.
        lowest: 2nd percentile of the voiced pitch in Hz (single frames mislead), None if nothing is voiced.
        median: Its median in Hz.
        highest: Its 98th percentile in Hz.
    """

    frames: int
    duration: float
    voiced_share: float
    lowest: float | None
    median: float | None
    highest: float | None

    def lines(self) -> list[str]:
        """The summary for people to read."""
        share = f"{self.voiced_share:.0%} of {self.frames} frames"
        if self.lowest is None or self.median is None or self.highest is None:
            return [f"voiced  {share}: no pitch found"]
        return [
            f"range   {self.lowest:.1f} to {self.highest:.1f} Hz "
            f"({note_name(self.lowest)} to {note_name(self.highest)})",
            f"median  {self.median:.1f} Hz ({note_name(self.median)})",
            f"voiced  {share}",
        ]
