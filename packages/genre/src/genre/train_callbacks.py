"""What happens around the steps of a training: the log, the best network, the checkpoint, the stop."""

import contextlib
import csv
import io
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from audio_io.atomic import atomic_path, write_text
from audio_io.errors import ConfigError
from audio_io.figures import PALETTE, new_figure
from audio_io.progress import Progress
from genre import checkpoint as checkpoints
from genre.checkpoint import Checkpoint
from genre.config import TrainConfig
from genre.model import GenreNet
from genre.outputs import say

CHECKPOINT, BEST, LOG = "checkpoint.pth", "best_model.pth", "train_log.txt"
METRICS, CURVES = "metrics.csv", "curves.png"
_CURVES_SECONDS = 20.0  # between two drawings of the curves; short epochs cost less than one
_STEP = 2  # tells the seeds of steps from those of `genre.dataset`

Row = dict[str, float]


class Log:
    """Lines for the console and for a file, the same in both.

    Args:
        path: The file; lines are added to what it has.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def say(self, text: str) -> None:
        """Write a line, unless this is a process that another one started to train along."""
        if getattr(rank_zero_only, "rank", 0):
            return
        say(text, to=sys.stderr)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


class Keeper(lightning.Callback):
    """Keeps the history, the best network and the last state, and stops when nothing gets better.

    The best epoch is the one with the highest accuracy on the validation tracks, among equals that with the
    lowest loss.

    Args:
        folder: Of the run.
        base: The checkpoint of the best network, but for its weights.
        config: For the patience, the seed and the learning rate.
        journal: For a line after each epoch; None on all processes but the first.
    """

    def __init__(self, folder: Path, base: Checkpoint, config: TrainConfig, journal: Log | None) -> None:
        self.folder, self.base, self.config, self.journal = folder, base, config, journal
        self.history: list[Row] = []
        self.position = (0, 0)  # the epoch, and how many of its batches are done
        self.first_epoch = 0  # of the cosine
        self.is_stop_wanted = False
        self._loss, self._seconds = (0.0, 0), 0.0
        self._started = time.monotonic()
        self._drawn = -math.inf
        self._progress: Progress | None = None

    @property
    def best(self) -> int:
        """Place of the best epoch in the history."""
        return best_epoch(self.history)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {
            "history": self.history,
            "position": list(self.position),
            "loss": list(self._loss),
            "seconds": self._seconds + time.monotonic() - self._started,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.history = state_dict["history"]
        self.position = tuple(state_dict["position"])
        self._loss = tuple(state_dict["loss"])
        self._seconds = state_dict["seconds"]

    def on_train_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Begin the progress bar where the run is."""
        self._started = time.monotonic()
        if self.journal is not None:
            batches = int(trainer.num_training_batches)
            self._progress = Progress("train", self.config.epochs * batches, "batches")
            self._progress.advance(self.position[0] * batches + self.position[1])

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002 - Lightning's signature
        batch: object,  # noqa: ARG002 - see above
        batch_idx: int,
    ) -> None:
        """Make the step a function of the seed and its place, and set its learning rate."""
        entropy = [self.config.seed, _STEP, trainer.current_epoch, batch_idx, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        rate = cosine_rate(trainer.current_epoch - self.first_epoch, self.config)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002 - Lightning's signature
        outputs: Any,  # noqa: ANN401 - see above
        batch: Any,  # noqa: ANN401 - see above
        batch_idx: int,
    ) -> None:
        """Count the batch; stop here if that is wanted."""
        count = len(batch[1])
        self._loss = (self._loss[0] + float(outputs["loss"]) * count, self._loss[1] + count)
        self.position = (trainer.current_epoch, batch_idx + 1)
        if self._progress is not None:
            self._progress.advance(1)
        # After the last batch the epoch is finished first: what is kept is then a whole epoch.
        if self.is_stop_wanted and batch_idx + 1 < trainer.num_training_batches:
            self._save_state(trainer)
            raise KeyboardInterrupt

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write down the epoch, keep the network if it is the best, and keep the state."""
        measured = trainer.callback_metrics
        if not all(value.isfinite().all() for value in pl_module.state_dict().values()):
            # What is on disk stays: the state after the epoch before.
            found = f"{self.config.lr}, with which weights became NaN or infinite"
            raise ConfigError("lr", found, "a lower learning rate")
        self._seconds += time.monotonic() - self._started
        self._started = time.monotonic()
        self.history.append(
            {
                "epoch": trainer.current_epoch + 1,
                "lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
                "loss": self._loss[0] / max(self._loss[1], 1),
                "val_loss": float(measured["val_loss"]),
                "val_accuracy": float(measured["val_accuracy"]),
                "seconds": self._seconds,
            }
        )
        self._loss, self._seconds = (0.0, 0), 0.0
        self.position = (trainer.current_epoch + 1, 0)
        is_best = self.best == len(self.history) - 1
        trainer.should_stop = trainer.should_stop or is_exhausted(self.history, self.config)
        if trainer.is_global_zero:
            if is_best:
                self._save_best(pl_module)
            write_history(self.folder, self.history)
            if time.monotonic() - self._drawn > _CURVES_SECONDS:
                plot_history(self.folder / CURVES, self.history)
                self._drawn = time.monotonic()
            if self.journal is not None:
                self.journal.say(_line(self.history[-1], self.config) + (" (best)" if is_best else ""))
        self._save_state(trainer)
        if self.is_stop_wanted:
            raise KeyboardInterrupt

    def on_train_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Draw the curves to the end, and close the progress bar."""
        if trainer.is_global_zero and self.history:
            plot_history(self.folder / CURVES, self.history)
        self._close_progress()

    def on_exception(
        self,
        trainer: lightning.Trainer,  # noqa: ARG002 - Lightning's signature
        pl_module: lightning.LightningModule,  # noqa: ARG002 - see above
        exception: BaseException,  # noqa: ARG002 - see above
    ) -> None:
        """Leave no progress bar in front of what is said about it."""
        self._close_progress()

    def _close_progress(self) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None

    def _save_best(self, module: lightning.LightningModule) -> None:
        network = module.network
        assert isinstance(network, GenreNet)
        row = self.history[-1]
        scores = {key: row[key] for key in ("epoch", "val_loss", "val_accuracy")}
        best = replace(self.base, state=network.state_dict(), scores=scores)
        checkpoints.save(self.folder / BEST, best)

    def _save_state(self, trainer: lightning.Trainer) -> None:
        # All processes take part in saving; only the first one writes.
        target = self.folder / CHECKPOINT
        place = atomic_path(target) if trainer.is_global_zero else contextlib.nullcontext(target)
        with place as path:
            trainer.save_checkpoint(path)


