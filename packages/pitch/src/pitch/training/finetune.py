"""Fine-tuning on recordings with labelled pitch.

Reference:
    Targets as CREPE was trained with: a Gaussian of 25 cents standard deviation around the true pitch (Kim
    et al., ICASSP 2018, equation 3).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name
from torch.utils.data import DataLoader, IterableDataset

from audio_io.atomic import file_digest, write_json
from audio_io.errors import ConfigError
from audio_io.progress import Progress
from pitch.constants import CENTS_PER_BIN, FIRST_BIN_CENTS, PITCH_BINS, REFERENCE_HZ, SAMPLE_RATE, WINDOW_SIZE
from pitch.core import normalize_frames
from pitch.evaluate.examples import Example
from pitch.training.config import FinetuneConfig
from pitch.training.fit import fit, steps_done
from pitch.training.material import disturb, noise_frames, unit_power
from pitch.weights import load_model, save_weights

TARGET_CENTS = 25.0  # standard deviation
VALIDATION_BATCHES = 16


def finetune(
    config: FinetuneConfig,
    folder: str | Path,
    examples: Sequence[Example],
    *,
    start: str | Path | None = None,
    device: torch.device | None = None,
    progress: bool = True,
) -> Path:
    """Adapt a network to labelled recordings; an interrupted run goes on where it stopped.

    Args:
        config: How.
        folder: Of the run; see `pitch.training.fit`.
        examples: From `pitch.evaluate.load_dataset`, at least two; some are kept for validation, whole.
        start: Weights to start from, if not the capacity's own.
        device: Where to train; the CPU if None.
        progress: Whether to show it.

    Returns:
        The weights, `<model>.pth` in the folder.

    Raises:
        ConfigError: If there are fewer than two recordings with pitch.
        AudioError: If a recording cannot be used.
    """
    folder = Path(folder)
    if len(examples) < 2:
        raise ConfigError(
            "dataset", f"{len(examples)} recordings", "at least 2, one to train on and one to validate"
        )
    order = np.random.default_rng(config.seed).permutation(len(examples))
    kept = max(1, round(len(examples) * config.validation_share))
    with Progress("reading recordings", len(examples), "files") as bar:
        held_out = LabelledPitch([examples[i] for i in order[:kept]], config, first=0, progress=bar)
        known = LabelledPitch(
            [examples[i] for i in order[kept:]], config, first=steps_done(folder), progress=bar
        )
    network = load_model(config.model, weights=start)
    training = DataLoader(known, batch_size=None)
    validation = list(held_out.in_order(VALIDATION_BATCHES))
    fit(
        network,
        config,
        training,
        validation,
        folder,
        device=torch.device("cpu") if device is None else device,
        progress=progress,
    )
    target = folder / f"{config.model}.pth"
    save_weights(network, target)
    write_json(
        folder / "finetune.json",
        {
            "settings": dataclasses.asdict(config),
            "validation": [examples[i].name for i in order[:kept]],
            "steps": steps_done(folder),
            "sha256": file_digest(target),
        },
    )
    return target


class LabelledPitch(IterableDataset[tuple[Tensor, Tensor]]):
    """An endless stream of frames at labelled times with their targets.

    Args:
        examples: What is read, once, into memory.
        config: Batch size, seed, noise, and whether unvoiced frames count.
        first: Index of the first batch; each depends on the seed and its index alone.
        progress: Advanced by one a recording.

    Shape:
        - Output: `[N, 1024]` and `[N, 360]`

    Raises:
        ConfigError: If no frame has a pitch within the network's range.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        config: FinetuneConfig,
        *,
        first: int,
        progress: Progress | None = None,
    ) -> None:
        self.config, self.first = config, first
        waveforms, starts, pitches, offset = [], [], [], 0
        for example in examples:
            samples = F.pad(example.audio()[0], (WINDOW_SIZE // 2, WINDOW_SIZE // 2)).numpy()
            if example.truth is not None:
                truth = example.truth()
                centres = np.rint(truth.times * SAMPLE_RATE).astype(np.int64)
                inside = (centres >= 0) & (centres + WINDOW_SIZE <= len(samples))
                starts.append(centres[inside] + offset)
                pitches.append(truth.frequency[inside])
            waveforms.append(samples)
            offset += len(samples)
            if progress is not None:
                progress.advance(1)
        self.samples = np.concatenate(waveforms)
        frequency = np.concatenate([*pitches, np.zeros(0)])
        start = np.concatenate([*starts, np.zeros(0, dtype=np.int64)])
        cents = 1200 * np.log2(np.maximum(frequency, 1e-3) / REFERENCE_HZ)
        in_range = (cents >= FIRST_BIN_CENTS) & (cents <= FIRST_BIN_CENTS + (PITCH_BINS - 1) * CENTS_PER_BIN)
        if not in_range.any():
            names = ", ".join(example.name for example in examples[:3])
            raise ConfigError(
                "dataset", f"no pitch within the network's range in {names}", "labelled recordings"
            )
        usable = in_range | ((frequency == 0) & config.unvoiced)
        self.starts, self.cents = start[usable], np.where(in_range, cents, np.nan)[usable]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        index = self.first
        while True:
            rng = np.random.default_rng([self.config.seed, index])
            rows = rng.integers(0, len(self.starts), self.config.batch_size)
            frames = unit_power(self._frames(rows))
            if self.config.noise:
                frames = disturb(frames, noise_frames(len(frames), rng), rng)
            yield normalize_frames(torch.from_numpy(frames)), pitch_targets(self.cents[rows])
            index += 1

    def in_order(self, batches: int) -> Iterator[tuple[Tensor, Tensor]]:
        """At most so many batches, spread evenly over the frames and as recorded."""
        count = min(batches * self.config.batch_size, len(self.starts))
        rows = np.linspace(0, len(self.starts) - 1, count).astype(np.int64)
        for first in range(0, count, self.config.batch_size):
            some = rows[first : first + self.config.batch_size]
            yield normalize_frames(torch.from_numpy(self._frames(some))), pitch_targets(self.cents[some])

    def _frames(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        places = self.starts[rows][:, None] + np.arange(WINDOW_SIZE)[None]
        frames: npt.NDArray[np.float32] = self.samples[places].astype(np.float32)
        return frames


def pitch_targets(cents: npt.NDArray[np.float64]) -> Tensor:
    """Gaussians of 25 cents around true pitches; nothing for NaN, which is no pitch.

    Args:
        cents: Above 10 Hz.

    Shape:
        - cents: `[N]`
        - Output: `[N, 360]`, from 0 to 1
    """
    bins = FIRST_BIN_CENTS + CENTS_PER_BIN * np.arange(PITCH_BINS)
    distance = (bins[None] - cents[:, None]) / TARGET_CENTS
    return torch.from_numpy(np.nan_to_num(np.exp(-0.5 * distance**2))).float()
