"""A model's speech on the utterances of a data set, measured and written down.

Three voices are measured against the recording: `predicted` (film to mels to waveform), `copy` (the
recording's own mels through the same vocoder: what a perfect acoustic model would reach) and, on request,
`griffin-lim` (the predicted mels without a vocoder). `mean` answers every frame with the mean of the training
utterances; a model that does no better has read nothing off the film.
"""

import csv
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_io import load
from audio_io.atomic import write_json, write_text
from audio_io.errors import ConfigError, FileError
from audio_io.progress import Progress
from mri2speech.config import MelConfig
from mri2speech.dataset import SequenceDataset
from mri2speech.evaluate import metrics
from mri2speech.evaluate.config import EvaluateConfig
from mri2speech.evaluate.formants import formants
from mri2speech.evaluate.reader import FEWEST, FormantReader
from mri2speech.features import mel_db
from mri2speech.meta import Sample, sample_folder
from mri2speech.phantom.outline import ARTICULATORS
from mri2speech.phantom.writer import load_truth
from mri2speech.splits import Split
from mri2speech.synthesize import Synthesizer
from mri2speech.vocoder.griffin_lim import griffin_lim

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Row = dict[str, str | float]
PitchTrack = Callable[[Tensor, int], Floats]

_VELUM = ARTICULATORS.index("velum")
_CLOSED = 0.15  # cm2 of area below which a tube says nothing of the sound
_QUIET_DB = -35.0  # below the loudest frame, where no formants are looked for


@dataclass(frozen=True)
class Truth:
    """What is known of an utterance: formants in Hz `[T, 3]`, where they can be heard `[T]`, where from."""

    formants: Floats
    clear: Mask
    source: str


@dataclass
class Result:
    """What an evaluation found.

    Attributes:
        rows: Of each utterance and voice.
        means: Of each voice, over the utterances.
        notes: What could not be measured, a sentence each.
        shown: Waveform, mel in dB and formants of the first utterances, by voice.
    """

    rows: list[Row] = field(default_factory=list)
    means: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    shown: dict[str, dict[str, tuple[Tensor, Tensor, Floats]]] = field(default_factory=dict)


def evaluate(
    data: str | Path,
    synthesizer: Synthesizer,
    config: EvaluateConfig | None = None,
    *,
    split: str | Path | None = None,
    truth: str | Path | None = None,
) -> Result:
    """Measure a model on a preprocessed data set.

    Args:
        data: What `mri2speech preprocess` wrote.
        synthesizer: The model and its vocoder.
        config: What is measured.
        split: The split.json of the training, by utterance or speaker; without it every utterance is
        measured.
        truth: Folder `truth` of a phantom, for the true formants; without it those of the recording are
            the reference.

    Raises:
        FileError: If a file cannot be used.
        ConfigError: If the split is of windows, whose parts share utterances.
    """
    config = config or EvaluateConfig()
    films = SequenceDataset(data, mel=synthesizer.mel_config)
    chosen, training = _parts(films, config, split)
    root = Path(data)
    mean_mel, mean_formants, reader = _means(root, films, training, truth)
    result = Result()
    track = _pitch_tracker(films.meta.mel, result.notes)
    with Progress("evaluate", len(chosen), "utterances") as progress:
        for index in chosen:
            sample = films.meta.samples[index]
            reference, _ = load(root / "wavs" / f"{sample.id}.wav", sample_rate=films.meta.mel.sample_rate)
            mels = torch.from_numpy(
                np.load(sample_folder(root, sample.id) / "mel_db.npy", allow_pickle=False)
            ).T
            started = time.perf_counter()
            predicted = synthesizer.mel(films[index]["mri"])
            spoken = synthesizer.vocode(predicted)
            seconds = time.perf_counter() - started
            voices = {"predicted": (spoken, predicted), "copy": (synthesizer.vocode(mels), mels)}
            if config.griffin_lim and synthesizer.generator is not None:
                voices["griffin-lim"] = (griffin_lim(predicted, synthesizer.mel_config), predicted)
            known = _truth(truth, sample, reference[0], mels, films)
            pitch = None if track is None else track(reference[0], mels.shape[1])
            shown: dict[str, tuple[Tensor, Tensor, Floats]] = {
                "recording": (reference[0], mels, np.where(known.clear[:, None], known.formants, np.nan))
            }
            for voice, (waveform, mel) in voices.items():
                row, found = _measure(waveform, reference[0], mel, mels, known, synthesizer, reader)
                if pitch is not None and track is not None:
                    wrong = metrics.pitch_errors(track(waveform, mels.shape[1]), pitch)
                    row |= {
                        "f0_rmse_hz": wrong.rmse_hz,
                        "f0_rmse_cents": wrong.rmse_cents,
                        "voicing_error": wrong.voicing_error,
                    }
                if voice == "predicted":
                    row["real_time_factor"] = seconds * films.meta.mel.sample_rate / len(spoken)
                result.rows.append({"id": sample.id, "voice": voice, **row})
                heard = mel_db(waveform, synthesizer.mel_config)[:, : mels.shape[1]]
                shown[voice] = (waveform, heard, found)
            result.rows.append(
                {"id": sample.id, "voice": "mean", **_mean_row(mean_mel, mean_formants, mels, known)}
            )
            if len(result.shown) < config.players:
                result.shown[sample.id] = shown
            progress.advance(1)
    result.means = _averages(result.rows)
    return result


