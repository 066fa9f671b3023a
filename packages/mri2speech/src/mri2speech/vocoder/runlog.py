"""What a run of the vocoder's training writes about itself: `metrics.csv`, TensorBoard, `curves.png`."""

import csv
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from audio_io.atomic import write_text
from audio_io.figures import PALETTE, new_figure

FIELDS = ("step", "mel", "stft", "discriminator", "feature", "generator", "val_mel_db", "val_stft")
_PANELS = (
    ("mel", "mel loss (log amplitude)"),
    ("val_mel_db", "validation mel distance (dB)"),
    ("val_stft", "validation STFT distance"),
    ("discriminator", "discriminator loss"),
)


class RunLog:
    """The log of a run.

    Args:
        folder: Of the run; a log that is there is continued.
        steps: Steps that are done; lines of later ones, from after the checkpoint, are dropped.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder = folder
        self._metrics = folder / "metrics.csv"
        folder.mkdir(parents=True, exist_ok=True)
        rows = [row for row in read_metrics(self._metrics) if int(row["step"]) <= steps]
        lines = [",".join(FIELDS), *(",".join(row.get(name) or "" for name in FIELDS) for row in rows)]
        write_text(self._metrics, "\n".join(lines) + "\n")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=steps + 1)

    def add(self, step: int, values: dict[str, float]) -> None:
        """Add a line."""
        row = [str(step), *(f"{values[name]:.6g}" if name in values else "" for name in FIELDS[1:])]
        with self._metrics.open("a", encoding="utf-8", newline="\n") as file:
            file.write(",".join(row) + "\n")
        for key, value in values.items():
            self._board.add_scalar(key, value, step)

    def add_sound(self, step: int, name: str, waveform: Tensor, sample_rate: int) -> None:
        """Let TensorBoard play a waveform `[N]`."""
        self._board.add_audio(name, waveform, step, sample_rate=sample_rate)

    def close(self) -> None:
        """Write what is buffered."""
        self._board.close()

    def plot(self) -> None:
        """Draw `curves.png`."""
        plot_curves(self._metrics, self.folder / "curves.png")


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The lines of a `metrics.csv`; none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def plot_curves(metrics: Path, target: Path) -> None:
    """Draw losses and validation over the steps."""
    rows = read_metrics(metrics)
    curves = []
    for key, label in _PANELS:
        points = np.array([(float(row["step"]), float(row[key])) for row in rows if row.get(key)])
        if len(points):
            curves.append((label, points))
    if not curves:
        return
    with new_figure(target, width=8.0, height=2.0 * len(curves)) as figure:
        axes = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
        for colour, axis, (label, points) in zip(PALETTE, axes, curves, strict=False):
            axis.plot(points[:, 0], points[:, 1], color=colour, linewidth=1.2)
            axis.set_title(f"{label}: {points[-1, 1]:.3g} at the end", fontsize=9)
        axes[-1].set_xlabel("step")
