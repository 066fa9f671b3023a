"""From a corpus to an evaluation: stems, duplicates, and either cross-validation or one finished network."""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from audio_io.cli import pick_device
from audio_io.errors import AudioError, ConfigError
from audio_io.progress import Progress
from genre import checkpoint as checkpoints
from genre.checkpoint import Checkpoint
from genre.config import SeparationConfig
from genre.evaluate.calibration import Floats, apply_temperature
from genre.evaluate.config import EvaluateConfig
from genre.evaluate.network import track_logits
from genre.evaluate.result import EVALUATION, Evaluation, HeldOut, Split, as_written
from genre.evaluate.runner import DESCRIPTION, check_settings, cross_validate
from genre.folds import folds
from genre.layouts import Corpus, Track
from genre.leakage import find_leakage
from genre.model import build_network
from genre.outputs import claimed_folder
from genre.run_config import PredictConfig, Settings
from genre.stem_cache import StemCache
from genre.train import check_labels

_NAMED = 5  # tracks in a sentence


def evaluate_corpus(
    corpus: Corpus,
    out: str | Path,
    settings: Settings,
    config: EvaluateConfig,
    *,
    device: str = "auto",
    jobs: int = 1,
    search_duplicates: bool = True,
) -> Evaluation:
    """Separate what is not separated yet, look for duplicates, and cross-validate.

    Args:
        corpus: From `genre.layouts.read_corpus`.
        out: Folder of the evaluation.
        settings: Of the trainings.
        config: Folds and seeds.
        device: See `audio_io.cli.pick_device`.
        jobs: Processes that separate side by side.
        search_duplicates: Whether to compare every recording with every other.

    Raises:
        UserError: As `genre.stem_cache.StemCache.fill` and `genre.evaluate.runner.cross_validate` do.
    """
    check_labels(corpus.labels)
    pick_device(device)
    with claimed_folder(out, "genre evaluate", DESCRIPTION) as folder:
        # Hours of separation shall not end at other settings, weights or artists that are missing.
        check_settings(folder, settings, config)
        if settings.train.weights != "none":
            build_network(settings.train, len(corpus.labels))
        for by in config.by:
            folds(corpus.tracks, config.folds, by)
        cache = StemCache(settings.separation, settings.features)
        tracks, problems = _prepare(corpus, cache, device=device, jobs=jobs)
        leakage = find_leakage(replace(corpus, tracks=tracks, test=())) if search_duplicates else None
        return cross_validate(
            tracks, corpus.labels, cache, folder, settings, config,
            device=device, leakage=leakage, problems=problems,
        )  # fmt: skip


def evaluate_checkpoint(
    path: str | Path,
    corpus: Corpus,
    out: str | Path,
    *,
    separation: SeparationConfig | None = None,
    windows: PredictConfig | None = None,
    include_training: bool = False,
    device: str = "auto",
    jobs: int = 1,
) -> Evaluation:
    """Score one finished network on a labelled corpus; nothing is trained.

    Tracks that it was trained on are refused, and those that chose its epoch and temperature: on them the
    scores are too good. They are known by their ids and by the content of their files, so a copy in another
    folder is recognised, unless it was cut or converted.

    Args:
        path: The checkpoint.
        corpus: With labels that the network has.
        out: Folder in which `evaluation.json` and `predictions.csv` are written.
        separation: How recordings become stems, if not as in training.
        windows: How the windows of a track are voted over.
        include_training: Whether to take tracks that the network was trained on, or that chose its epoch.
        device: See `audio_io.cli.pick_device`.
        jobs: Processes that separate side by side.

    Raises:
        ConfigError: If tracks were in the training, or have genres that the network does not know, or the
            folder holds something else.
        UserError: If the checkpoint or the corpus cannot be used.
    """
    checkpoint = checkpoints.load(path)
    if unknown := [label for label in corpus.labels if label not in checkpoint.labels]:
        raise ConfigError("labels", _named(unknown), f"those of {path}: {', '.join(checkpoint.labels)}")
    cache = StemCache(separation or checkpoint.separation, checkpoint.features)
    heard = []
    for had_which_part, known in _heard(checkpoint, corpus, cache):
        if known and not include_training:
            expected = "tracks that had no part in its training, or --include-training"
            found = f"{len(known)} that {path} {had_which_part} ({_named(known)})"
            raise ConfigError("tracks", found, expected)
        if known:
            heard.append(f"{len(known)} tracks are among those that the network {had_which_part}")
    if not checkpoint.validation:
        heard.append(f"{path} does not say which tracks chose its epoch; on those the scores are too good")
    with claimed_folder(out, "genre evaluate --checkpoint", EVALUATION, but_not=(DESCRIPTION,)) as folder:
        tracks, problems = _prepare(corpus, cache, device=device, jobs=jobs)
        logits = track_logits(checkpoint, tracks, cache, config=windows, device=device)
        evaluation = _assess(checkpoint, tracks, logits, (*heard, *problems))
        evaluation.write(folder)
    return evaluation


def _heard(checkpoint: Checkpoint, corpus: Corpus, cache: StemCache) -> list[tuple[str, list[str]]]:
    """Tracks that had a part in the training, by name or by content, and which part."""
    digests: dict[str, str] = {}
    if checkpoint.digests:
        with Progress("compare", len(corpus.tracks), "tracks") as progress:
            for track in corpus.tracks:
                # One that cannot be read is left out later.
                with contextlib.suppress(AudioError):
                    digests[track.id] = cache.identify(track)
                progress.advance(1)
    found = []
    for had_which_part, ids in (
        ("was trained on", checkpoint.training),
        ("was chosen and calibrated with", checkpoint.validation),
    ):
        names = set(ids)
        contents = {checkpoint.digests[name] for name in ids if name in checkpoint.digests}
        known = [t.id for t in corpus.tracks if t.id in names or digests.get(t.id) in contents]
        found.append((had_which_part, known))
    return found


def _assess(
    checkpoint: Checkpoint, tracks: Sequence[Track], logits: Sequence[Floats], problems: tuple[str, ...]
) -> Evaluation:
    """The answers of one network."""

    def shares(temperature: float) -> Floats:
        return as_written(np.stack([apply_temperature(rows, temperature) for rows in logits])[None])

    split = Split(
        by="one network",
        labels=checkpoint.labels,
        tracks=tuple(HeldOut(track.id, track.label or "", track.artist, 1) for track in tracks),
        seeds=(checkpoint.train.seed,),
        raw=shares(1.0),
        calibrated=shares(checkpoint.temperature),
    )
    tables = {name: asdict(getattr(checkpoint, name)) for name in ("features", "separation", "train")}
    return Evaluation(checkpoint.labels, {split.by: split}, tables, None, problems)


def _prepare(
    corpus: Corpus, cache: StemCache, *, device: str, jobs: int
) -> tuple[tuple[Track, ...], tuple[str, ...]]:
    """Tracks whose stems are there, and what is wrong with the others."""
    summary = cache.fill(corpus.tracks, device=device, jobs=jobs)
    left_out = (f"left out: {fault.problem}" for fault in summary.faults)
    if not summary.ready:
        raise ConfigError("tracks", "none that can be used", "recordings with labels")
    return summary.ready, (*corpus.problems, *left_out)


def _named(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
