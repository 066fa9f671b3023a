"""From a corpus to an evaluation: stems, duplicates, and either cross-validation or one finished network."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from audio_io.cli import pick_device
from audio_io.errors import ConfigError
from genre import checkpoint as checkpoints
from genre.config import SeparationConfig
from genre.evaluate.calibration import apply_temperature
from genre.evaluate.config import EvaluateConfig
from genre.evaluate.network import track_logits
from genre.evaluate.result import EVALUATION, Evaluation, HeldOut, Split, as_written
from genre.evaluate.runner import DESCRIPTION, cross_validate
from genre.folds import folds
from genre.layouts import Corpus, Track
from genre.leakage import find_leakage
from genre.model import build_network
from genre.outputs import claim_folder
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
    claim_folder(out, "genre evaluate", DESCRIPTION)
    # Hours of separation shall not end at weights or artists that are missing.
    if settings.train.weights != "none":
        build_network(settings.train, len(corpus.labels))
    for by in config.by:
        folds(corpus.tracks, config.folds, by)
    cache = StemCache(settings.separation, settings.features)
    tracks, problems = _prepare(corpus, cache, device=device, jobs=jobs)
    leakage = find_leakage(replace(corpus, tracks=tracks, test=())) if search_duplicates else None
    return cross_validate(
        tracks, corpus.labels, cache, out, settings, config,
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
    scores are too good. They are known by their ids, so the corpus has to be the folder of the training.

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
    heard = []
    for ids, had_which_part in (
        (checkpoint.training, "was trained on"),
        (checkpoint.validation, "was chosen and calibrated with"),
    ):
        known = [track.id for track in corpus.tracks if track.id in set(ids)]
        if known and not include_training:
            expected = "tracks that had no part in its training, or --include-training"
            found = f"{len(known)} that {path} {had_which_part} ({_named(known)})"
            raise ConfigError("tracks", found, expected)
        if known:
            heard.append(f"{len(known)} tracks are among those that the network {had_which_part}")
    if not checkpoint.validation:
        heard.append(f"{path} does not say which tracks chose its epoch; on those the scores are too good")
    claim_folder(out, "genre evaluate --checkpoint", EVALUATION, but_not=(DESCRIPTION,))
    cache = StemCache(separation or checkpoint.separation, checkpoint.features)
    tracks, problems = _prepare(corpus, cache, device=device, jobs=jobs)
    logits = track_logits(checkpoint, tracks, cache, config=windows, device=device)

    def shares(temperature: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
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
    evaluation = Evaluation(checkpoint.labels, {split.by: split}, tables, None, (*heard, *problems))
    evaluation.write(out)
    return evaluation


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
