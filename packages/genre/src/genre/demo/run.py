"""The stages of the demo, one after the other; each keeps what it has and goes on where it was.

In the folder: `corpus` (songs with their stems), `leakage.json` (duplicates), `four_stems` and `mixture`
(stems and trainings), and `report`.
"""

import json
import os
import statistics
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch

from audio_io.atomic import fingerprint
from audio_io.claims import claim_for
from audio_io.cli import pick_device
from audio_io.errors import FileError
from genre.config import Separation
from genre.corpus.config import SOUNDS
from genre.corpus.write import render_corpus
from genre.demo.config import MODELS, Plan
from genre.demo.side_by_side import Task, run_tasks
from genre.evaluate.page import write_report
from genre.evaluate.result import EVALUATION, Evaluation
from genre.evaluate.runner import cross_validate
from genre.layouts import Corpus, read_corpus
from genre.leakage import Leakage, Pair, find_leakage, write_leakage
from genre.stem_cache import StemCache
from genre.train_callbacks import METRICS

CORPUS, LEAKAGE, REPORT, MARK = "corpus", "leakage.json", "report", "demo.json"
TITLE = "genre demo: ten genres, by four stems and by the mixture"


def run(
    output_dir: str | Path, plan: Plan, *, device: str = "auto", say: Callable[[str], object] = print
) -> dict[str, Evaluation]:
    """Render songs, look for duplicates, train and test both models, and write the report.

    The same call goes on with what was interrupted or killed.

    Args:
        output_dir: Folder of the demo.
        plan: What is made.
        device: See `audio_io.cli.pick_device`.
        say: Takes each line that is to be read.

    Returns:
        The evaluations, by the model's name.

    Raises:
        FileError: If the folder holds a demo of other settings, or a file cannot be used.
        UserError: If a training cannot go on.
        KeyboardInterrupt: After Ctrl-C, once the state is kept.
    """
    folder = Path(output_dir)
    pick_device(device)
    # More networks can join those that are there.
    settings = fingerprint(asdict(replace(plan, evaluate=replace(plan.evaluate, ensemble=1))))
    claim_for(folder / MARK, {"fingerprint": settings}, "a demo")
    say("1 of 4: songs with their stems")
    render_corpus(folder / CORPUS, plan.corpus)
    corpus = read_corpus(folder / CORPUS)
    say("2 of 4: duplicates")
    leakage = _duplicates(folder / LEAKAGE, corpus)
    say(f"3 of 4: training, {_networks(plan)} networks for each of {len(MODELS)} models, side by side")
    places = {name: folder / name.replace(" ", "_") for name in MODELS}
    tasks = [
        Task(place, evaluate, (place, folder / CORPUS, MODELS[name], plan, leakage, device))
        for name, place in places.items()
        if not _is_complete(place, plan)
    ]
    if tasks:
        total = len(MODELS) * _networks(plan) * plan.settings.train.epochs
        run_tasks(tasks, total, lambda: sum(map(_epochs, places.values())))
    say("4 of 4: report")
    evaluations = {name: Evaluation.read(place) for name, place in places.items()}
    page = write_report(evaluations, folder / REPORT, TITLE, notes=notes(plan, corpus))
    say(f"look at {page}")
    return evaluations


def evaluate(
    place: Path, corpus_dir: Path, separator: Separation, plan: Plan, leakage: Leakage, device: str
) -> None:
    """Train and test one model, with its share of the cores.

    Args:
        place: Its folder; the stems are kept in `separated`.
        corpus_dir: The songs.
        separator: Where its four channels come from.
        plan: The settings.
        leakage: Duplicates among the songs.
        device: See `audio_io.cli.pick_device`.

    Raises:
        UserError: As `genre.evaluate.runner.cross_validate` does.
    """
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // len(MODELS)))
    corpus = read_corpus(corpus_dir)
    separation = replace(
        plan.settings.separation, separator=separator, separation_cache_dir=str(place / "separated")
    )
    settings = replace(plan.settings, separation=separation)
    if separator == "none":
        # A mixture has no stems whose levels could change, or that others could take the place of.
        settings = replace(settings, augment=replace(settings.augment, swap_stems=0.0, stem_level=0.0))
    cache = StemCache(separation, settings.features)
    cache.fill(corpus.tracks)
    cross_validate(
        corpus.tracks, corpus.labels, cache, place, settings, plan.evaluate, device=device, leakage=leakage
    )


def notes(plan: Plan, corpus: Corpus) -> list[str]:
    """What the reader of the report is to know about the songs and the networks."""
    train, test = plan.settings.train, plan.evaluate
    tested = test.max_folds or test.folds
    artists = len({track.artist for track in corpus.tracks})
    return [
        f"{len(corpus.tracks)} songs of {plan.corpus.duration:g} s by {artists} artists, composed and "
        "rendered on this machine: the genre decides what is played, the artist how it sounds. Real "
        "recordings are harder.",
        SOUNDS,
        "The stems are the exact ones whose sum is the mixture; of recordings, Demucs gives estimates.",
        f"{tested} of {test.folds} folds by artist were trained and tested: each tested song is by an artist "
        "whom its network has not heard.",
        f"Each network is a {train.backbone} that starts from random weights, {train.epochs} epochs long. "
        "Both models have the same settings, seeds and folds. The second has the mixture in all four "
        "channels, and so its training has no stems to swap between songs and no levels to change.",
    ]


def seed_sentence(evaluation: Evaluation) -> str | None:
    """Mean and spread of the seeds' accuracies, if there are several."""
    split = next(iter(evaluation.splits.values()))
    values = [scores.accuracy for scores in split.seed_scores]
    if len(values) < 2:
        return None
    listed = ", ".join(f"{value:.3f}" for value in values)
    return (
        f"each of {len(values)} seeds alone: {listed}; mean {statistics.mean(values):.3f}, "
        f"standard deviation {statistics.stdev(values):.3f}"
    )


def _networks(plan: Plan) -> int:
    return (plan.evaluate.max_folds or plan.evaluate.folds) * plan.evaluate.ensemble * len(plan.evaluate.by)


def _is_complete(place: Path, plan: Plan) -> bool:
    if not (place / EVALUATION).is_file():
        return False
    return sum(len(split.runs) for split in Evaluation.read(place).splits.values()) == _networks(plan)


def _epochs(place: Path) -> int:
    """How many epochs the trainings of a model have behind them."""
    tables = place.glob(f"*/fold_*/seed_*/{METRICS}")
    return sum(len(table.read_text(encoding="utf-8").splitlines()) - 1 for table in tables)


def _duplicates(path: Path, corpus: Corpus) -> Leakage:
    if not path.is_file():
        write_leakage(path, find_leakage(corpus), {})
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        pairs = (
            Pair(**{**pair, "labels": (pair["labels"][0], pair["labels"][1])}) for pair in found["pairs"]
        )
        return Leakage(tuple(pairs), tuple(found["problems"]), int(found["recordings"]))
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(path, f"a damaged file ({error})", "none, so that it is made anew") from error
