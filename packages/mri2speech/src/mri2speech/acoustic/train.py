"""Training of the acoustic model, on one device or many, with Lightning Fabric.

A run lives in a folder: `best.pt` (the model with the lowest validation loss), `last.ckpt` (all that is
needed to go on), `metrics.csv`, `curves.png`, `split.json`, and TensorBoard events in `logs`. A run that goes
on from its checkpoint computes what it would have computed uninterrupted: the order of the data and the
dropout depend on the seed and the step alone, and checkpoints are made between optimizer steps only.
"""

import contextlib
import logging
import math
import signal
import threading
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from torch import Tensor

from audio_io.atomic import atomic_path
from audio_io.cli import seed_everything
from audio_io.errors import ConfigError, FileError
from audio_io.progress import Progress
from mri2speech.acoustic import checkpoint
from mri2speech.acoustic.config import BANDS, AcousticConfig, FitConfig, LossConfig
from mri2speech.acoustic.data import Items, Order, epoch_of, lengths_of, loader, open_data
from mri2speech.acoustic.loss import MaskedMSEMAE, Terms
from mri2speech.acoustic.model import AcousticModel
from mri2speech.acoustic.record import Record, append_metrics, plot_curves, require_same, write_metrics
from mri2speech.dataset import Batch
from mri2speech.features import Scaler

LOG_STEPS = 20


