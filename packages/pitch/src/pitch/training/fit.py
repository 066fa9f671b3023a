"""Training of a network on batches of frames and target posteriors, with Lightning.

A run lives in a folder: `last.ckpt` (all that is needed to go on), `metrics.csv`, TensorBoard events,
`curves.png`, and at the end the weights, as a file that `pitch track --weights` reads.
"""

import csv
import logging
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name
from torch.utils.data import DataLoader

from audio_io.errors import ConfigError
from audio_io.figures import PALETTE, new_figure
from audio_io.progress import Progress
from pitch.extras import MissingExtraError, how_to_add
from pitch.model import Crepe
from pitch.training.config import FitConfig
from pitch.training.spectral import SpectralCrepe

try:
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
except ImportError as error:
    raise MissingExtraError(f"training needs Lightning; {how_to_add('train')}") from error

Batches = Iterable[tuple[Tensor, Tensor]]

# Targets whose highest probability is above this count as voiced in the validation.
VOICED = 0.5
# Bins to either side that count as the same pitch: 2 of 20 cents, within the usual 50.
NEAR_BINS = 2


class Fit(lightning.LightningModule):
    """Cross-entropy between a network's posteriors and target posteriors.

    BatchNorm keeps its statistics: they were measured before (`pitch.training.prune`) and stay what the
    published networks have, constants of inference.

    Args:
        network: What is trained.
        config: How.
    """

    def __init__(self, network: Crepe, config: FitConfig) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(True)
        if not config.train_first:
            for part in (network.get_submodule("conv1"), network.get_submodule("conv1_BN")):
                part.requires_grad_(False)
        self.config = config
        self._spectral: list[SpectralCrepe] = []

    def forward(self, frames: Tensor) -> Tensor:
        """Logits, `[N, 360]` of `[N, 1024]`."""
        device = frames.device.type
        lower = self.config.precision == "bfloat16"
        with torch.autocast(device, dtype=torch.bfloat16, enabled=lower):
            if device != "cpu" or self.config.train_first:
                return self.network.logits(frames).float()
            if not self._spectral:
                # In a list, so that its tables are no part of the checkpoint.
                self._spectral.append(SpectralCrepe(self.network))
            logits: Tensor = self._spectral[0](frames)
            return logits.float()

    def on_train_start(self) -> None:
        """Keep BatchNorm at its statistics; Lightning switches modules to training mode."""
        self.network.eval()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Loss of one batch."""
        self.network.eval()
        loss = F.binary_cross_entropy_with_logits(self(batch[0]), batch[1])
        self.log("loss", loss, prog_bar=True, on_step=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Loss above the least possible, and share of voiced frames within 50 cents of the target."""
        frames, targets = batch
        logits = self(frames)
        entropy = F.binary_cross_entropy(targets, targets)
        loss = F.binary_cross_entropy_with_logits(logits, targets) - entropy
        voiced = targets.amax(dim=1) > VOICED
        near = (logits.argmax(dim=1) - targets.argmax(dim=1)).abs() <= NEAR_BINS
        self.log("val_excess_loss", loss, prog_bar=True, batch_size=len(frames))
        # A batch without voiced frames says nothing about pitch.
        if voiced.any():
            accuracy = near[voiced].float().mean()
            self.log("val_within_50_cents", accuracy, prog_bar=True, batch_size=int(voiced.sum()))

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own annotation is a union of twelve forms
        """AdamW with a rising, constant and falling learning rate."""
        config = self.config
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.99)
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, config))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def rate_factor(step: int, config: FitConfig) -> float:
    """Learning rate of a step as a share of the highest one.

    It rises over the first steps, stays, and falls linearly to 1 % over the last ones, so that a run can be
    made longer from a checkpoint before the fall (Hu et al., "MiniCPM", 2024, section 4).
    """
    rising = (step + 1) / config.warmup_steps if step < config.warmup_steps else 1.0
    falling = (config.steps - step) / config.decay_steps if config.decay_steps else 1.0
    return min(rising, max(0.01, min(1.0, falling)))


