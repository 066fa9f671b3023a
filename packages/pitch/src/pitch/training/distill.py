"""Distillation: a student learns the posteriors of a teacher.

Reference:
    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015; here each pitch bin is a probability
    of its own, so the loss is the binary cross-entropy to the teacher's.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from audio_io.atomic import file_digest, write_json
from audio_io.progress import Progress
from pitch.model import Crepe
from pitch.training.config import DistillConfig, PruneConfig
from pitch.training.fit import checkpoint_of, fit, steps_done
from pitch.training.labelled import LabelledFrames, measuring_frames
from pitch.training.prune import prune
from pitch.training.recordings import Recordings, find_recordings
from pitch.weights import load_model, save_weights

# Labelled batches that are kept to be drawn from again, about 1 GB in half precision at 256 frames.
KEPT_BATCHES = 1200
VALIDATION_BATCHES = 8


def distill(
    config: DistillConfig,
    folder: str | Path,
    *,
    audio: Sequence[str | Path] = (),
    start: str | Path | None = None,
    teacher_weights: str | Path | None = None,
    device: torch.device | None = None,
    progress: bool = True,
) -> Path:
    """Train a student; an interrupted run goes on where it stopped when called again.

    Args:
        config: How.
        folder: Of the run; see `pitch.training.fit`.
        audio: Recordings to learn from besides generated sounds, and folders of them.
        start: Weights to start from; without them the teacher is pruned.
        teacher_weights: Weights of the teacher, if not its own.
        device: Where to train; the CPU if None.
        progress: Whether to show it.

    Returns:
        The student's weights, `<student>.pth` in the folder.

    Raises:
        ConfigError: If a setting cannot be used or there is no readable recording.
        WeightsNotFoundError: If the teacher's weights are not here.
    """
    folder = Path(folder)
    device = torch.device("cpu") if device is None else device
    recordings = _read(audio) if audio else None
    torch.manual_seed(config.seed)
    if checkpoint_of(folder) is not None:
        network = Crepe(config.student)
    elif start is not None:
        network = load_model(config.student, weights=start)
    else:
        teacher = load_model(config.teacher, weights=teacher_weights)
        measured = measuring_frames(PruneConfig().frames, config.seed, recordings)
        network = prune(teacher, config.student, frames=measured).network

    def labelled(seed: int, first: int) -> LabelledFrames:
        return LabelledFrames(
            config.teacher,
            teacher_weights=teacher_weights,
            precision=config.precision,
            recordings=recordings,
            recorded_share=config.recorded_share,
            batch_size=config.batch_size,
            seed=seed,
            first_batch=first,
        )

    fresh = DataLoader(
        labelled(config.seed, steps_done(folder) // config.reuse),
        batch_size=None,
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
    )
    # Another seed than training's: these frames are never trained on.
    held_out = iter(labelled(config.seed + 1_000_003, 0))
    validation = [next(held_out) for _ in range(VALIDATION_BATCHES)]
    training = DataLoader(Reused(fresh, config.reuse, config.seed), batch_size=None)
    fit(network, config, training, validation, folder, device=device, progress=progress)
    target = folder / f"{config.student}.pth"
    save_weights(network, target)
    record = {
        "settings": dataclasses.asdict(config),
        "hours_of_recordings": None if recordings is None else round(recordings.seconds / 3600, 2),
        "steps": steps_done(folder),
        "sha256": file_digest(target),
    }
    write_json(folder / "distill.json", record)
    return target


class Reused(IterableDataset[tuple[Tensor, Tensor]]):
    """Each labelled batch as it is, and then mixed with earlier ones as often as asked.

    Labelling costs more than a training step, and one look at a frame does not exhaust it.

    Args:
        fresh: Labelled batches.
        reuse: Batches given for each of them.
        seed: Of the mixing.
    """

    def __init__(self, fresh: DataLoader[tuple[Tensor, Tensor]], reuse: int, seed: int) -> None:
        self._fresh, self._reuse, self._seed = fresh, reuse, seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng(self._seed)
        kept: list[tuple[Tensor, Tensor]] = []
        for frames, targets in self._fresh:
            yield frames, targets
            if self._reuse == 1:
                continue
            kept.append((frames.half(), targets.half()))
            del kept[:-KEPT_BATCHES]
            for _ in range(self._reuse - 1):
                yield self._mixed(kept, len(frames), rng)

    @staticmethod
    def _mixed(
        kept: list[tuple[Tensor, Tensor]], count: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        sources = np.sort(rng.integers(0, len(kept), count))
        chosen, counts = np.unique(sources, return_counts=True)
        frames, targets = [], []
        for index, share in zip(chosen.tolist(), counts.tolist(), strict=True):
            rows = torch.from_numpy(rng.integers(0, len(kept[index][0]), share))
            frames.append(kept[index][0][rows])
            targets.append(kept[index][1][rows])
        return torch.cat(frames).float(), torch.cat(targets).float()


def _read(audio: Sequence[str | Path]) -> Recordings:
    with Progress("reading recordings", len(find_recordings(audio)), "files") as progress:
        return Recordings(audio, progress=progress)
