"""What a training run has done so far: its numbers, when it stops, its `metrics.csv` and `curves.png`."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from audio_io.atomic import atomic_path
from audio_io.errors import ConfigError
from audio_io.figures import PALETTE, new_figure
from mri2speech.acoustic.config import BANDS, FitConfig

# Settings that may be others when a run goes on: how long and where it runs, not what is computed.
FREE = {
    *("max_epochs", "patience", "save_every"),
    *("precision", "use_checkpoint", "ckpt_segments"),
    *("workers", "prefetch", "pin_memory"),
    *("devices", "nodes", "strategy"),
}


@dataclass
class Record:
    """Plain numbers only, so that a checkpoint that holds them executes nothing.

    Attributes:
        step: Optimizer steps done.
        best: Lowest validation loss.
        waited: Validations in a row that did not improve on it.
        sums: Loss and errors of the bands, added up over the steps of this epoch.
        history: A row of `metrics.csv` for each finished epoch.
    """

    step: int = 0
    best: float = math.inf
    waited: int = 0
    sums: list[float] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        for entry in fields(self):
            setattr(self, entry.name, state[entry.name])

    def add(self, row: dict[str, float]) -> bool:
        """Note an epoch; returns whether its validation loss is the lowest so far."""
        self.history.append(row)
        improved = row["loss/val"] < self.best
        self.best, self.waited = (row["loss/val"], 0) if improved else (self.best, self.waited + 1)
        return improved

    def reason_to_stop(self, config: FitConfig, learning_rate: float) -> str | None:
        """Why training is over, if it is; the rule of the brief."""
        if len(self.history) >= config.max_epochs:
            return f"all {config.max_epochs} epochs are done"
        if self.waited >= config.patience:
            return f"the validation loss has not improved {self.waited} times in a row"
        if learning_rate <= config.min_lr * (1 + 1e-6):
            return f"the learning rate has fallen to its minimum, {learning_rate:g}"
        return None


def require_same(stored: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with a run whose settings or data were others.

    Raises:
        ConfigError: Naming the first setting that differs.
    """
    for name, value in now.items():
        if name not in FREE and stored.get(name) != value:
            found = f"{value}, where the run in {folder} has {stored.get(name)}"
            raise ConfigError(name, found, "the same, or another --output-dir")


def write_metrics(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write `metrics.csv`: a row for each epoch, errors of the bands in dB."""
    if not history:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(history[0]))
        writer.writeheader()
        writer.writerows(history)


def append_metrics(path: Path, row: Mapping[str, float]) -> None:
    """Add the row of one epoch to `metrics.csv`."""
    new = not path.is_file()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def plot_curves(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Draw the losses, and the error of each band in validation, over the epochs."""
    if not history:
        return
    epochs = [row["epoch"] for row in history]
    with new_figure(path, width=8.0, height=7.0) as figure:
        losses, bands = figure.subplots(2, 1, sharex=True)
        losses.plot(epochs, [row["loss/train"] for row in history], label="training, weights on the ramp")
        losses.plot(epochs, [row["loss/val"] for row in history], label="validation, target weights")
        best = min(history, key=lambda row: row["loss/val"])
        losses.axvline(best["epoch"], color="#888888", linewidth=0.8)
        losses.set(title=f"Loss: least validation {best['loss/val']:.4f}", yscale="log", ylabel="loss")
        losses.legend()
        for (name, first, end), colour in zip(BANDS, PALETTE, strict=False):
            label = f"{name} (bands {first}-{end - 1} of 64)"
            bands.plot(epochs, [row[f"band/val_{name}"] for row in history], color=colour, label=label)
        bands.axvline(best["epoch"], color="#888888", linewidth=0.8)
        bands.set(title="Mean absolute error in validation", xlabel="epoch", ylabel="dB")
        bands.legend()
