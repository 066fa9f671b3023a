"""Tracks as pictures for the network, each a function of the seed, the epoch and the track alone.

Nothing is drawn from a global state: however the work is spread over processes, and wherever a run was
interrupted, the same epoch sees the same examples in the same order.
"""

import math
import signal
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from genre.augment import Variation, colour, draw_variation, mask, noise_power, vary_power
from genre.augment_waveform import vary_waveform
from genre.config import STEMS, AugmentConfig, FeatureConfig
from genre.features import Statistics, fit_frames, mel_power, standardise, to_decibels
from genre.layouts import Track
from genre.stem_archive import Samples

Example = tuple[Tensor, int]
# Draws of one seed that must not be the same: the order of the tracks and what is done to them.
_ORDER, _EXAMPLE = 0, 1
_FLOAT_BYTES = 4
_KEPT_BYTES = 2**29  # of mel spectrograms in memory: 200 tracks of 30 s at the default settings


class Stems(Protocol):
    """Where stems are read from; `genre.stem_cache.StemCache` is one."""

    def length(self, track: Track) -> int:
        """Samples of each stem."""
        ...

    def read(self, track: Track, start: int = 0, length: int | None = None) -> Samples:
        """A span of the stems, `[4, N]`."""
        ...

    def digest(self, track: Track) -> str:
        """What tells the recording from others, whatever its name."""
        ...


