"""Frames with the teacher's posteriors, made as training goes on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from pitch.capacities import CapacityName
from pitch.config import PrecisionName, TrackConfig
from pitch.core import normalize_frames
from pitch.engine import Engine
from pitch.training.material import disturb, harmonic_frames, noise_frames, unit_power
from pitch.training.recordings import Recordings

# Share of frames that hold nothing but noise, and of those over which another source is laid.
NOISE_ONLY = 0.04
MIXED = 0.12


class LabelledFrames(IterableDataset[tuple[Tensor, Tensor]]):
    """An endless stream of batches: generated and recorded frames with the teacher's answers.

    Worker k of K gives the batches k, k + K, …; batch i depends on the seed and on i alone, so a run can go
    on where it stopped.

    Args:
        teacher: Capacity of the teacher.
        teacher_weights: Its weight file, if not its own.
        precision: Arithmetic of its layers.
        recordings: Drawn from besides generated sounds; None for generated sounds alone.
        recorded_share: Share of recorded frames, from 0 to 1.
        batch_size: N.
        seed: Of everything that is drawn.
        first_batch: Index of the first batch to give.

    Shape:
        - Output: `[N, 1024]` and `[N, 360]`
    """

    def __init__(
        self,
        teacher: CapacityName,
        *,
        teacher_weights: str | Path | None = None,
        precision: PrecisionName = "float32",
        recordings: Recordings | None = None,
        recorded_share: float = 0.5,
        batch_size: int = 256,
        seed: int = 0,
        first_batch: int = 0,
    ) -> None:
        self.teacher = TrackConfig(model=teacher, precision=precision, batch_size=batch_size)
        self.teacher_weights = teacher_weights
        self.recordings, self.recorded_share = recordings, recorded_share
        self.batch_size, self.seed, self.first_batch = batch_size, seed, first_batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        index, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        if worker is not None:
            torch.set_num_threads(1)
        label = Engine(self.teacher, weights=self.teacher_weights)
        batch = self.first_batch + index
        while True:
            frames = self.draw(batch)
            yield frames, label(frames).clone()
            batch += step

    def draw(self, batch: int) -> Tensor:
        """The frames of one batch, of zero mean and unit variance, `[N, 1024]`."""
        rng = np.random.default_rng([self.seed, batch])
        return normalize_frames(
            torch.from_numpy(draw_frames(self.batch_size, rng, self.recordings, self.recorded_share))
        )


def measuring_frames(count: int, seed: int, recordings: Recordings | None = None) -> Tensor:
    """Frames to measure activations on, of zero mean and unit variance, `[N, 1024]`."""
    rng = np.random.default_rng([seed, 2**31])
    return normalize_frames(torch.from_numpy(draw_frames(count, rng, recordings, 0.5)))


def draw_frames(
    count: int, rng: np.random.Generator, recordings: Recordings | None, recorded_share: float
) -> npt.NDArray[np.float32]:
    """Frames of every kind, in random order, through random rooms and noise.

    Shape:
        - Output: `[N, 1024]`
    """
    recorded = 0 if recordings is None else round(count * recorded_share)
    frames = harmonic_frames(count - recorded, rng)
    noise = noise_frames(count, rng)
    if recordings is not None:
        frames = np.concatenate([unit_power(recordings.frames(recorded, rng)), frames])
        # Other sounds disturb in another way than noise does.
        babble = rng.random(count) < 0.25
        noise[babble] = unit_power(recordings.frames(int(babble.sum()), rng))
    order = rng.permutation(count)
    frames = frames[order]
    under = frames[rng.permutation(count)] * 10 ** (-rng.uniform(6, 40, (count, 1)) / 20)
    frames = np.where(rng.random((count, 1)) < MIXED, frames + under, frames).astype(np.float32)
    frames[rng.random(count) < NOISE_ONLY] = 0.0
    return disturb(frames, noise, rng)