def write(result: Result, folder: str | Path) -> None:
    """Write `metrics.json` (means, notes) and `metrics.csv` (a row for each utterance and voice)."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in result.rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
        for row in result.rows
    )
    write_text(target / "metrics.csv", text.getvalue())
    means = {
        voice: {name: value if math.isfinite(value) else None for name, value in row.items()}
        for voice, row in result.means.items()
    }
    write_json(target / "metrics.json", {"means": means, "notes": result.notes})


def _parts(
    films: SequenceDataset, config: EvaluateConfig, split: str | Path | None
) -> tuple[Sequence[int], Sequence[int]]:
    """Indices to measure, and those of the training."""
    everything = range(len(films))
    if split is None:
        return everything, everything
    parts = Split.load(split, films.meta)
    if parts.unit != "utterances":
        raise ConfigError(
            "split",
            f"{split} of windows",
            "one of whole utterances (train --mode sequence --split utterance)",
        )
    chosen = everything if config.part == "all" else getattr(parts, config.part)
    if not chosen:
        raise ConfigError("part", f"{config.part}, which is empty in {split}", "a part with utterances")
    return chosen, parts.train


def _means(
    root: Path, films: SequenceDataset, training: Sequence[int], truth: str | Path | None
) -> tuple[Floats, Floats, FormantReader | None]:
    """Mean mel `[n_mels]` and formants `[3]` of the training utterances; with true formants, a reader."""
    mels, clear, values = [], [], []
    for index in training:
        sample = films.meta.samples[index]
        mel = np.load(sample_folder(root, sample.id) / "mel_db.npy", allow_pickle=False)
        waveform, _ = load(root / "wavs" / f"{sample.id}.wav", sample_rate=films.meta.mel.sample_rate)
        known = _truth(truth, sample, waveform[0], torch.from_numpy(mel).T, films)
        mels.append(mel)
        clear.append(mel[known.clear])
        values.append(known.formants[known.clear])
    found, heard = np.concatenate(values), np.concatenate(clear)
    mean = np.nanmean(found, axis=0) if len(found) else np.full(3, np.nan)
    known_enough = truth is not None and len(found) >= FEWEST
    reader = FormantReader.fit(heard, found) if known_enough else None
    return np.concatenate(mels).mean(axis=0), mean, reader


def _truth(
    folder: str | Path | None, sample: Sample, waveform: Tensor, mels: Tensor, films: SequenceDataset
) -> Truth:
    count = mels.shape[1]
    if folder is not None:
        path = Path(folder) / f"{sample.id}.npz"
        stored = load_truth(path)
        rows = slice(sample.alignment.first_mel, sample.alignment.first_mel + count)
        values = {name: array[rows] for name, array in stored.items()}
        if len(values["f0"]) != count:
            raise FileError(path, f"{len(stored['f0'])} frames", f"those of {sample.id}, {count}")
        open_tract = values["area"].min(axis=1) > _CLOSED
        clear = (values["f0"] > 0) & open_tract & (values["articulators"][:, _VELUM] < 0.2)
        return Truth(values["formants"].astype(np.float64), clear, "the tube")
    power = mels.numpy().max(axis=0)
    loud = power > power.max() + _QUIET_DB
    times = np.arange(count) / films.meta.mel.frame_rate
    found = formants(waveform.numpy(), films.meta.mel.sample_rate, times, loud)
    return Truth(found, loud & np.isfinite(found[:, 0]), "the recording")


def _measure(
    waveform: Tensor,
    reference: Tensor,
    mel: Tensor,
    mels: Tensor,
    known: Truth,
    synthesizer: Synthesizer,
    reader: FormantReader | None,
) -> tuple[Row, Floats]:
    length = min(len(waveform), len(reference))
    said, heard = waveform[:length].double().numpy(), reference[:length].double().numpy()
    rate = synthesizer.mel_config
    resynthesis = mel_db(waveform, rate)[:, : mels.shape[1]]
    row: Row = {
        "mcd_db": metrics.mel_cepstral_distortion(resynthesis.numpy(), mels.numpy()),
        "mcd_dtw_db": metrics.mel_cepstral_distortion(resynthesis.numpy(), mels.numpy(), warp=True),
        "stoi": metrics.intelligibility(said, heard, rate.sample_rate),
        "estoi": metrics.intelligibility(said, heard, rate.sample_rate, extended=True),
    }
    row |= {f"mel_{name}_db": value for name, value in metrics.band_errors(mel.numpy(), mels.numpy()).items()}
    if (score := metrics.pesq(said, heard, rate.sample_rate)) is not None:
        row["pesq"] = score
    found = formants(said, rate.sample_rate, np.arange(mels.shape[1]) / rate.frame_rate, known.clear)
    for number in range(3):
        wrong = metrics.errors(found[:, number], known.formants[:, number], known.clear)
        row[f"f{number + 1}_rmse_hz"] = wrong.rmse
    if reader is not None:
        read = reader.read(resynthesis.T.numpy())
        for number in range(3):
            wrong = metrics.errors(read[:, number], known.formants[:, number], known.clear)
            row[f"f{number + 1}_reader_rmse_hz"] = wrong.rmse
    return row, found


def _mean_row(mean_mel: Floats, mean_formants: Floats, mels: Tensor, known: Truth) -> Row:
    flat = np.broadcast_to(mean_mel[:, None], tuple(mels.shape))
    row: Row = {"mcd_db": metrics.mel_cepstral_distortion(flat, mels.numpy())}
    row |= {f"mel_{name}_db": value for name, value in metrics.band_errors(flat, mels.numpy()).items()}
    guess = np.broadcast_to(mean_formants, known.formants.shape)
    for number in range(3):
        wrong = metrics.errors(guess[:, number], known.formants[:, number], known.clear)
        row[f"f{number + 1}_rmse_hz"] = wrong.rmse
    return row


def _averages(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Mean of each measure over the utterances, of each voice; of squares where it is a root of squares."""
    averages: dict[str, dict[str, float]] = {}
    for voice in dict.fromkeys(str(row["voice"]) for row in rows):
        own = [row for row in rows if row["voice"] == voice]
        names = [name for name in own[0] if name not in ("id", "voice")]
        averages[voice] = {name: _average(name, [float(row[name]) for row in own]) for name in names}
    return averages


