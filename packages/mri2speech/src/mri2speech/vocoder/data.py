"""Segments of mel and waveform for the vocoder's training.

Which segment of which recording comes when is a function of the seed, the epoch and the place in the epoch,
and of nothing else: a run that goes on from a checkpoint sees what it would have seen.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name
from torch.utils.data import DataLoader, Dataset, Sampler

import audio_io
from audio_io.atomic import write_text
from audio_io.errors import FileError
from mri2speech.arrays import read_array
from mri2speech.config import MEL_FLOOR
from mri2speech.features import mel_db, mel_log
from mri2speech.meta import Meta
from mri2speech.splits import Split
from mri2speech.vocoder.config import VocoderConfig, VocoderData

Batch = tuple[Tensor, Tensor]

# Natural logarithm of the amplitude of silence.
SILENCE = float(np.log(MEL_FLOOR) / 2)

# Frames by which a mel may be shorter or longer than its recording; with more they are of two recordings.
_TOLERANCE = 8


def read_filelist(path: str | Path) -> list[str]:
    """Names of the recordings of a file list, without `.wav`.

    Raises:
        FileError: If the file is missing or lists nothing.
    """
    wanted = "a list with one recording a line: NAME or NAME|text"
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise FileError(path, "no such file", wanted) from error
    except UnicodeDecodeError as error:
        raise FileError(path, "no text in UTF-8", wanted) from error
    names = [line.split("|")[0].strip().removesuffix(".wav") for line in lines if line.strip()]
    if not names:
        raise FileError(path, "nothing", wanted)
    return names


def write_filelists(data: str | Path, split: str | Path, folder: str | Path) -> tuple[Path, Path]:
    """File lists of the utterances that an acoustic model was trained and validated on.

    What is kept for its test is in neither: the vocoder that speaks it there has not heard it either.

    Args:
        data: What `mri2speech preprocess` wrote.
        split: The split.json of the acoustic model's training.
        folder: Where `training.txt` and `validation.txt` go.

    Raises:
        FileError: If a file cannot be used, or the split belongs to another data set.
        ConfigError: If the split is of windows that were dealt out one by one.
    """
    meta = Meta.load(data)
    parts = Split.load(split, meta).utterances(meta)
    paths = Path(folder) / "training.txt", Path(folder) / "validation.txt"
    for path, chosen in zip(paths, (parts.train, parts.validation), strict=True):
        write_text(path, "".join(f"{meta.samples[index].id}|\n" for index in chosen))
    return paths


def recordings(wavs: Path | None, data: Path | None) -> list[Path]:
    """The sound files of a folder, or those of a preprocessed data set's validation list.

    Raises:
        FileError: If there are none.
    """
    if data is not None:
        names = read_filelist(data / "hifigan_filelists" / "validation.txt")
        return [data / "wavs" / f"{name}.wav" for name in names]
    assert wavs is not None, "one of the two"
    found = audio_io.walk(wavs)
    if not found:
        raise FileError(wavs, "no sound file", "a folder of recordings")
    return found


def log_mel(waveform: Tensor, config: VocoderConfig) -> Tensor:
    """The mel that the generator takes, of a waveform.

    Shape:
        - waveform: `[..., N]`
        - output: `[..., num_mels, 1 + N // hop_size]`
    """
    return mel_log(mel_db(waveform, config.mel))


class Segments(Dataset[Batch]):
    """Recordings as segments by epoch and number, or whole.

    Args:
        names: Of the recordings.
        data: Where they are.
        config: Sizes and mel.

    Raises:
        FileError: If a recording is missing.
    """

    def __init__(self, names: list[str], data: VocoderData, config: VocoderConfig) -> None:
        self.names, self.data, self.config = names, data, config
        for name in names:
            if not self._path(name).is_file():
                raise FileError(self._path(name), "no such file", f"the recording {name} of the file list")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place: tuple[int, int]) -> Batch:
        """The segment of a recording in an epoch.

        Args:
            place: Epoch and index of the recording.

        Shape:
            - mel: `[num_mels, segment_frames]`
            - waveform: `[1, segment_size]`
        """
        epoch, index = place
        random = np.random.default_rng([self.config.seed, epoch, index])
        use_extra = random.random() < self.data.extra_mels_weight
        waveform = self._waveform(self.names[index])
        hop, count = self.config.hop_size, self.config.segment_frames
        mel = self._stored_mel(self.names[index], len(waveform), extra=use_extra)
        frames = len(waveform) // hop if mel is None else min(mel.shape[1], len(waveform) // hop)
        start = int(random.integers(max(frames - count, 0) + 1))
        mel = segment_mel(waveform, start, self.config) if mel is None else mel[:, start : start + count]
        segment = waveform[start * hop : (start + count) * hop]
        return (
            F.pad(mel, (0, count - mel.shape[1]), value=SILENCE),
            F.pad(segment, (0, self.config.segment_size - len(segment)))[None],
        )

    def whole(self, index: int) -> Batch:
        """A recording, and the mel that the generator shall make it from, cut to the same length.

        Shape:
            - mel: `[num_mels, T]`
            - waveform: `[1, T * hop_size]`
        """
        name, hop = self.names[index], self.config.hop_size
        waveform = self._waveform(name)
        mel = self._stored_mel(name, len(waveform), extra=False)
        mel = log_mel(waveform, self.config) if mel is None else mel
        frames = max(1, min(mel.shape[1], len(waveform) // hop))
        waveform = waveform[: frames * hop]
        return mel[:, :frames], F.pad(waveform, (0, frames * hop - len(waveform)))[None]

    def _path(self, name: str) -> Path:
        return self.data.wavs / f"{name}.wav"

    def _waveform(self, name: str) -> Tensor:
        waveform, _ = audio_io.load(self._path(name), sample_rate=self.config.sampling_rate, channels="mono")
        return waveform[0]

    def _stored_mel(self, name: str, samples: int, *, extra: bool) -> Tensor | None:
        folder = self.data.extra_mels if extra and self.data.extra_mels is not None else self.data.mels
        if folder is None:
            return None
        path = folder / f"{name}.npy"
        mel = read_mel(path, self.config.num_mels)
        expected = samples // self.config.hop_size + 1
        if abs(mel.shape[1] - expected) > _TOLERANCE:
            raise FileError(path, f"{mel.shape[1]} frames", f"about {expected}, the length of {name}.wav")
        return mel


def segment_mel(waveform: Tensor, start: int, config: VocoderConfig) -> Tensor:
    """Frames `start` to `start + segment_frames` of a recording's mel, without computing the others.

    Shape:
        - waveform: `[N]`
        - output: `[num_mels, T]` with T at most `segment_frames`
    """
    hop = config.hop_size
    # Frames whose window reaches over the cut, and one sample of pre-emphasis.
    margin = -(-(config.n_fft // 2 + 1) // hop)
    first = max(start - margin, 0)
    part = waveform[first * hop : (start + config.segment_frames + margin) * hop]
    mel = log_mel(part, config)[:, start - first :]
    return mel[:, : min(config.segment_frames, len(waveform) // hop + 1 - start)]


def read_mel(path: str | Path, n_mels: int) -> Tensor:
    """A mel as `.npy`, `[n_mels, T]` or `[1, n_mels, T]`, in natural logarithm of the amplitude.

    Raises:
        FileError: If it is missing, of another shape, or not finite.
    """
    wanted = f"float numbers of shape [{n_mels}, T]"
    mel = read_array(path, wanted)
    if mel.ndim == 3 and mel.shape[0] == 1:
        mel = mel[0]
    if mel.ndim != 2 or mel.shape[0] != n_mels or mel.shape[1] == 0 or mel.dtype.kind != "f":
        raise FileError(path, f"{mel.dtype} of shape {list(mel.shape)}", wanted)
    if not np.isfinite(mel).all():
        raise FileError(path, "NaN or infinity", wanted)
    return torch.from_numpy(np.ascontiguousarray(mel, dtype=np.float32))


class Places(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) of one epoch, from a batch on; the incomplete last one is left out.

    Args:
        count: Recordings.
        config: Batch size and seed.
        epoch: Which epoch.
        batch: Batches of it to skip.
    """

    def __init__(self, count: int, config: VocoderConfig, epoch: int, batch: int) -> None:
        self.count, self.config, self.epoch, self.batch = count, config, epoch, batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.config.seed, self.epoch]).permutation(self.count)
        size = self._size
        for batch in range(self.batch, self.count // size):
            yield [(self.epoch, int(index)) for index in order[batch * size : (batch + 1) * size]]

    def __len__(self) -> int:
        return max(self.count // self._size - self.batch, 0)

    @property
    def _size(self) -> int:
        # Fewer recordings than a batch are all of it.
        return min(self.config.batch_size, self.count)


def batches(segments: Segments, epoch: int, batch: int, num_workers: int) -> DataLoader[Batch]:
    """The batches of an epoch from one of them on.

    Shape:
        - mel: `[B, num_mels, segment_frames]`
        - waveform: `[B, 1, segment_size]`
    """
    places = Places(len(segments), segments.config, epoch, batch)
    return DataLoader(
        segments, batch_sampler=places, num_workers=num_workers, pin_memory=torch.cuda.is_available()
    )
