"""What the utterances of a training say by themselves: their mean, and how formants are read off a mel."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from audio_io import load
from mri2speech.arrays import read_array
from mri2speech.evaluate.reader import FEWEST, FormantReader
from mri2speech.evaluate.truth import truth_of
from mri2speech.meta import Meta, sample_folder
from mri2speech.splits import Split

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Baseline:
    """The mean answer, and the reader of formants.

    Attributes:
        mel: Mean mel in dB, `[n_mels]`.
        formants: Mean F1 to F3 in Hz where they can be heard, `[3]`; NaN if nowhere.
        reader: Fitted on the same frames; None without true formants, or with too few.
    """

    mel: Floats
    formants: Floats
    reader: FormantReader | None


def learn(data: str | Path, *, split: str | Path | None = None, truth: str | Path | None = None) -> Baseline:
    """The baseline of a data set.

    Args:
        data: What `mri2speech preprocess` wrote.
        split: The split.json of a training, whose training part is taken; without it all utterances.
        truth: Folder `truth` of a phantom, for true formants; without it those of the recordings.

    Raises:
        FileError: If a file cannot be used.
        ConfigError: If the split is of windows that were dealt out one by one.
    """
    root, meta = Path(data), Meta.load(data)
    chosen = range(len(meta.samples)) if split is None else Split.load(split, meta).utterances(meta).train
    mels, clear, values = [], [], []
    for index in chosen:
        sample = meta.samples[index]
        mel = read_array(sample_folder(root, sample.id) / "mel_db.npy", "mels in dB")
        waveform, _ = load(root / "wavs" / f"{sample.id}.wav", sample_rate=meta.mel.sample_rate)
        known = truth_of(truth, sample, waveform[0], torch.from_numpy(mel).T, meta.mel)
        mels.append(mel)
        clear.append(mel[known.clear])
        values.append(known.formants[known.clear])
    found, heard = np.concatenate(values), np.concatenate(clear)
    mean = np.nanmean(found, axis=0) if len(found) else np.full(3, np.nan)
    known_enough = truth is not None and len(found) >= FEWEST
    reader = FormantReader.fit(heard, found) if known_enough else None
    return Baseline(np.concatenate(mels).mean(axis=0), mean, reader)
