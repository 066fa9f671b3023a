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
from audio_io.errors import ConfigError
from audio_io.progress import Progress
from mri2speech.arrays import read_array
from mri2speech.config import MelConfig
from mri2speech.dataset import SequenceDataset
from mri2speech.evaluate import metrics
from mri2speech.evaluate.baseline import Baseline, learn
from mri2speech.evaluate.config import EvaluateConfig
from mri2speech.evaluate.formants import formants
from mri2speech.evaluate.reader import FormantReader
from mri2speech.evaluate.truth import Truth, truth_of
from mri2speech.features import mel_db
from mri2speech.meta import sample_folder
from mri2speech.splits import Split
from mri2speech.synthesize import Synthesizer
from mri2speech.vocoder.griffin_lim import griffin_lim

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Row = dict[str, str | float]
PitchTrack = Callable[[Tensor, int], Floats]


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
    baseline: Baseline | None = None,
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
        baseline: Of the training's data set, where `data` is another; that of the split's training part, or
            of all utterances, if None.

    Raises:
        FileError: If a file cannot be used.
        ConfigError: If the split is of windows that were dealt out one by one, or the part is empty.
    """
    config = config or EvaluateConfig()
    films = SequenceDataset(data, mel=synthesizer.mel_config)
    chosen = _chosen(films, config, split)
    root, result = Path(data), Result()
    if baseline is None:
        baseline = learn(data, split=split, truth=truth)
        if split is None:
            result.notes.append("without a split, the mean and the reader of formants know what is measured")
    track = _pitch_tracker(films.meta.mel, result.notes)
    with Progress("evaluate", len(chosen), "utterances") as progress:
        for index in chosen:
            sample = films.meta.samples[index]
            reference, _ = load(root / "wavs" / f"{sample.id}.wav", sample_rate=films.meta.mel.sample_rate)
            mels = torch.from_numpy(read_array(sample_folder(root, sample.id) / "mel_db.npy", "mels in dB")).T
            started = time.perf_counter()
            predicted = synthesizer.mel(films[index]["mri"])
            spoken = synthesizer.vocode(predicted)
            seconds = time.perf_counter() - started
            voices = {"predicted": (spoken, predicted), "copy": (synthesizer.vocode(mels), mels)}
            if config.griffin_lim and synthesizer.generator is not None:
                voices["griffin-lim"] = (griffin_lim(predicted, synthesizer.mel_config), predicted)
            known = truth_of(truth, sample, reference[0], mels, films.meta.mel)
            pitch = None if track is None else track(reference[0], mels.shape[1])
            shown: dict[str, tuple[Tensor, Tensor, Floats]] = {
                "recording": (reference[0], mels, np.where(known.clear[:, None], known.formants, np.nan))
            }
            for voice, (waveform, mel) in voices.items():
                row, found = _measure(waveform, reference[0], mel, mels, known, synthesizer, baseline.reader)
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
            result.rows.append({"id": sample.id, "voice": "mean", **_mean_row(baseline, mels, known)})
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


def _chosen(films: SequenceDataset, config: EvaluateConfig, split: str | Path | None) -> Sequence[int]:
    """Indices to measure."""
    everything = range(len(films))
    if split is None:
        return everything
    parts = Split.load(split, films.meta).utterances(films.meta)
    chosen: Sequence[int] = everything if config.part == "all" else getattr(parts, config.part)
    if not chosen:
        raise ConfigError("part", f"{config.part}, which is empty in {split}", "a part with utterances")
    return chosen


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


def _mean_row(baseline: Baseline, mels: Tensor, known: Truth) -> Row:
    flat = np.broadcast_to(baseline.mel[:, None], tuple(mels.shape))
    row: Row = {"mcd_db": metrics.mel_cepstral_distortion(flat, mels.numpy())}
    row |= {f"mel_{name}_db": value for name, value in metrics.band_errors(flat, mels.numpy()).items()}
    guess = np.broadcast_to(baseline.formants, known.formants.shape)
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
    parts = []
    for number in (1, 2):
        found = [f"{said[f'f{number}_rmse_hz']:.0f} Hz by peaks"]
        if f"f{number}_reader_rmse_hz" in said:
            found.append(f"{said[f'f{number}_reader_rmse_hz']:.0f} Hz by the spectrum")
        parts.append(f"F{number} within {', '.join(found)} (the mean: {mean[f'f{number}_rmse_hz']:.0f} Hz)")
    copied = means["copy"]["mcd_db"]
    return (
        f"Speech read off the film has {' and '.join(parts)}, mel-cepstral distortion "
        f"{said['mcd_db']:.1f} dB (from the recording's own mels: {copied:.1f} dB), STOI {said['stoi']:.2f}."
    )