def _average(name: str, values: Sequence[float]) -> float:
    known = np.array([value for value in values if math.isfinite(value)])
    if not len(known):
        return float("nan")
    return float(np.sqrt((known**2).mean()) if "rmse" in name else known.mean())


def _pitch_tracker(mel: MelConfig, notes: list[str]) -> PitchTrack | None:
    """Pitch in Hz at the mel frames of a waveform, 0 where there is no voice; None without the extra."""
    try:
        from pitch import TrackConfig, Tracker
    except ImportError:
        notes.append("pitch and voicing are not measured: pip install 'mri2speech[pitch]'")
        return None
    tracker = Tracker(TrackConfig(model="tiny"))

    def track(waveform: Tensor, count: int) -> Floats:
        found = tracker.track(waveform[None], mel.sample_rate)
        nearest = np.round(np.arange(count) / mel.frame_rate / found.hop_seconds).astype(int)
        nearest = np.minimum(nearest, len(found.frequency) - 1)
        return np.where(found.voiced[nearest], found.frequency[nearest], 0.0).astype(np.float64)

    return track


def summary(means: Mapping[str, Mapping[str, float]]) -> str:
    """The finding in one sentence."""
    said, mean = means["predicted"], means["mean"]
    kind = "reader_rmse_hz" if "f1_reader_rmse_hz" in said else "rmse_hz"
    parts = [
        f"F{n} within {said[f'f{n}_{kind}']:.0f} Hz (the mean: {mean[f'f{n}_rmse_hz']:.0f} Hz)"
        for n in (1, 2)
    ]
    copied = means["copy"]["mcd_db"]
    return (
        f"Speech read off the film has {' and '.join(parts)}, mel-cepstral distortion "
        f"{said['mcd_db']:.1f} dB (from the recording's own mels: {copied:.1f} dB), STOI {said['stoi']:.2f}."
    )
