"""Which windows or utterances are for training, for validation and for the test."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Literal

import torch
from torch.utils.data import Dataset, random_split

from audio_io.atomic import fingerprint, write_json
from audio_io.errors import ConfigError, FileError
from mri2speech.meta import Meta, windows

By = Literal["random", "speaker", "utterance"]
Unit = Literal["windows", "utterances"]
FRACTIONS = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class Split:
    """Three disjoint sets of indices into a data set, and what they belong to.

    Attributes:
        train: Indices for training.
        validation: Indices for early stopping and the choice of a model.
        test: Indices that no choice has seen.
        by: What was kept together.
        unit: What an index counts: items of `FixedLenPairDataset` or of `SequenceDataset`.
        seed: Of the shuffle.
        data: Fingerprint of the data set.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    by: str
    unit: str
    seed: int
    data: str

    def save(self, path: str | Path) -> None:
        """Write the split as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path, meta: Meta | None = None) -> "Split":
        """Read a split.

        Args:
            path: Of the file.
            meta: Of the data set that it must belong to.

        Raises:
            FileError: If the file is missing or damaged, or the split belongs to another data set.
        """
        wanted = "a split that mri2speech has written"
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
            parts = {name: tuple(map(int, stored[name])) for name in ("train", "validation", "test")}
            result = cls(
                **parts,
                by=str(stored["by"]),
                unit=str(stored["unit"]),
                seed=int(stored["seed"]),
                data=str(stored["data"]),
            )
        except FileNotFoundError as error:
            raise FileError(path, "no such file", wanted) from error
        except (ValueError, KeyError, TypeError) as error:
            raise FileError(path, f"no split ({error!r})", wanted) from error
        if meta is not None and not result.belongs_to(meta):
            raise FileError(path, "a split of another data set", f"one of its {len(meta.samples)} samples")
        return result

    def belongs_to(self, meta: Meta) -> bool:
        """Whether the indices are of this data set."""
        return self.data == _fingerprint(meta)

    def utterances(self, meta: Meta) -> "Split":
        """The same parts, of utterances.

        Args:
            meta: Of the data set. Utterances that are shorter than a window are in no part.

        Raises:
            ConfigError: If windows were dealt out one by one, so that utterances are on several sides.
        """
        if self.unit == "utterances":
            return self
        if self.by == "random":
            found = "one of single windows, whose utterances are on several sides"
            raise ConfigError("split", found, "one by utterance or speaker (train --split utterance)")
        ends = list(accumulate(windows([sample.frames for sample in meta.samples], meta.ref_frames)))
        train, validation, test = (
            tuple(sorted({bisect_right(ends, index) for index in part}))
            for part in (self.train, self.validation, self.test)
        )
        return replace(self, train=train, validation=validation, test=test, unit="utterances")


def split(
    meta: Meta,
    by: By = "random",
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 42,
    *,
    unit: Unit = "windows",
) -> Split:
    """Divide a data set; the same arguments give the same parts.

    `random` is the brief's: windows are dealt out one by one (`torch.utils.data.random_split`), so nearly
    every frame of the validation set is also in a window of the training set. `utterance` and `speaker` keep
    all windows of an utterance or a speaker on one side; only they tell how the model does on unseen speech.

    Args:
        meta: Of the data set.
        by: What is kept together.
        fractions: Of training, validation and test; of the groups, if there are any.
        seed: Of the shuffle.
        unit: What the indices count; see `Split`.

    Raises:
        ConfigError: If the fractions are no three that add up to 1, or there are fewer groups than parts.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError("fractions", tuple(fractions), "three from 0 to 1 that add up to 1")
    generator = torch.Generator().manual_seed(seed)
    frames = [sample.frames for sample in meta.samples]
    counts = windows(frames, meta.ref_frames) if unit == "windows" else [1] * len(frames)
    if by == "random":
        items: Dataset[int] = _Numbers(sum(counts))
        chosen = random_split(items, list(fractions), generator)
        parts = [tuple(subset.indices) for subset in chosen]
    else:
        ends = list(accumulate(counts))
        keys = [sample.speaker if by == "speaker" else sample.id for sample in meta.samples]
        groups = _deal(sorted(set(keys)), fractions, generator, by)
        parts = [
            tuple(
                index
                for key, count, end in zip(keys, counts, ends, strict=True)
                if key in group
                for index in range(end - count, end)
            )
            for group in groups
        ]
    train, validation, test = parts
    return Split(train, validation, test, by=by, unit=unit, seed=seed, data=_fingerprint(meta))


class _Numbers(Dataset[int]):
    """As many items as there are, for `random_split`."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count


def _deal(
    groups: list[str], fractions: Sequence[float], generator: torch.Generator, by: str
) -> list[set[str]]:
    """Groups for each part: at least one where its fraction is above 0, the rest by the fractions."""
    least = [int(fraction > 0) for fraction in fractions]
    if len(groups) < sum(least):
        found = f"{len(groups)} of them in the data set"
        raise ConfigError(f"split by {by}", found, f"at least {sum(least)}, one for each part")
    sizes = [max(low, int(fraction * len(groups))) for low, fraction in zip(least, fractions, strict=True)]
    while (rest := len(groups) - sum(sizes)) != 0:
        # The part that is furthest from its share; one must never lose its only group.
        distance = [fraction * len(groups) - size for fraction, size in zip(fractions, sizes, strict=True)]
        if rest > 0:
            sizes[max(range(3), key=distance.__getitem__)] += 1
        else:
            sizes[
                min((part for part in range(3) if sizes[part] > least[part]), key=distance.__getitem__)
            ] -= 1
    order = [groups[index] for index in torch.randperm(len(groups), generator=generator).tolist()]
    ends = list(accumulate(sizes))
    return [set(order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def _fingerprint(meta: Meta) -> str:
    return fingerprint([meta.ref_frames, [(s.id, s.speaker, s.frames) for s in meta.samples]])
