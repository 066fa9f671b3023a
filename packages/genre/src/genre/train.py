"""Training with Lightning, in a folder that holds all that the run needs to go on.

`checkpoint.pth` is the state after the last epoch, or after the step at which Ctrl-C stopped the run;
`best_model.pth` (`genre.checkpoint`) is what prediction reads. `run.json` says what the run is of;
`metrics.csv`, `curves.png`, `train_log.txt` and `tensorboard/` say how it went. A run that was interrupted,
killed even, and then resumed ends on a CPU with the same weights as one that was not: every step is a
function of the seed and its place.
"""

import contextlib
import dataclasses
import json
import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from audio_io.atomic import write_json
from audio_io.cli import pick_device, seed_everything
from audio_io.errors import ConfigError, FileError
from audio_io.progress import Progress
from genre.batch_size import find_batch_size
from genre.checkpoint import Checkpoint
from genre.config import AugmentConfig, FeatureConfig
from genre.dataset import Pictures, Stems, middle_decibels
from genre.features import Statistics, measure_statistics
from genre.frozen import FrozenFeatures, cache_frozen
from genre.layouts import Track
from genre.model import GenreNet, build_network
from genre.run_config import RunConfig, Settings
from genre.train_callbacks import BEST, CHECKPOINT, LOG, Keeper, Log, Row, best_epoch, is_exhausted
from genre.train_module import Fit

RUN = "run.json"
# What may change from one part of a run to the next.
_FREE = {
    "epochs", "patience", "num_workers", "load_optimizer_state", "load_scheduler_state",
    "separation_cache_dir",
}  # fmt: skip


@dataclass(frozen=True)
class FitResult:
    """What `fit` made.

    Attributes:
        best: The checkpoint of the best epoch.
        accuracy: On the validation tracks in that epoch.
        loss: Likewise.
        history: A row for each epoch.
    """

    best: Path
    accuracy: float
    loss: float
    history: tuple[Row, ...]