def fit(
    network: Crepe,
    config: FitConfig,
    training: Batches,
    validation: list[tuple[Tensor, Tensor]],
    folder: Path,
    *,
    device: torch.device,
    progress: bool = True,
) -> None:
    """Train a network in place, going on from the folder's checkpoint if there is one.

    Args:
        network: What is trained.
        config: How.
        training: An endless stream of batches, at the place where the run goes on.
        validation: The same few batches each time.
        folder: Of the run.
        device: Where to train.
        progress: Whether to show a bar, and a line after each validation.

    Raises:
        ConfigError: If the checkpoint is of another network.
        KeyboardInterrupt: After Ctrl-C, once the checkpoint is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _quieten()
    module = Fit(network, config)
    checkpoint = ModelCheckpoint(
        dirpath=folder,
        filename="last",
        every_n_train_steps=config.check_every,
        save_on_exception=True,
        enable_version_counter=False,
    )
    trainer = lightning.Trainer(
        max_steps=config.steps,
        accelerator="cpu" if device.type == "cpu" else "auto",
        devices=1 if device.type == "cpu" or device.index is None else [device.index],
        gradient_clip_val=config.clip or None,
        val_check_interval=config.check_every,
        check_val_every_n_epoch=None,
        log_every_n_steps=10,
        callbacks=[checkpoint, *([_Report(config.steps)] if progress else [])],
        logger=[
            CSVLogger(folder, name="", version="", flush_logs_every_n_steps=50),
            TensorBoardLogger(folder, name="", version="tensorboard"),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    last = checkpoint_of(folder)
    try:
        trainer.fit(
            module,
            training,
            # A bare list would mean a data set for each of its batches.
            DataLoader(validation, batch_size=None),  # type: ignore[arg-type]  # a list is a data set
            ckpt_path=None if last is None else str(last),
            weights_only=True,
        )
    except SystemExit as error:
        # What Lightning makes of Ctrl-C.
        raise KeyboardInterrupt from error
    except RuntimeError as error:
        if "state_dict" not in str(error):
            raise
        raise ConfigError(
            "output-dir", f"{last}, of another network", "a folder of its own for each run"
        ) from error
    network.eval().requires_grad_(False)
    network.to("cpu")
    if (folder / "metrics.csv").is_file():
        plot_curves(folder / "metrics.csv", folder / "curves.png")


class _Report(lightning.Callback):
    """Progress as all commands show it: a bar on a terminal, lines in a log."""

    def __init__(self, steps: int) -> None:
        self._progress = Progress("training", steps, "steps")

    def on_train_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Count what an earlier run has done."""
        self._progress.advance(trainer.global_step)

    def on_train_batch_end(self, *_: object) -> None:
        """Count a step."""
        self._progress.advance(1)

    def on_validation_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Say how good the network is by now."""
        values = {key: float(value) for key, value in trainer.callback_metrics.items()}
        near = values.get("val_within_50_cents")
        share = "" if near is None else f", {near:.1%} of the voiced frames within 50 cents"
        print(
            f"step {trainer.global_step}: loss {values['loss']:.4f}, on other frames "
            f"{values['val_excess_loss']:.4f} above the least{share}",
            file=sys.stderr,
            flush=True,
        )


def checkpoint_of(folder: Path) -> Path | None:
    """The checkpoint that a run goes on from."""
    path = folder / "last.ckpt"
    return path if path.is_file() else None


def steps_done(folder: Path) -> int:
    """Optimizer steps that the folder's checkpoint has behind it, 0 without one."""
    path = checkpoint_of(folder)
    if path is None:
        return 0
    return int(torch.load(path, map_location="cpu", weights_only=True)["global_step"])


def plot_curves(metrics: Path, target: Path) -> None:
    """Draw what a run logged: loss above, validation below."""
    with metrics.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    panels = (
        ("loss", "training loss"),
        ("val_excess_loss", "loss above the least"),
        ("val_within_50_cents", "within 50 cents"),
    )
    with new_figure(target, width=8.0, height=7.0) as figure:
        axes = figure.subplots(len(panels), 1, sharex=True)
        for index, (axis, (key, label)) in enumerate(zip(axes, panels, strict=True)):
            points = np.array(
                [(float(row["step"]), float(row[key])) for row in rows if row.get(key)], dtype=np.float64
            ).reshape(-1, 2)
            axis.plot(points[:, 0], points[:, 1], color=PALETTE[index], linewidth=1.2)
            axis.set_ylabel(label)
            if len(points):
                axis.set_title(f"{label}: {points[-1, 1]:.4f} at the end", fontsize=9)
            if key != "val_within_50_cents":
                axis.set_yscale("log")
        axes[-1].set_xlabel("step")


def _quieten() -> None:
    """Keep Lightning's advertisements and advice out of the output; errors still come as exceptions."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
