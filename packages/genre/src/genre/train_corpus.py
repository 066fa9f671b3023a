"""From a corpus to a trained network: stems, split, training, temperature."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from audio_io.cli import pick_device
from audio_io.errors import ConfigError
from genre.dataset import Stems
from genre.evaluate.network import calibrate
from genre.folds import split_tracks
from genre.layouts import Corpus, Track
from genre.locks import hold_folder
from genre.model import build_network
from genre.run_config import RunConfig, Settings
from genre.stem_cache import StemCache
from genre.train import FitResult, check_labels, check_learnable, check_settings, fit
from genre.train_callbacks import CHECKPOINT, LOG, Log


def train_corpus(
    corpus: Corpus,
    out: str | Path,
    settings: Settings,
    *,
    run: RunConfig | None = None,
    device: str = "auto",
    jobs: int = 1,
) -> FitResult:
    """Separate what is not separated yet, keep a share of the tracks for validation, and train on the rest.

    The validation tracks choose the best epoch, and the temperature of its network.

    Files that are in the corpus twice, byte for byte, are on one side; `genre leakage` finds other copies.
    Tracks that cannot be used, and mismatches of the corpus, go to the log.

    Args:
        corpus: From `genre.layouts.read_corpus`.
        out: Folder of the run.
        settings: What the result depends on.
        run: What else can be chosen; the defaults if None.
        device: See `audio_io.cli.pick_device`.
        jobs: Processes that separate side by side.

    Raises:
        ConfigError: If the tracks are too few to split, or a setting cannot be used.
        FileError: If another process is at work in the folder.
        UserError: As `genre.stem_cache.StemCache.fill` and `genre.train.fit` do.
    """
    check_labels(corpus.labels)
    pick_device(device)
    # Where several processes train, they share the folder of the first.
    with contextlib.nullcontext() if getattr(rank_zero_only, "rank", 0) else hold_folder(out):
        return _train_corpus(
            corpus, out, settings, RunConfig() if run is None else run, device=device, jobs=jobs
        )


def _train_corpus(
    corpus: Corpus, out: str | Path, settings: Settings, run: RunConfig, *, device: str, jobs: int
) -> FitResult:
    log = Log(Path(out) / LOG)
    for problem in corpus.problems:
        log.say(f"note: {problem}")
    by_artist = run.split == "artist"
    # Hours of separation shall not end at artists, other settings or weights that are missing.
    if by_artist and (unknown := [track.id for track in corpus.tracks if not track.artist]):
        expected = "an artist for every track (column artist in tracks.csv, or --artists), or split random"
        raise ConfigError("split", f"artist, and {unknown[0]} has none", expected)
    if run.resume:
        check_settings(out, settings)
    if settings.train.weights != "none" and not (run.resume and (log.path.parent / CHECKPOINT).is_file()):
        build_network(settings.train, len(corpus.labels))
    cache = StemCache(settings.separation, settings.features)
    summary = cache.fill(corpus.tracks, device=device, jobs=jobs)
    for fault in summary.faults:
        log.say(f"left out: {fault.problem}")
    log.say(f"{cache.folder}: {summary.text()}")
    share, seed = settings.train.test_size, settings.train.seed
    first: dict[str, str] = {}
    pairs = [(first.setdefault(cache.digest(track), track.id), track.id) for track in summary.ready]
    copies = [pair for pair in pairs if pair[0] != pair[1]]
    if copies:
        found = f"{len(copies)} (the first: {copies[0][1]} of {copies[0][0]})"
        log.say(f"note: copies of other tracks, kept on their side: {found}")
    training, validation = split_tracks(summary.ready, share, seed, by_artist=by_artist, together=copies)
    check_learnable(training, corpus.labels)
    log.say(
        f"{len(training)} tracks to learn from, {len(validation)} for validation, {len(corpus.labels)} genres"
    )
    result = fit(training, validation, corpus.labels, cache, out, settings, run=run, device=device)
    # Where several processes train, one of them writes.
    rank_zero_only(_calibrate)(result.best, validation, cache, log, device)
    return result


def _calibrate(best: Path, validation: Sequence[Track], stems: Stems, log: Log, device: str) -> None:
    temperature = calibrate(best, validation, stems, device=device)
    log.say(f"temperature {temperature:.3f}, fitted on the {len(validation)} validation tracks")
