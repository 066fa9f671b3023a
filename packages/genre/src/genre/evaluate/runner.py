"""Cross-validation: every track is answered by networks that have not heard it.

From the training part of each fold a share is kept aside, by artist where the folds are, and never one of two
copies alone. It chooses the epoch and fits the temperature, so that the tracks of the fold have no say in the
network that they test (Cawley & Talbot 2010, "On over-fitting in model selection and subsequent selection
bias").
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from audio_io.atomic import write_json
from audio_io.errors import ConfigError, FileError
from genre import checkpoint as checkpoints
from genre.dataset import Stems
from genre.evaluate.calibration import Floats, Integers, apply_temperature
from genre.evaluate.config import WAYS, EvaluateConfig
from genre.evaluate.network import calibrate, track_logits
from genre.evaluate.result import Evaluation, HeldOut, Run, Split, as_written
from genre.folds import Fold, folds, split_tracks
from genre.layouts import Track
from genre.leakage import Leakage, torn
from genre.locks import hold_folder
from genre.run_config import Settings
from genre.train import check_learnable, fit
from genre.train_callbacks import CHECKPOINT, LOG, Log, best_epoch

DESCRIPTION, RESULT = "cross_validation.json", "test.json"
# What has no part in the result.
_FREE = ("num_workers", "load_optimizer_state", "load_scheduler_state")


def cross_validate(
    tracks: Sequence[Track],
    labels: Sequence[str],
    stems: Stems,
    out: str | Path,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    config: EvaluateConfig = EvaluateConfig(),  # noqa: B008 - frozen
    *,
    device: str = "auto",
    leakage: Leakage | None = None,
    problems: Sequence[str] = (),
) -> Evaluation:
    """Train and test networks fold by fold, or go on with what a folder has.

    Each network's run is `out/<by>/fold_<k>/seed_<s>` (`genre.train.fit`); what is done is not done again.

    Args:
        tracks: With labels, and with artists for folds by artist.
        labels: Names of the genres, in the order of the outputs.
        stems: Where the stems are, mostly a filled `genre.stem_cache.StemCache`.
        out: Folder of the evaluation; `evaluation.json` and `predictions.csv` are written there.
        settings: Of the trainings; `test_size` is the share of each training part that chooses.
        config: Folds and seeds.
        device: See `audio_io.cli.pick_device`.
        leakage: Duplicates in the corpus. Folds by artist keep them together; random folds do not, as is
            usual, and how many they tear apart is part of the result.
        problems: Sentences for the report.

    Raises:
        ConfigError: If the corpus is too small for the folds, a setting cannot be used, or the folder has an
            evaluation of other tracks or settings.
        FileError: If another process is at work in the folder.
        UserError: As `genre.train.fit` does.
        KeyboardInterrupt: After Ctrl-C, once the state is kept.
    """
    with hold_folder(out):
        return _cross_validate(
            tracks, labels, stems, Path(out), settings, config,
            device=device, leakage=leakage, problems=problems,
        )  # fmt: skip


def _cross_validate(
    tracks: Sequence[Track],
    labels: Sequence[str],
    stems: Stems,
    root: Path,
    settings: Settings,
    config: EvaluateConfig,
    *,
    device: str,
    leakage: Leakage | None,
    problems: Sequence[str],
) -> Evaluation:
    together = leakage.together if leakage else []
    seed = settings.train.seed
    plans = {
        by: folds(tracks, config.folds, by, seed, together=together if by == "artist" else ())
        for by in WAYS
        if by in config.by
    }
    for parts in plans.values():
        for training, _ in parts:
            check_learnable([tracks[int(i)] for i in training], labels)
    description = _describe(tracks, labels, settings, config, together)
    description["recordings"] = [stems.digest(track) for track in tracks]
    _compare(root / DESCRIPTION, description)
    if not (root / DESCRIPTION).is_file():
        write_json(root / DESCRIPTION, description)
    bench = _Bench(tuple(labels), stems, settings, device, together)
    log = Log(root / LOG)
    splits: dict[str, Split] = {}
    for by, parts in plans.items():
        tested = []
        for number, (training, held_out) in enumerate(parts[: config.max_folds or None], start=1):
            heard, test = [tracks[int(i)] for i in training], [tracks[int(i)] for i in held_out]
            results = []
            for extra in range(config.ensemble):
                place = root / by / f"fold_{number}" / f"seed_{seed + extra}"
                if (result := _read(place, test)) is None:
                    log.say(f"{by}, fold {number} of {len(parts)}, seed {seed + extra}")
                    result = bench.work(place, heard, test, seed + extra, by_artist=by == "artist")
                    log.say(f"accuracy on the fold {result.accuracy(bench.truth(test)):.4f}")
                results.append(result)
            tested.append(_Fold(number, test, results))
        splits[by] = _assemble(by, bench.labels, tracks, parts, tested, leakage)
    evaluation = Evaluation(
        labels=bench.labels,
        splits=splits,
        settings=asdict(settings),
        duplicates=None if leakage is None else tuple(pair.sentence() for pair in leakage.pairs),
        problems=tuple(problems),
    )
    evaluation.write(root)
    return evaluation


@dataclass(frozen=True)
class _Result:
    """What one network has answered; the content of `test.json`."""

    seed: int
    epoch: int
    validation_accuracy: float
    temperature: float
    raw: Floats
    calibrated: Floats

    def accuracy(self, truth: Integers) -> float:
        return float((self.calibrated.argmax(axis=1) == truth).mean())


@dataclass(frozen=True)
class _Fold:
    """A fold, its tracks and the answers of its networks."""

    number: int
    tracks: list[Track]
    results: list[_Result]


@dataclass(frozen=True)
class _Bench:
    """What all networks have in common."""

    labels: tuple[str, ...]
    stems: Stems
    settings: Settings
    device: str
    together: Sequence[tuple[str, str]]

    def truth(self, tracks: Sequence[Track]) -> Integers:
        return np.array([self.labels.index(track.label or "") for track in tracks])

    def work(
        self, place: Path, heard: Sequence[Track], test: Sequence[Track], seed: int, *, by_artist: bool
    ) -> _Result:
        """Train a network, and let it answer."""
        train = self.settings.train
        # The same tracks choose for all seeds: these differ by what is drawn in training alone.
        training, validation = split_tracks(
            heard, train.test_size, train.seed, by_artist=by_artist, together=self.together
        )
        settings = replace(self.settings, train=replace(train, seed=seed))
        fitted = fit(training, validation, self.labels, self.stems, place, settings, device=self.device)
        temperature = calibrate(fitted.best, validation, self.stems, device=self.device)
        logits = track_logits(checkpoints.load(fitted.best), test, self.stems, device=self.device)
        result = _Result(
            seed=seed,
            epoch=best_epoch(fitted.history) + 1,
            validation_accuracy=fitted.accuracy,
            temperature=temperature,
            raw=as_written(np.stack([apply_temperature(rows, 1.0) for rows in logits])),
            calibrated=as_written(np.stack([apply_temperature(rows, temperature) for rows in logits])),
        )
        arrays = {"raw": result.raw.tolist(), "calibrated": result.calibrated.tolist()}
        content = {**asdict(result), **arrays, "tracks": [track.id for track in test]}
        write_json(place / RESULT, content)
        # Dozens of these would fill the disk, and the network needs no more training.
        (place / CHECKPOINT).unlink(missing_ok=True)
        shutil.rmtree(place / "frozen", ignore_errors=True)
        return result


def _read(place: Path, test: Sequence[Track]) -> _Result | None:
    """What a network has answered before."""
    path = place / RESULT
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        is_same = content.pop("tracks") == [track.id for track in test]
        for name in ("raw", "calibrated"):
            content[name] = np.array(content[name])
        result = _Result(**content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(
            path, "a damaged result", "that of a fold, or no file so that it is redone"
        ) from error
    if not is_same:
        raise FileError(path, "the answers to other tracks", "those of this fold, or no file")
    return result


def _assemble(
    by: str,
    labels: tuple[str, ...],
    tracks: Sequence[Track],
    parts: Sequence[Fold],
    tested: Sequence[_Fold],
    leakage: Leakage | None,
) -> Split:
    tested_parts = parts[: len(tested)]
    both_sides = torn(tested_parts, tracks, Leakage((), (), 0) if leakage is None else leakage)
    return Split(
        by=by,
        labels=labels,
        tracks=tuple(
            HeldOut(track.id, track.label or "", track.artist, fold.number)
            for fold in tested
            for track in fold.tracks
        ),
        seeds=tuple(result.seed for result in tested[0].results),
        raw=_stack([[result.raw for result in fold.results] for fold in tested]),
        calibrated=_stack([[result.calibrated for result in fold.results] for fold in tested]),
        runs=tuple(
            Run(fold.number, result.seed, result.epoch, result.validation_accuracy, result.temperature)
            for fold in tested
            for result in fold.results
        ),
        folds=len(parts),
        copies=None if leakage is None else both_sides.pairs,
        known_artists=both_sides.artists,
    )


def _stack(folds_: Sequence[Sequence[Floats]]) -> Floats:
    """Probabilities of folds and seeds, `[seeds, tracks, genres]`."""
    return np.concatenate([np.stack(seeds) for seeds in folds_], axis=1)


def check_settings(folder: str | Path, settings: Settings, config: EvaluateConfig) -> None:
    """Refuse a folder with an evaluation of other settings, whatever its tracks.

    Args:
        folder: Of the evaluation; there may be none yet.
        settings: Of the trainings.
        config: For the number of folds.

    Raises:
        ConfigError: If it has other settings; it names the first of them.
        FileError: If the description there is damaged.
    """
    _compare(Path(folder) / DESCRIPTION, _describe_settings(settings, config))


def _describe_settings(settings: Settings, config: EvaluateConfig) -> dict[str, Any]:
    tables = asdict(settings)
    for name in _FREE:
        del tables["train"][name]
    del tables["separation"]["separation_cache_dir"]
    return {**tables, "folds": config.folds}


def _describe(
    tracks: Sequence[Track],
    labels: Sequence[str],
    settings: Settings,
    config: EvaluateConfig,
    together: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    return {
        **_describe_settings(settings, config),
        "labels": list(labels),
        "tracks": [[track.id, track.label, track.artist] for track in tracks],
        "duplicates": [list(pair) for pair in together],
    }


def _compare(path: Path, description: Mapping[str, Any]) -> None:
    """Refuse what an earlier evaluation has otherwise."""
    if not path.is_file():
        return
    try:
        known = dict(json.loads(path.read_text(encoding="utf-8")))
        # Evaluations of before recordings were described go on.
        known.setdefault("recordings", description.get("recordings"))
    except (ValueError, TypeError) as error:
        raise FileError(path, "something else", "the description of an evaluation") from error
    expected = "what the evaluation in the folder has, or a folder of its own for each evaluation"
    for name, value in description.items():
        earlier = known.get(name)
        if isinstance(value, dict) and isinstance(earlier, dict):
            for key, entry in value.items():
                if earlier.get(key) != entry:
                    raise ConfigError(key, f"{entry}, but {path} has {earlier.get(key)}", expected)
        elif value != earlier:
            raise ConfigError(name, f"others than {path} has", expected)
