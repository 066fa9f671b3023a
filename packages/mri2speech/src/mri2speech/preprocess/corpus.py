"""A folder of films to a data set."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audio_io.atomic import write_json, write_text
from audio_io.errors import ConfigError, UserError
from mri2speech.config import MelConfig
from mri2speech.features import Scaler
from mri2speech.meta import META_NAME, SCALER_NAME, Meta, Sample, sample_folder
from mri2speech.preprocess.config import PreprocessConfig
from mri2speech.preprocess.figure import draw
from mri2speech.preprocess.pairs import write_pairs
from mri2speech.preprocess.sample import SampleTask, current_sample, remove_temporaries
from mri2speech.preprocess.sources import Source, find_sources
from mri2speech.preprocess.workers import run_all
from mri2speech.splits import split


@dataclass(frozen=True)
class Report:
    """What came of a run.

    Attributes:
        meta: The data set; None if no sample could be made.
        kept: Samples that were there already.
        dropped: Films that could not be used, with the sentence that says why.
        unused_offsets: Samples that the table of offsets names and that are not there.
    """

    meta: Meta | None
    kept: int
    dropped: tuple[tuple[str, str], ...]
    unused_offsets: tuple[str, ...]


def preprocess(
    data_dir: str | Path,
    out_dir: str | Path,
    config: PreprocessConfig = PreprocessConfig(),  # noqa: B008 - frozen
    mel: MelConfig = MelConfig(),  # noqa: B008 - frozen
    *,
    audio_dir: str | Path | None = None,
    workers: int = 1,
) -> Report:
    """Make the data set that `mri2speech.meta` describes.

    A run that was interrupted or killed goes on where it was; a sample is made anew when its film, its sound,
    its mask or a setting has changed. Two runs must not write into one folder at the same time.

    Args:
        data_dir: Folder of the films.
        out_dir: Where the data set goes.
        config: How frames are made and what is written.
        mel: How mels are made.
        audio_dir: Folder of the sound files; see `find_sources`.
        workers: Number of processes.

    Raises:
        ConfigError: If a folder is missing or holds no film, or `workers` is less than 1.
        UserError: If an extra is missing or a process was killed.
    """
    if workers < 1:
        raise ConfigError("workers", workers, "at least 1")
    if config.denoise:
        _require_noisereduce()
    target = Path(out_dir)
    remove_temporaries(target)
    sources = find_sources(Path(data_dir), None if audio_dir is None else Path(audio_dir), config)
    samples: dict[str, Sample] = {}
    waiting: list[Source] = []
    for source in sources.found:
        if (sample := current_sample(source, target, config, mel)) is not None:
            samples[source.id] = sample
        else:
            waiting.append(source)
    if any(sample_folder(target, source.id).exists() for source in waiting):
        # Until all are made anew, the folder holds samples of two kinds, which nobody shall take for one.
        (target / META_NAME).unlink(missing_ok=True)
    kept, dropped = len(samples), list(sources.dropped)
    for source, outcome in run_all(waiting, SampleTask(target, config, mel), workers=workers):
        if isinstance(outcome, Sample):
            samples[source.id] = outcome
        elif isinstance(outcome, OSError):
            dropped.append((source.name, f"{outcome.filename}: {outcome.strerror}"))
        else:
            dropped.append((source.name, str(outcome)))
    ordered = tuple(samples[source.id] for source in sources.found if source.id in samples)
    meta = Meta(ordered, mel, config.image_size, config.ref_frames) if ordered else None
    if meta is not None:
        _write_corpus(target, meta, config)
    report = Report(meta, kept, tuple(sorted(dropped)), tuple(sources.unused_offsets))
    _write_report(target, report)
    return report


def _write_corpus(target: Path, meta: Meta, config: PreprocessConfig) -> None:
    """What all samples have in common; `meta.json` comes last and says that the rest is there."""
    of_scaler = meta.samples
    if config.scaler == "training":
        training = split(meta, by="utterance", seed=config.seed, unit="utterances").train
        of_scaler = tuple(meta.samples[index] for index in training)
    fit_scaler(target, of_scaler, meta.mel).save(target / SCALER_NAME)
    _write_file_lists(target, meta, config)
    write_pairs(target, meta, config.pairs)
    draw(target, meta)
    meta.save(target)


def fit_scaler(folder: str | Path, samples: Sequence[Sample], mel: MelConfig) -> Scaler:
    """Mean and standard deviation over all mel values of samples, in float64.

    Raises:
        ConfigError: If all values are the same, as for silence.
    """
    paths = [sample_folder(folder, sample.id) / "mel_db.npy" for sample in samples]
    mels = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
    count = sum(array.size for array in mels)
    mean = sum(float(array.sum(dtype=np.float64)) for array in mels) / count
    square = sum(float(np.square(array.astype(np.float64) - mean).sum()) for array in mels) / count
    return Scaler(mean, float(np.sqrt(square)), mel)


def _write_file_lists(target: Path, meta: Meta, config: PreprocessConfig) -> None:
    """Names of sound files without suffix, up to the first `|`, as HiFi-GAN's meldataset.py reads them."""
    names = [sample.id for sample in meta.samples]
    count = round(config.validation_fraction * len(names))
    if config.validation_fraction > 0 and len(names) > 1:
        count = max(1, count)
    validation = set(random.Random(config.seed).sample(names, count))  # noqa: S311 - not for secrets
    for part, chosen in (
        ("training", [name for name in names if name not in validation]),
        ("validation", [name for name in names if name in validation]),
    ):
        write_text(target / "hifigan_filelists" / f"{part}.txt", "".join(f"{name}|\n" for name in chosen))


def _write_report(target: Path, report: Report) -> None:
    samples = report.meta.samples if report.meta is not None else ()
    write_json(
        target / "report.json",
        {
            "samples": len(samples),
            "dropped": [{"film": film, "reason": reason} for film, reason in report.dropped],
            "notes": {sample.id: list(sample.notes) for sample in samples if sample.notes},
            "unused_offsets": list(report.unused_offsets),
        },
    )


def _require_noisereduce() -> None:
    import importlib.util

    if importlib.util.find_spec("noisereduce") is None:
        raise UserError(
            "denoise: noisereduce is not installed; "
            "run with the extra: uv run --package mri2speech --extra denoise"
        )
