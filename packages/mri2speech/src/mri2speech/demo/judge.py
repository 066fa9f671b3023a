"""Does the speech say what the tube did? Formants of synthesised speech against the phantom's truth.

Counted are voiced frames that can be heard: those within `AUDIBLE_DB` of the utterance's loudest frame. The
truth are the resonances of the tube from glottis to lips. Where the nose is open or the lips are closed, the
sound has others; vowels, where it has the same, are also counted by themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import audio_io
from audio_io.progress import Progress
from mri2speech.acoustic.model import AcousticModel
from mri2speech.dataset import SequenceDataset
from mri2speech.demo import formants
from mri2speech.demo.voice import Voice
from mri2speech.features import Scaler
from mri2speech.meta import Sample, sample_folder
from mri2speech.phantom.phones import VOWELS
from mri2speech.phantom.writer import load_truth

Hertz = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

AUDIBLE_DB = 30.0
# Where formants are found: in the recording, which shows what the method can do; in the synthesised speech;
# in the mel that the speech is made of. `mean` is the guess that is always the training utterances' mean.
SOURCES = ("recording", "speech", "mel", "mean")


@dataclass(frozen=True)
class Truth:
    """What is known of the frames of a sample.

    Shape:
        - formants: `[T, 2]` in Hz
        - voiced, vowels: `[T]`
    """

    formants: Hertz
    voiced: Mask
    vowels: Mask


@dataclass(frozen=True)
class Baseline:
    """Means over the training utterances: F1 and F2 of voiced frames in Hz, `[2]`; mel in dB, `[n_mels]`."""

    formants: Hertz
    mel: Tensor


@dataclass(frozen=True)
class Spoken:
    """An utterance as the model speaks it.

    Shape:
        - frames: `[T, H, W]`, mapped
        - mel, true_mel: `[n_mels, T]` in dB; mean_mel, the baseline's: `[n_mels, 1]`
        - speech, recording: `[N]`
        - each of found: `[T, 2]` in Hz, NaN where not voiced
    """

    sample: Sample
    truth: Truth
    frames: Tensor
    mel: Tensor
    true_mel: Tensor
    speech: Tensor
    recording: Tensor
    found: dict[str, Hertz]
    mean_mel: Tensor


def read_truth(corpus: Path, data: Path, sample: Sample) -> Truth:
    """The truth of a sample of the preprocessed phantom.

    Raises:
        FileError: If the corpus has none.
    """
    stored = load_truth(corpus / "truth" / f"{sample.id}.npz")
    first = sample.alignment.first_mel
    part = slice(first, first + sample.frames)
    f0, resonances, phones = (stored[key][part] for key in ("f0", "formants", "phones"))
    loudest = np.load(sample_folder(data, sample.id) / "mel_db.npy", allow_pickle=False).max(axis=1)
    voiced = (f0 > 0) & (loudest > loudest.max() - AUDIBLE_DB)
    return Truth(np.asarray(resonances[:, :2], dtype=np.float64), voiced, voiced & np.isin(phones, VOWELS))


def baseline(corpus: Path, data: Path, chosen: Sequence[int]) -> Baseline:
    """The guess that is always the mean of some utterances."""
    utterances = SequenceDataset(data)
    truths = [read_truth(corpus, data, utterances.meta.samples[number]) for number in chosen]
    resonances = np.concatenate([truth.formants[truth.voiced] for truth in truths])
    mels = torch.cat([utterances[number]["mel"] for number in chosen])
    return Baseline(resonances.mean(axis=0), utterances.scaler.denormalise(mels.mean(dim=0)))


def speak(
    corpus: Path,
    data: Path,
    chosen: Sequence[int],
    model: AcousticModel,
    scaler: Scaler,
    voice: Voice,
    mean: Baseline,
) -> list[Spoken]:
    """Let the model speak some utterances and find their formants.

    Args:
        corpus: Of the phantom.
        data: What was preprocessed of it.
        chosen: Numbers of the utterances.
        model: In evaluation mode.
        scaler: The model's.
        voice: The vocoder.
        mean: The baseline.
    """
    utterances = SequenceDataset(data, scaler=scaler)
    config = utterances.meta.mel
    spoken = []
    with Progress("speaking", len(chosen), "utterances") as progress:
        for number in chosen:
            sample, item = utterances.meta.samples[number], utterances[number]
            with torch.no_grad():
                mel = scaler.denormalise(model(item["mri"][None])[0]).T.contiguous()
            truth = read_truth(corpus, data, sample)
            recording = audio_io.load(data / "wavs" / f"{sample.id}.wav")[0][0]
            speech = voice(mel)
            found = {
                "recording": formants.of_waveform(recording.numpy(), truth.voiced, config),
                "speech": formants.of_waveform(speech.numpy(), truth.voiced, config),
                "mel": formants.of_mel(mel, truth.voiced, config),
                "mean": np.broadcast_to(mean.formants, truth.formants.shape),
            }
            true_mel = scaler.denormalise(item["mel"]).T
            spoken.append(
                Spoken(sample, truth, item["mri"], mel, true_mel, speech, recording, found, mean.mel[:, None])
            )
            progress.advance(1)
    return spoken


def summary(spoken: Sequence[Spoken]) -> dict[str, float]:
    """Root mean square errors in Hz: `speech/vowels/F1` and so on, for `SOURCES`, `vowels` and all `voiced`.

    Also `frames/vowels` and `frames/voiced`, how many were counted; `mel_mae_db`, the mean absolute error of
    the mel over all frames and bands, and `mean_mel_mae_db`, that of the baseline.
    """
    result: dict[str, float] = {}
    kinds: dict[str, Callable[[Truth], Mask]] = {
        "vowels": lambda truth: truth.vowels,
        "voiced": lambda truth: truth.voiced,
    }
    for kind, mask in kinds.items():
        result[f"frames/{kind}"] = float(sum(mask(entry.truth).sum() for entry in spoken))
        for source in SOURCES:
            errors = np.concatenate(
                [(entry.found[source] - entry.truth.formants)[mask(entry.truth)] for entry in spoken]
            )
            for column, name in enumerate(("F1", "F2")):
                rmse = float(np.sqrt(np.mean(errors[:, column] ** 2)))
                result[f"{source}/{kind}/{name}"] = round(rmse, 1)
    for key, mels in (
        ("mel_mae_db", [entry.mel for entry in spoken]),
        ("mean_mel_mae_db", [entry.mean_mel for entry in spoken]),
    ):
        errors_db = [(mel - entry.true_mel).abs().flatten() for mel, entry in zip(mels, spoken, strict=True)]
        result[key] = round(float(torch.cat(errors_db).mean()), 2)
    return result