def fit(
    data: str | Path,
    output_dir: str | Path,
    config: FitConfig = FitConfig(),  # noqa: B008 - frozen
    *,
    architecture: AcousticConfig = AcousticConfig(),  # noqa: B008 - frozen
    loss: LossConfig = LossConfig(),  # noqa: B008 - frozen
    out_ckpt: str | Path | None = None,
    device: torch.device | None = None,
    pretrained: bool = False,
    backbone_weights: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Train a model on a preprocessed data set, going on from the folder's checkpoint if there is one.

    Args:
        data: Folder that `mri2speech preprocess` wrote.
        output_dir: Folder of the run.
        config: How to train.
        architecture: What to train.
        loss: What is minimised.
        out_ckpt: Where to write the best model; `best.pt` in the folder of the run if None.
        device: Where to train; the CPU if None.
        pretrained: Start the CNN from timm's ImageNet weights.
        backbone_weights: Start it from this file of timm's weights.
        progress: Whether to show a bar, and a line after each epoch.

    Returns:
        The file of the best model.

    Raises:
        ConfigError: If a setting does not fit the data, or the run in the folder had others.
        FileError: If the data set or a file in the folder cannot be used.
        KeyboardInterrupt: After Ctrl-C, once the checkpoint is written.
    """
    training, validation, scaler, parts = open_data(data, config, architecture.image_size)
    if scaler.mel.n_mels != architecture.n_mels:
        raise ConfigError("n_mels", architecture.n_mels, f"{scaler.mel.n_mels}, as in {data}")
    folder = Path(output_dir)
    fabric = _fabric(config, device or torch.device("cpu"), folder)
    seed_everything(config.seed)
    model = AcousticModel(architecture, pretrained=pretrained, backbone_weights=backbone_weights)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(fabric, model, config, loss, scaler, training, validation, folder)
    run.best = Path(out_ckpt) if out_ckpt is not None else folder / "best.pt"
    # The scaler too: data that were made anew with other mels have the same names and lengths.
    mels = {f"mel {name}": value for name, value in asdict(scaler.mel).items()}
    settings = {**asdict(architecture), **asdict(loss), **asdict(config), "data": parts.data, **mels}
    run.resume({**settings, "scaler mean": scaler.mean, "scaler std": scaler.std})
    if fabric.is_global_zero:
        # Not before, so that the split of a run of other settings is left alone.
        parts.save(folder / "split.json")
    try:
        run.go(progress=progress and fabric.is_global_zero)
    finally:
        if fabric.is_global_zero:
            plot_curves(folder / "curves.png", run.record.history)
    if fabric.is_global_zero and not run.best.is_file():
        wanted = f"the best model of the run in {folder}, which is where --out-ckpt said when it was best"
        raise FileError(run.best, "no such file", wanted)
    if progress and fabric.is_global_zero:
        print(f"wrote {run.best}, {folder / 'curves.png'}", flush=True)
    return run.best


class _Run:
    """A training run: its state, and the loop over steps and epochs."""

    def __init__(
        self,
        fabric: Fabric,
        model: AcousticModel,
        config: FitConfig,
        loss: LossConfig,
        scaler: Scaler,
        training: Items,
        validation: Items,
        folder: Path,
    ) -> None:
        self.fabric, self.config, self.scaler, self.folder = fabric, config, scaler, folder
        self.training, self.validation = training, validation
        self.best = folder / "best.pt"
        self.settings: dict[str, Any] = {}
        self.network = model
        model.checkpoint_segments = config.ckpt_segments if config.use_checkpoint else 0
        self.loss = MaskedMSEMAE(loss, model.config.n_mels).to(fabric.device)
        # Kept beside Fabric's wrapper, which holds copies of what the optimizer replaces when it is loaded.
        self.adamw = torch.optim.AdamW(
            model.parameters(),
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            eps=config.epsilon,
            weight_decay=config.weight_decay,
        )
        self.model, self.optimizer = fabric.setup(model, self.adamw)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.adamw, factor=config.lr_factor, patience=config.lr_patience, min_lr=config.min_lr
        )
        self.record = Record()
        # Of record.sums, on the device, so that no step has to wait for it.
        self.sums = torch.zeros(1 + len(BANDS), device=fabric.device, dtype=torch.float64)
        self.steps = len(epoch_of(self._count, config, 0, world=fabric.world_size))

    def resume(self, settings: dict[str, Any]) -> None:
        """Take up the state of the folder's checkpoint, if there is one, and of the same settings."""
        self.settings = settings
        last = self.folder / "last.ckpt"
        if last.is_file():
            try:
                stored = self.fabric.load(last, weights_only=True)
                require_same(stored["settings"], settings, self.folder)
                self.network.load_state_dict(stored["model"])
                self.adamw.load_state_dict(stored["optimizer"])
                self.plateau.load_state_dict(stored["plateau"])
                self.record.load_state_dict(stored["record"])
                self.sums[:] = torch.tensor(self.record.sums, dtype=torch.float64)
            except ConfigError:
                raise
            except Exception as error:
                # What torch raises for a damaged file is anything.
                wanted = "a checkpoint of this run; remove the file to begin again"
                raise FileError(last, "a file that cannot be read", wanted) from error
        if self.fabric.is_global_zero:
            write_metrics(self.folder / "metrics.csv", self.record.history)

    def go(self, *, progress: bool) -> None:
        """Train until there is a reason to stop."""
        record, config, fabric = self.record, self.config, self.fabric
        order = Order(self._count, config, record.step, fabric.global_rank, fabric.world_size)
        batches = iter(loader(self.training, order, config))
        bars = Progress("training", None, "steps") if progress else contextlib.nullcontext()
        with _Interrupts() as interrupts, bars as bar:
            while (reason := record.reason_to_stop(config, self._learning_rate)) is None:
                self._step(batches)
                if bar is not None:
                    bar.advance(1)
                epoch_done = record.step % self.steps == 0
                if epoch_done:
                    self._end_epoch(progress=progress)
                stop = self._any(interrupts.asked)
                if epoch_done or stop or record.step % config.save_every == 0:
                    self._save()
                if stop:
                    raise KeyboardInterrupt
        if progress:
            print(f"stopped after {len(record.history)} epochs: {reason}", flush=True)

    @property
    def _count(self) -> int:
        return len(self.training)  # type: ignore[arg-type]  # both kinds of items have a length

    @property
    def _learning_rate(self) -> float:
        return float(self.adamw.param_groups[0]["lr"])

    def _step(self, batches: Iterator[Batch]) -> None:
        """One optimizer step over its micro-batches."""
        record, fabric = self.record, self.fabric
        self.model.train()
        epoch, number = divmod(record.step, self.steps)
        plan = epoch_of(self._count, self.config, epoch, rank=fabric.global_rank, world=fabric.world_size)[
            number
        ]
        # So that dropout depends on the step alone.
        torch.manual_seed((self.config.seed << 32) + record.step * fabric.world_size + fabric.global_rank)
        size = sum(map(len, plan))
        sums = torch.zeros_like(self.sums)
        for index, micro in enumerate(plan):
            with fabric.no_backward_sync(self.model, enabled=index < len(plan) - 1):
                terms = self._terms(next(batches), record.step)
                fabric.backward(terms.total * (len(micro) / size))
            sums += torch.stack([terms.total.detach(), *terms.bands.values()]) * (len(micro) / size)
        if self.config.clip:
            fabric.clip_gradients(
                self.model, self.optimizer, max_norm=self.config.clip, error_if_nonfinite=False
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        record.step += 1
        self.sums += sums
        if record.step % LOG_STEPS == 0:
            fabric.log("loss/step", sums[0].item(), record.step)

    def _terms(self, batch: Batch, step: int | None) -> Terms:
        lengths = lengths_of(batch)
        moved: dict[str, Tensor] = self.fabric.to_device(batch)
        predicted = self.model(moved["mri"], lengths)
        terms: Terms = self.loss(predicted, moved["mel"], moved["mask"], step)
        return terms

    def _end_epoch(self, *, progress: bool) -> None:
        """Validate, log, keep the model if it is the best, lower the learning rate if it is time."""
        record, fabric = self.record, self.fabric
        used = self._learning_rate
        trained = (self._added(self.sums) / (self.steps * fabric.world_size)).tolist()
        self.sums.zero_()
        if not math.isfinite(trained[0]):
            found = f"a loss of {trained[0]} in epoch {len(record.history) + 1}"
            raise ConfigError(
                "learning_rate", f"{self.config.learning_rate}, which gave {found}", "a lower one"
            )
        measured = self._validate()
        row = {"epoch": float(len(record.history) + 1), "step": float(record.step), "lr": used}
        for part, values in (("train", trained), ("val", measured)):
            row[f"loss/{part}"] = values[0]
            for (name, _, _), value in zip(BANDS, values[1:], strict=True):
                row[f"band/{part}_{name}"] = value * self.scaler.std
        improved = record.add(row)
        self.plateau.step(row["loss/val"])
        fabric.log_dict(row, record.step)
        if not fabric.is_global_zero:
            return
        append_metrics(self.folder / "metrics.csv", row)
        if improved:
            checkpoint.save(self.best, self.network, self.scaler)
        if progress:
            bands = ", ".join(f"{name} {row[f'band/val_{name}']:.2f}" for name, _, _ in BANDS)
            print(
                f"epoch {len(record.history)}: loss {row['loss/train']:.4f}, validation {row['loss/val']:.4f}"
                f"{' (best)' if improved else ''}, error in dB: {bands}, lr {used:g}",
                flush=True,
            )

    @torch.no_grad()
    def _validate(self) -> list[float]:
        """Loss with the target weights, and error of each band, over the validation items."""
        self.model.eval()
        count = len(self.validation)  # type: ignore[arg-type]  # see _count
        mine = range(count)[self.fabric.global_rank :: self.fabric.world_size]
        size = self.config.micro_batch
        order = [list(mine[i : i + size]) for i in range(0, len(mine), size)]
        sums = torch.zeros(2 + len(BANDS), device=self.fabric.device, dtype=torch.float64)
        for batch in loader(self.validation, order, self.config):
            terms = self._terms(batch, None)
            frames = batch["mask"].sum().item()
            values = torch.stack([torch.ones_like(terms.total), terms.total, *terms.bands.values()])
            sums += values * frames
        total = self._added(sums)
        mean: list[float] = (total[1:] / total[0]).tolist()
        return mean

    def _save(self) -> None:
        """Write `last.ckpt`; every process takes part, the first one writes."""
        target = self.folder / "last.ckpt"
        self.record.sums = self.sums.tolist()
        state: dict[str, Any] = {
            "settings": self.settings,
            "model": self.network.state_dict(),
            "optimizer": self.adamw.state_dict(),
            "plateau": self.plateau.state_dict(),
            "record": self.record.state_dict(),
        }
        first = self.fabric.is_global_zero
        with atomic_path(target) if first else contextlib.nullcontext(target) as path:
            self.fabric.save(path, state)

    def _any(self, asked: bool) -> bool:
        """Whether any of the processes was asked; all of them have to stop at the same step."""
        if self.fabric.world_size == 1:
            return asked
        return self._added(torch.tensor(float(asked), device=self.fabric.device)).item() > 0

    def _added(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        total = self.fabric.all_reduce(values, reduce_op="sum")
        assert isinstance(total, Tensor)
        return total


class _Interrupts:
    """Within it, a first Ctrl-C is noted for the end of the step, and a second one interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> "_Interrupts":
        # Only the main thread may set handlers; elsewhere Ctrl-C stays as it is.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            signal.default_int_handler(number, frame)
        self.asked = True


def _fabric(config: FitConfig, device: torch.device, folder: Path) -> Fabric:
    precision: str = config.precision
    if precision == "auto":
        precision = "fp32"
        if device.type == "cuda":
            precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision", "fp16 on a CPU", "fp32, or bf16")
    # Its advice (number of workers, a logger that is missing) is not for users of this command.
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index] if ":" in str(device) else config.devices,
        num_nodes=config.nodes,
        strategy=config.strategy,
        precision={"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[precision],  # type: ignore[arg-type]
        loggers=TensorBoardLogger(folder, name="logs", version=""),
    )
    fabric.launch()
    return fabric
