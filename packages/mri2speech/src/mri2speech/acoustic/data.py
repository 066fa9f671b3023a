"""What a training run reads, in an order that depends on nothing but the seed and the step."""

import signal
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

from audio_io.errors import ConfigError
from mri2speech.acoustic.config import FitConfig
from mri2speech.dataset import Batch, FixedLenPairDataset, Item, SequenceDataset, collate_pad
from mri2speech.features import Scaler
from mri2speech.splits import Split, split

Items = Dataset[Item]
# Optimizer steps, of micro-batches, of the numbers of items.
Epoch = list[list[list[int]]]


class Pieces(Dataset[Item]):
    """Utterances of a data set cut into pieces of nearly equal length.

    Args:
        utterances: The data set.
        chosen: Numbers of the utterances.
        max_frames: Longest piece.
    """

    def __init__(self, utterances: SequenceDataset, chosen: Sequence[int], max_frames: int) -> None:
        self._utterances = utterances
        self._pieces: list[tuple[int, int, int]] = []
        for number in chosen:
            frames = utterances.meta.samples[number].frames
            count = -(-frames // max_frames)
            edges = [frames * piece // count for piece in range(count + 1)]
            self._pieces += [(number, *pair) for pair in pairwise(edges)]

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, index: int) -> Item:
        number, start, end = self._pieces[index]
        return self._utterances.piece(number, slice(start, end), index)


def open_data(
    folder: str | Path, config: FitConfig, image_size: int | None = None
) -> tuple[Items, Items, Scaler, Split]:
    """Items for training and for validation, the scaler, and how the data set was divided.

    Args:
        folder: The data set.
        config: How it is read and divided.
        image_size: What frames are averaged to; their own size if None.

    Raises:
        FileError: If the folder is no preprocessed data set.
        ConfigError: If it is too small to be divided.
    """
    if config.mode == "windows":
        windows = FixedLenPairDataset(folder, image_size=image_size)
        parts = split(windows.meta, config.split, seed=config.seed, unit="windows")
        training: Sequence[Items] = [Subset(windows, chosen) for chosen in (parts.train, parts.validation)]
        scaler = windows.scaler
    else:
        whole = SequenceDataset(folder, image_size=image_size)
        parts = split(whole.meta, config.split, seed=config.seed, unit="utterances")
        training = [Pieces(whole, chosen, config.max_frames) for chosen in (parts.train, parts.validation)]
        scaler = whole.scaler
    for name, chosen in (("training", parts.train), ("validation", parts.validation)):
        if not chosen:
            raise ConfigError("data", f"{folder} with no {parts.unit} left for {name}", "a larger data set")
    return training[0], training[1], scaler, parts


def epoch_of(count: int, config: FitConfig, epoch: int, *, rank: int = 0, world: int = 1) -> Epoch:
    """The order of one epoch, as one of `world` processes sees it.

    Each optimizer step takes `batch_size` items, whatever the number of processes, in micro-batches. The last
    step of an epoch takes what is left; with several processes, as many as give each the same number.
    """
    generator = torch.Generator().manual_seed(config.seed + epoch)
    order = torch.randperm(count, generator=generator).tolist()
    steps = []
    for start in range(0, count, config.batch_size):
        batch = order[start : start + config.batch_size]
        share = batch[: len(batch) // world * world][rank::world]
        if share:
            steps.append(
                [share[i : i + config.micro_batch] for i in range(0, len(share), config.micro_batch)]
            )
    if not steps:
        raise ConfigError("devices", f"{world} for {count} items", "at most one for each")
    return steps


class Order(Sampler[list[int]]):
    """Micro-batches from one step on, epoch after epoch without end.

    Args:
        count: Items.
        config: Sizes and seed.
        step: Optimizer step to begin with.
        rank: Number of this process.
        world: Processes.
    """

    def __init__(self, count: int, config: FitConfig, step: int, rank: int, world: int) -> None:
        self._count, self._config, self._step = count, config, step
        self._rank, self._world = rank, world

    def __iter__(self) -> Iterator[list[int]]:
        steps = len(epoch_of(self._count, self._config, 0, world=self._world))
        epoch, done = divmod(self._step, steps)
        while True:
            for batch in self._epoch(epoch)[done:]:
                yield from batch
            epoch, done = epoch + 1, 0

    def _epoch(self, epoch: int) -> Epoch:
        return epoch_of(self._count, self._config, epoch, rank=self._rank, world=self._world)


def loader(items: Items, order: Sampler[list[int]] | list[list[int]], config: FitConfig) -> DataLoader[Batch]:
    """Batches of the items in an order, read ahead by worker processes."""
    return DataLoader(
        items,  # type: ignore[arg-type]  # the type parameter is that of batches, which mypy cannot know
        batch_sampler=order,
        num_workers=config.workers,
        prefetch_factor=config.prefetch if config.workers else None,
        pin_memory=config.pin_memory and torch.cuda.is_available(),
        collate_fn=collate_pad,
        # Of its own, so that reading draws nothing from the state that dropout draws from.
        generator=torch.Generator(),
        worker_init_fn=_ignore_interrupt,
    )


def _ignore_interrupt(_: int) -> None:
    """Leave Ctrl-C, which reaches every process, to the training process, which may need another batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def lengths_of(batch: Batch) -> Tensor | None:
    """Frames of each item, or None if none is padded.

    Shape:
        - output: int64 `[B]`
    """
    mask = batch["mask"]
    return None if bool(mask.all()) else mask.sum(dim=1)