class Pictures(Dataset[Example]):
    """Standardised pictures before resizing, with the number of their genre.

    A key is a pair (epoch, index). Without augmentation the window is the middle of the track, whatever the
    epoch; with it, a window at random.

    A corpus whose mel spectrograms take half a gigabyte at most is kept in memory, unless pitch, tempo or
    time are varied: those need the waveform. Random windows then begin at a frame.

    Args:
        tracks: With labels.
        labels: Names of the genres, in the order of the outputs.
        stems: Where to read.
        features: The settings of the features.
        statistics: Of the training tracks.
        augment: What to vary; None for nothing.
        seed: Of everything that is drawn.

    Shape:
        - each picture: `[4, n_mels, frames]`
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        labels: Sequence[str],
        stems: Stems,
        features: FeatureConfig,
        statistics: Statistics,
        *,
        augment: AugmentConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.tracks = tuple(tracks)
        self.targets = tuple(labels.index(track.label or "") for track in tracks)
        self.stems, self.features, self.statistics = stems, features, statistics
        self.augment, self.seed = augment, seed
        self._of_target: dict[int, list[Track]] = {}
        for track, target in zip(self.tracks, self.targets, strict=True):
            self._of_target.setdefault(target, []).append(track)
        self._kept: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, key: tuple[int, int]) -> Example:
        epoch, index = key
        if self.augment is None:
            db = self._middle(self.tracks[index])
        else:
            rng = np.random.default_rng([self.seed, _EXAMPLE, epoch, index])
            db = self._varied(index, self.augment, rng)
        picture = standardise(fit_frames(db, self.features.frames), self.statistics)
        return picture, self.targets[index]

    def _varied(self, index: int, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
        features = self.features
        variation = draw_variation(config, features, rng)
        if self._is_kept and needs_no_waveform(config):
            power = self._mixed(index, config.swap_stems, rng)
            power[list(variation.dropped)] = 0
            if variation.noise:
                power += noise_power(power.shape, variation.noise, features, rng)
        else:
            power = self._from_waveform(index, config, variation, rng)
        db = fit_frames(to_decibels(colour(power, variation), features.reference), features.frames)
        return mask(db, variation, self.statistics)

    def _from_waveform(
        self, index: int, config: AugmentConfig, variation: Variation, rng: np.random.Generator
    ) -> Tensor:
        features = self.features
        # A faster tempo uses up more of the track.
        length = round(features.samples * variation.rate)
        stems = self._read_at_random(self.tracks[index], length, rng)
        for stem in np.flatnonzero(rng.random(len(STEMS)) < config.swap_stems):
            others = self._of_target[self.targets[index]]
            other = self._read_at_random(others[rng.integers(len(others))], length, rng)
            common = min(other.shape[1], stems.shape[1])
            stems[stem] = 0
            stems[stem, :common] = other[stem, :common]
        if config.augment_mode == "waveform":
            return mel_power(vary_waveform(stems, variation, rng), features)
        return vary_power(stems, variation, features, rng)

    def _read_at_random(self, track: Track, length: int, rng: np.random.Generator) -> Tensor:
        spare = max(0, self.stems.length(track) - length)
        start = int(rng.integers(spare + 1))
        return torch.from_numpy(self.stems.read(track, start, length))

    @cached_property
    def _is_kept(self) -> bool:
        # All tracks or none: what an example is must not depend on which ones came before.
        frames = sum(1 + self.stems.length(track) // self.features.hop_length for track in self.tracks)
        return len(STEMS) * self.features.n_mels * frames * _FLOAT_BYTES <= _KEPT_BYTES

    def _middle(self, track: Track) -> Tensor:
        if track.id in self._kept:
            return self._kept[track.id]
        db = middle_decibels(self.stems, track, self.features)
        if self._is_kept:
            self._kept[track.id] = db
        return db

    def _mixed(self, index: int, swap_stems: float, rng: np.random.Generator) -> Tensor:
        """Mel power of a window at random, with stems of other tracks of the genre."""
        power = self._window(self.tracks[index], rng).clone()
        for stem in np.flatnonzero(rng.random(len(STEMS)) < swap_stems):
            others = self._of_target[self.targets[index]]
            other = self._window(others[rng.integers(len(others))], rng)
            common = min(other.shape[-1], power.shape[-1])
            power[stem] = 0
            power[stem, :, :common] = other[stem, :, :common]
        return power

    def _window(self, track: Track, rng: np.random.Generator) -> Tensor:
        if track.id not in self._kept:
            self._kept[track.id] = mel_power(torch.from_numpy(self.stems.read(track)), self.features)
        power = self._kept[track.id]
        start = int(rng.integers(max(0, power.shape[-1] - self.features.frames) + 1))
        return power[..., start : start + self.features.frames]


def needs_no_waveform(config: AugmentConfig) -> bool:
    """Whether examples can be varied as mel spectrograms that are computed once."""
    return config.augment_mode == "mel" and not (
        config.augment_pitch_shift or config.augment_time_stretch or config.augment_time_shift
    )


def middle_decibels(stems: Stems, track: Track, features: FeatureConfig) -> Tensor:
    """The window in the middle of a track, in dB, padded if the track is shorter.

    Shape:
        - output: `[4, n_mels, frames]`
    """
    start = max(0, stems.length(track) - features.samples) // 2
    window = torch.from_numpy(stems.read(track, start, features.samples))
    return fit_frames(to_decibels(mel_power(window, features), features.reference), features.frames)


class Order:
    """Batches of keys: another order each epoch, the same for the same seed, and batches of equal size.

    Equal to within one track, that is: a last batch of one or two tracks would count as much as the others.

    Args:
        size: Number of tracks.
        batch_size: Tracks a batch at most.
        seed: Of the order.
        is_shuffled: Whether the order is drawn.
        rank: Number of this process among those that train together.
        world_size: How many those are.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        seed: int = 0,
        is_shuffled: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.size, self.batch_size, self.seed, self.is_shuffled = size, batch_size, seed, is_shuffled
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self._resumed = (-1, 0)

    def resume(self, epoch: int, batches: int) -> None:
        """Begin at an epoch, some batches of which are done."""
        self.epoch, self._resumed = epoch, (epoch, batches)

    def set_epoch(self, epoch: int) -> None:
        """Go to another epoch."""
        self.epoch = epoch

    @property
    def _share(self) -> int:
        return math.ceil(self.size / self.world_size)

    def __len__(self) -> int:
        return math.ceil(self._share / self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.arange(self.size)
        if self.is_shuffled:
            np.random.default_rng([self.seed, _ORDER, self.epoch]).shuffle(order)
        # Every process has the same number of tracks; a few are seen twice for it.
        mine = np.resize(order, self._share * self.world_size)[self.rank :: self.world_size]
        done = self._resumed[1] if self.epoch == self._resumed[0] else 0
        for batch in np.array_split(mine, len(self))[done:]:
            yield [(self.epoch, int(index)) for index in batch]


class Loader(DataLoader[Any]):
    """Loads the batches of an `Order`; to Lightning it can be resumed, since the order itself can be."""

    def __init__(
        self, dataset: Dataset[Any], order: Order, num_workers: int = 0, *, pin_memory: bool = False
    ) -> None:
        self.order = order
        super().__init__(
            dataset,
            batch_sampler=order,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=pin_memory,
            worker_init_fn=_ignore_interrupt if num_workers else None,
        )

    def state_dict(self) -> dict[str, int]:
        """Nothing: the training module keeps the place (`Order.resume`)."""
        return {}

    def load_state_dict(self, _: Mapping[str, int]) -> None:
        """See `state_dict`."""


def _ignore_interrupt(_: int) -> None:
    # Ctrl-C reaches the whole group of processes; the parent decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
