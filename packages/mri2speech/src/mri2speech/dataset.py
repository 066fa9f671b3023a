"""The preprocessed data set as torch reads it, without copying a frame before it enters a batch.

`mri.npy` of each sample is mapped into memory; an item is a slice of it, so the four windows that a frame is
in share its one copy in the page cache, and so do all worker processes. For a model that averages frames to
a smaller size, the data set averages them itself, and keeps what becomes of them if it is small.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from audio_io.errors import ConfigError, FileError
from mri2speech.arrays import read_array
from mri2speech.config import MelConfig
from mri2speech.features import Scaler
from mri2speech.meta import META_NAME, SCALER_NAME, Meta, sample_folder, windows


class Item(TypedDict):
    """A window or an utterance: `mask` is true where a frame is real, `index` is the number of the item.

    Shape:
        - mri: float32 `[T, H, W]`, 0 to 1
        - mel: float32 `[T, n_mels]`, normalised
        - mask: bool `[T]`
    """

    mri: Tensor
    mel: Tensor
    mask: Tensor
    index: int


class Batch(TypedDict):
    """Items padded with 0 to the longest; see `Item`.

    Shape:
        - mri: `[B, T, H, W]`
        - mel: `[B, T, n_mels]`
        - mask: `[B, T]`
        - index: int64 `[B]`
    """

    mri: Tensor
    mel: Tensor
    mask: Tensor
    index: Tensor


# Bytes of averaged frames that a process keeps at most; each worker has its own.
KEPT = 1 << 29


class _Samples:
    """The arrays of a data set, opened when they are first used, in each process for itself."""

    def __init__(self, folder: Path, meta: Meta, scaler: Scaler, image_size: int | None) -> None:
        self.folder, self.meta, self.scaler = folder, meta, scaler
        self.factor = 1
        if image_size is not None:
            if meta.image_size % image_size:
                raise ConfigError("image_size", image_size, f"a divisor of {meta.image_size}, as in {folder}")
            self.factor = meta.image_size // image_size
        frames = sum(sample.frames for sample in meta.samples)
        self.is_kept = self.factor > 1 and 4 * frames * (meta.image_size // self.factor) ** 2 <= KEPT
        self._opened: dict[int, tuple[Tensor, Tensor]] = {}
        self._averaged: dict[int, Tensor] = {}

    def __getstate__(self) -> dict[str, object]:
        # A mapped array would be sent to a worker process as a copy.
        return {**self.__dict__, "_opened": {}, "_averaged": {}}

    def frames(self, number: int, part: slice) -> Tensor:
        """Frames of a sample, float32 `[T, h, w]`; if float32 and whole, the mapped ones."""
        if not self.is_kept:
            return self._read(number, part)
        if number not in self._averaged:
            self._averaged[number] = self._read(number, slice(None))
        return self._averaged[number][part]

    def _read(self, number: int, part: slice) -> Tensor:
        frames = self[number][0][part].float()
        if self.factor > 1:
            frames = functional.avg_pool2d(frames, self.factor)
        if not frames.sum().isfinite():
            path = sample_folder(self.folder, self.meta.samples[number].id) / "mri.npy"
            raise FileError(path, "NaN or infinity", "values from 0 to 1")
        return frames

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Frames [T, H, W], mapped, and normalised mels [T, n_mels] of a sample."""
        if number not in self._opened:
            sample = self.meta.samples[number]
            place = sample_folder(self.folder, sample.id)
            size = self.meta.image_size
            mri = _load(place / "mri.npy", (sample.frames, size, size), mapped=True)
            mels = _load(place / "mel_db.npy", (sample.frames, self.meta.mel.n_mels), mapped=False)
            if not np.isfinite(mels).all():
                raise FileError(place / "mel_db.npy", "NaN or infinity", "finite values in dB")
            normalised = self.scaler.normalise(torch.from_numpy(mels).float())
            self._opened[number] = torch.from_numpy(mri), normalised
        return self._opened[number]