def cosine_rate(epoch: int, config: TrainConfig) -> float:
    """Learning rate of an epoch.

    Reference: `torch.optim.lr_scheduler.CosineAnnealingLR`, in closed form.
    """
    share = (1 + np.cos(np.pi * min(epoch, config.epochs) / config.epochs)) / 2
    return float(config.min_lr + (config.lr - config.min_lr) * share)


def best_epoch(history: Sequence[Row]) -> int:
    """Place of the epoch with the highest accuracy, among equals of that with the lowest loss."""
    return max(range(len(history)), key=lambda i: (history[i]["val_accuracy"], -history[i]["val_loss"], -i))


def is_exhausted(history: Sequence[Row], config: TrainConfig) -> bool:
    """Whether the patience is at its end."""
    return bool(history) and len(history) - 1 - best_epoch(history) >= config.patience


def write_history(folder: Path, history: Sequence[Row]) -> None:
    """The history as a table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in history)
    write_text(folder / METRICS, text.getvalue())


def plot_history(target: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Draw losses and accuracy over the epochs, the best one marked."""
    epochs = [row["epoch"] for row in history]
    best = history[best_epoch(list(map(dict, history)))]
    with new_figure(target, width=9.0, height=3.6) as figure:
        losses, accuracy = figure.subplots(1, 2)
        losses.plot(epochs, [row["loss"] for row in history], color=PALETTE[0], label="training")
        losses.plot(epochs, [row["val_loss"] for row in history], color=PALETTE[1], label="validation")
        losses.set(title="Cross-entropy", xlabel="epoch", ylim=(0, None))
        losses.legend()
        accuracy.plot(epochs, [row["val_accuracy"] for row in history], color=PALETTE[1])
        accuracy.plot(best["epoch"], best["val_accuracy"], "o", color=PALETTE[2])
        title = f"Validation accuracy: best {best['val_accuracy']:.3f}, epoch {best['epoch']:.0f}"
        accuracy.set(title=title, xlabel="epoch", ylim=(0, 1.02))


def _line(row: Row, config: TrainConfig) -> str:
    return (
        f"epoch {row['epoch']:.0f}/{config.epochs}: loss {row['loss']:.4f}, validation loss "
        f"{row['val_loss']:.4f}, accuracy {row['val_accuracy']:.4f}, lr {row['lr']:.2e}, "
        f"{row['seconds']:.1f} s"
    )