def fit(
    training: Sequence[Track],
    validation: Sequence[Track],
    labels: Sequence[str],
    stems: Stems,
    out: str | Path,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    *,
    run: RunConfig = RunConfig(),  # noqa: B008 - frozen
    device: str = "auto",
) -> FitResult:
    """Train a network, or go on with the run of a folder.

    Args:
        training: Tracks to learn from, with labels.
        validation: Tracks that choose the best epoch.
        labels: Names of the genres, in the order of the outputs.
        stems: Where the stems are, mostly a filled `genre.stem_cache.StemCache`.
        out: Folder of the run.
        settings: What the result depends on.
        run: What it does not depend on.
        device: See `audio_io.cli.pick_device`.

    Raises:
        ConfigError: If a setting cannot be used, or the folder holds a run with other settings.
        PretrainedWeightsError: If the ImageNet weights cannot be had.
        FileError: If a file cannot be used.
        KeyboardInterrupt: After Ctrl-C, once the state is kept.
    """
    check_labels(labels)
    for name, tracks in (("training", training), ("validation", validation)):
        if not tracks:
            raise ConfigError("tracks", f"none for {name}", "at least two of each genre")
    folder, where = Path(out), pick_device(device)
    folder.mkdir(parents=True, exist_ok=True)
    log = Log(folder / LOG)
    earlier = _earlier_state(folder) if run.resume else None
    description = _describe(settings, training, validation, labels, stems)
    statistics = _recall_statistics(folder, description) if earlier else None
    if statistics is None:
        log.say(f"measuring {len(training)} tracks")
        statistics = _measure(training, stems, settings.features)
        _begin(folder, {**description, "statistics": dataclasses.asdict(statistics)})

    config = settings.train
    keeper_state = earlier["callbacks"]["Keeper"] if earlier else {}
    history: list[Row] = keeper_state.get("history", [])
    epoch, batches = keeper_state.get("position", (0, 0))
    if epoch >= config.epochs or is_exhausted(history, config):
        log.say(f"the run is complete after {len(history)} epochs")
        return _result(folder, history)

    seed_everything(config.seed)
    network = GenreNet(config, len(labels)) if earlier else build_network(config, len(labels))
    if earlier:
        weights = {k.removeprefix("network."): v for k, v in earlier["state_dict"].items()}
        network.load_state_dict(weights)
        log.say(f"going on after {batches} batches of epoch {epoch + 1}")
    elif config.weights == "none" and config.frozen_stages:
        log.say(
            f"note: the {config.frozen_stages} frozen stages keep random weights (weights none); "
            "--frozen-stages 0 trains all"
        )
    _quieten()

    def pictures(tracks: Sequence[Track], augment: AugmentConfig | None) -> Pictures:
        return Pictures(
            tracks, labels, stems, settings.features, statistics, augment=augment, seed=config.seed
        )

    is_augmented = settings.augment.augment_mode != "none"
    sets: list[Pictures | FrozenFeatures] = [
        pictures(training, settings.augment if is_augmented else None),
        pictures(validation, None),
    ]
    batch_size = config.batch_size or find_batch_size(network, settings, len(labels), where)
    if config.batch_size == 0:
        log.say(f"batch size {batch_size}")
    if run.cache_frozen and config.frozen_stages:
        for index in (1,) if is_augmented else (0, 1):
            plain = sets[index]
            assert isinstance(plain, Pictures)
            sets[index] = cache_frozen(network, plain, folder / "frozen", where, min(batch_size, 8))

    module = Fit(network, config, settings.features, sets[0], sets[1], batch_size)
    module.resumed_at = (epoch, batches)
    base = Checkpoint(
        features=settings.features,
        separation=settings.separation,
        train=config,
        labels=tuple(labels),
        statistics=statistics,
        state={},
        training=tuple(track.id for track in training),
        validation=tuple(track.id for track in validation),
        digests={track.id: stems.digest(track) for track in (*training, *validation)},
    )
    keeper = Keeper(folder, base, config, log)
    if earlier and not config.load_scheduler_state:
        keeper.first_epoch = epoch
    trainer = lightning.Trainer(
        max_epochs=config.epochs,
        accelerator={"cuda": "gpu"}.get(where.type, where.type),
        devices=[where.index or 0] if where.type == "cuda" and run.devices == 1 else run.devices,
        num_nodes=run.nodes,
        strategy=run.strategy,
        precision="16-mixed" if config.use_amp and where.type == "cuda" else "32-true",
        callbacks=[keeper],
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        log_every_n_steps=10,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    if not trainer.is_global_zero:
        keeper.journal = None
    with _interruptible(keeper, log):
        trainer.fit(module, ckpt_path=str(folder / CHECKPOINT) if earlier else None, weights_only=True)
    return _result(folder, keeper.history)


def check_labels(labels: Sequence[str]) -> None:
    """Refuse a corpus in which there is nothing to choose from.

    Raises:
        ConfigError: If there is one genre only.
    """
    if len(labels) < 2:
        raise ConfigError("labels", f"one genre, {', '.join(labels)}", "at least two to tell apart")


def check_learnable(training: Sequence[Track], labels: Sequence[str]) -> None:
    """Refuse to train on tracks that lack a genre: scores of the others would look better than they are.

    Raises:
        ConfigError: If a genre has no track.
    """
    learnt = {track.label for track in training}
    if missing := [label for label in labels if label not in learnt]:
        raise ConfigError("tracks", f"none of {missing[0]!r} to learn from", "at least two of each genre")


def _describe(
    settings: Settings,
    training: Sequence[Track],
    validation: Sequence[Track],
    labels: Sequence[str],
    stems: Stems,
) -> dict[str, Any]:
    return {
        **dataclasses.asdict(settings),
        "labels": list(labels),
        "training": [track.id for track in training],
        "validation": [track.id for track in validation],
        "recordings": [stems.digest(track) for track in (*training, *validation)],
    }


def _begin(folder: Path, description: Mapping[str, Any]) -> None:
    """Write what a new run is of; the state of an earlier one in the folder is not of that."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
    write_json(folder / RUN, description)


def check_settings(folder: str | Path, settings: Settings) -> None:
    """Refuse a folder with a run of other settings, whatever its tracks.

    Args:
        folder: Of the run; there may be none yet.
        settings: What the result depends on.

    Raises:
        ConfigError: If the run has other settings; it names the first of them.
        FileError: If its description cannot be read.
    """
    if (Path(folder) / CHECKPOINT).is_file():
        _recall_statistics(Path(folder), dataclasses.asdict(settings))


def _recall_statistics(folder: Path, description: Mapping[str, Any]) -> Statistics:
    """What was measured when the run began.

    Raises:
        ConfigError: If the run was of other tracks or settings.
        FileError: If the file cannot be read.
    """
    path = folder / RUN
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        statistics = Statistics(**{key: tuple(value) for key, value in known["statistics"].items()})
        # Runs of before recordings were described go on.
        known.setdefault("recordings", description.get("recordings"))
        tables = {name: type(value)(known[name]) for name, value in description.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(path, "no description of the run", "that of the checkpoint beside it") from error
    expected = "the settings of the run in the folder, or a folder of its own for each run"
    for table, value in description.items():
        if isinstance(value, dict):
            for name, entry in value.items():
                if name not in _FREE and tables[table].get(name) != entry:
                    raise ConfigError(name, f"{entry}, but {path} has {tables[table].get(name)}", expected)
        elif tables[table] != value:
            raise ConfigError(table, f"others than {path} has", expected)
    return statistics


def _earlier_state(folder: Path) -> dict[str, Any] | None:
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if "Keeper" in state["callbacks"]:
            return cast("dict[str, Any]", state)
    except Exception as error:  # the kinds that a damaged file raises are many
        raise FileError(path, f"a file that cannot be read ({error})", "a checkpoint of genre") from error
    raise FileError(path, "a checkpoint of another program", "one of genre, or an empty folder")


def _measure(tracks: Sequence[Track], stems: Stems, features: FeatureConfig) -> Statistics:
    with Progress("measure", len(tracks), "tracks") as progress:

        def pictures() -> Iterator[Tensor]:
            for track in tracks:
                yield middle_decibels(stems, track, features)
                progress.advance(1)

        return measure_statistics(pictures())


def _result(folder: Path, history: Sequence[Row]) -> FitResult:
    best = history[best_epoch(history)]
    return FitResult(folder / BEST, best["val_accuracy"], best["val_loss"], tuple(history))


@contextlib.contextmanager
def _interruptible(keeper: Keeper, log: Log) -> Iterator[None]:
    """Let Ctrl-C stop after the step at work, and a second one at once."""

    def stop(*_: object) -> None:
        if keeper.is_stop_wanted:
            raise KeyboardInterrupt
        keeper.is_stop_wanted = True
        log.say(
            "stopping after this step; Ctrl-C again stops at once and loses what follows the last checkpoint"
        )

    is_main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGINT, stop) if is_main else None
    try:
        yield
    except SystemExit as error:
        # What Lightning makes of Ctrl-C.
        raise KeyboardInterrupt from error
    finally:
        if is_main:
            signal.signal(signal.SIGINT, previous)


def _quieten() -> None:
    """Keep Lightning's advertisements and advice out of the output; errors still come as exceptions."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