class _PreprocessedDataset(Dataset[Item]):
    """What the two data sets share."""

    def __init__(
        self,
        folder: str | Path,
        mel: MelConfig | None = None,
        scaler: Scaler | None = None,
        image_size: int | None = None,
    ) -> None:
        place = Path(folder)
        self.meta = Meta.load(place)
        if mel is not None and (differs := self.meta.mel.difference(mel)):
            raise FileError(place / META_NAME, f"mels of {differs[0]}", differs[1])
        # A scaler of other mel settings would shift every band unnoticed.
        self.scaler = scaler or Scaler.load(place / SCALER_NAME, expected=self.meta.mel)
        self._samples = _Samples(place, self.meta, self.scaler, image_size)

    def piece(self, number: int, frames: slice, index: int) -> Item:
        """Frames of a sample, as an item of this number."""
        _, mel = self._samples[number]
        window = self._samples.frames(number, frames)
        mask = torch.ones(len(window), dtype=torch.bool)
        return {"mri": window, "mel": mel[frames], "mask": mask, "index": index}


class FixedLenPairDataset(_PreprocessedDataset):
    """Windows of `ref_frames` frames: a frame and those before it, with their mels.

    A sample of T frames has `T - ref_frames + 1` windows. The frames of an item lie in mapped memory (float32
    samples): what is written into them is not written to the file.

    Args:
        folder: Of the data set.
        ref_frames: Frames R in a window; by default what the data set was made for.
        mel: Mel settings that the data set must have been made with.
        scaler: Instead of the data set's own, as when a model is trained on.
        image_size: Height and width to which frames are averaged; their own if None.

    Raises:
        FileError: If a file is missing or damaged, or of other mel settings.
        ConfigError: If `ref_frames` is less than 1, or `image_size` no divisor of the frames' size.

    Shape:
        - item: see `Item`, with `T = ref_frames`
    """

    def __init__(
        self,
        folder: str | Path,
        ref_frames: int | None = None,
        *,
        mel: MelConfig | None = None,
        scaler: Scaler | None = None,
        image_size: int | None = None,
    ) -> None:
        super().__init__(folder, mel, scaler, image_size)
        self.ref_frames = self.meta.ref_frames if ref_frames is None else ref_frames
        if self.ref_frames < 1:
            raise ConfigError("ref_frames", self.ref_frames, "at least 1")
        counts = windows([sample.frames for sample in self.meta.samples], self.ref_frames)
        self._ends = list(accumulate(counts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._ends, index)
        start = index - (self._ends[number - 1] if number else 0)
        return self.piece(number, slice(start, start + self.ref_frames), index)


class SequenceDataset(_PreprocessedDataset):
    """Whole utterances, in the order of `meta.json`; for the arguments see `FixedLenPairDataset`.

    Shape:
        - item: see `Item`, with T frames of the utterance
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        mel: MelConfig | None = None,
        scaler: Scaler | None = None,
        image_size: int | None = None,
    ) -> None:
        super().__init__(folder, mel, scaler, image_size)

    def __len__(self) -> int:
        return len(self.meta.samples)

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.piece(index, slice(None), index)


def collate_pad(items: Sequence[Item]) -> Batch:
    """Items of any lengths as one batch, padded with 0 at the end; the one copy of the frames."""
    return {
        "mri": pad_sequence([item["mri"] for item in items], batch_first=True),
        "mel": pad_sequence([item["mel"] for item in items], batch_first=True),
        "mask": pad_sequence([item["mask"] for item in items], batch_first=True),
        "index": torch.tensor([item["index"] for item in items]),
    }


def _load(path: Path, shape: tuple[int, ...], *, mapped: bool) -> npt.NDArray[np.float32]:
    wanted = f"an array {list(shape)} as preprocess writes it"
    array = read_array(path, wanted, mapped=mapped)
    if array.shape != shape or array.dtype not in (np.float32, np.float16):
        raise FileError(path, f"an array {list(array.shape)} of {array.dtype}", wanted)
    return np.asarray(array)
