"""Evaluations side by side: one web page that needs nothing but a browser, its figures, and the numbers."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audio_io.atomic import write_json, write_text
from audio_io.errors import ConfigError
from genre.evaluate.figures import (
    plot_accuracy,
    plot_confusion,
    plot_genres,
    plot_reliability,
    split_title,
)
from genre.evaluate.result import Evaluation, Split
from genre.evaluate.summary import compare_models, gap_sentence, headline, leakage_sentences
from genre.pages import document, image, items, table

PAGE, NUMBERS = "index.html", "report.json"
_SHOWN_MISTAKES = 50

_STYLE = """
.beside { align-items: flex-start; display: flex; flex-wrap: wrap; gap: 1.5rem; }
"""

_TERMS = (
    ("accuracy", "share of the tracks that is right"),
    (
        "95 %",
        "interval of the accuracy: a bootstrap over artists where these are known, since the tracks of one "
        "are alike; else that of Wilson, which takes tracks for independent and is rather too narrow. The "
        "networks are taken as they are: other trainings would give other scores",
    ),
    (
        "p",
        "chance of such a difference if both were equally good: by exchanging the two sets of answers within "
        "artists, or within tracks (McNemar's exact test) where the artists are not known, and then rather "
        "too small",
    ),
    ("balanced", "mean share of each genre's tracks that is right"),
    ("macro-F1", "mean over the genres of the harmonic mean of precision and recall"),
    ("over folds", "mean and standard deviation of the accuracy over the folds"),
    ("NLL", "mean negative log-likelihood in nats; log of the number of genres is chance"),
    ("Brier", "mean squared distance of the probabilities from the truth, 0 to 2"),
    ("ECE", "expected calibration error, 15 bins: how far confidence is from accuracy"),
    ("0.2 → 0.1", "before and after the temperature, which validation tracks of each training chose"),
)


def write_report(
    evaluations: Mapping[str, Evaluation], folder: str | Path, title: str, *, notes: Sequence[str] = ()
) -> Path:
    """Write `index.html`, `report.json` and the figures.

    Args:
        evaluations: By the name of the model; the first one is compared with the next, and so on.
        folder: Where to write.
        title: Of the page.
        notes: Sentences about the corpus and the models, for the end of the page.

    Returns:
        The page.

    Raises:
        ConfigError: If there is nothing to report.
    """
    if not evaluations or not all(evaluation.splits for evaluation in evaluations.values()):
        raise ConfigError("evaluations", "nothing", "at least one evaluation with a split")
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    body = [f"<h1>{html.escape(title)}</h1>"]
    body += ["<h2>Before the scores: what is in the corpus twice</h2>", *_corpus(evaluations)]
    body.append("<h2>Scores</h2>")
    body += [f"<p>{html.escape(headline(name, entry))}</p>" for name, entry in evaluations.items()]
    body += _overview(evaluations, place)
    slugs = _slugs(evaluations)
    for name, evaluation in evaluations.items():
        for by, split in evaluation.splits.items():
            body.append(f"<h2>{html.escape(f'{name}, {split_title(by)}')}</h2>")
            body += _section(split, place, f"{slugs[name]}_{_slug(by)}")
    if notes:
        body += ["<h2>About the corpus and the models</h2>", items(notes)]
    write_json(place / NUMBERS, _numbers(evaluations, title))
    write_text(place / PAGE, document(title, body, style=_STYLE))
    return place / PAGE


def _corpus(evaluations: Mapping[str, Evaluation]) -> list[str]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, evaluation in evaluations.items():
        groups.setdefault(tuple(leakage_sentences(evaluation)), []).append(name)
    body = []
    for sentences, names in groups.items():
        if len(groups) > 1:
            body.append(f"<h3>{html.escape(', '.join(names))}</h3>")
        body.append(items(sentences))
        pairs = evaluations[names[0]].duplicates
        if pairs:
            body.append(f"<details><summary>{len(pairs)} pairs</summary>{items(pairs)}</details>")
    problems = dict.fromkeys(text for entry in evaluations.values() for text in entry.problems)
    if problems:
        body += ["<h3>Left out, and to be looked at</h3>", items(list(problems))]
    return body


def _overview(evaluations: Mapping[str, Evaluation], place: Path) -> list[str]:
    heads = (
        "model", "tracks", "accuracy", "95 % interval (over)", "over folds", "balanced", "macro-F1",
        "NLL", "Brier", "ECE",
    )  # fmt: skip
    rows = []
    for name, evaluation in evaluations.items():
        for by, split in evaluation.splits.items():
            after, before = split.scores, split.scores_before
            mean, deviation = split.fold_accuracy
            spread = f"{mean:.3f} ± {deviation:.3f}" if len(split.fold_scores) > 1 else "–"
            rows.append(
                (
                    f"{name}, {split_title(by)}",
                    str(after.tracks), f"{after.accuracy:.3f}",
                    f"{after.interval[0]:.3f} to {after.interval[1]:.3f} ({after.interval_over})", spread,
                    f"{after.balanced_accuracy:.3f}", f"{after.macro_f1:.3f}",
                    f"{before.nll:.3f} → {after.nll:.3f}", f"{before.brier:.3f} → {after.brier:.3f}",
                    f"{before.ece:.3f} → {after.ece:.3f}",
                )
            )  # fmt: skip
    body = [table(heads, rows)]
    gaps = [gap_sentence(name, entry) for name, entry in evaluations.items()]
    gaps += [versus.sentence for versus in compare_models(evaluations)]
    body += [f"<p>{html.escape(text)}</p>" for text in gaps if text]
    plot_accuracy(place / "accuracy.png", evaluations)
    plot_genres(place / "genres.png", evaluations)
    body.append(image(place / "accuracy.png", "Accuracy of each model with its interval"))
    body.append(image(place / "genres.png", "F1 of each genre"))
    terms = "".join(f"<li><b>{word}</b>: {meaning}</li>" for word, meaning in _TERMS)
    body.append(f'<details class="soft"><summary>What the numbers are</summary><ul>{terms}</ul></details>')
    return body


def _section(split: Split, place: Path, stem: str) -> list[str]:
    confusion, reliability = place / f"confusion_{stem}.png", place / f"reliability_{stem}.png"
    plot_confusion(confusion, split)
    plot_reliability(reliability, split)
    classes = [
        (
            entry.label,
            str(entry.support),
            *(f"{value:.3f}" for value in (entry.precision, entry.recall, entry.f1)),
        )
        for entry in split.scores.classes
    ]
    return [
        f'<div class="beside">{image(confusion, "Confusion matrix")}'
        + table(("genre", "tracks", "precision", "recall", "F1"), classes)
        + "</div>",
        image(reliability, "Accuracy by confidence, before and after the temperature"),
        *_networks(split),
        *_mistakes(split),
    ]


def _networks(split: Split) -> list[str]:
    body = []
    if len(split.seeds) > 1:
        rows = [
            (f"seed {seed}", f"{scores.accuracy:.3f}", f"{scores.macro_f1:.3f}", f"{scores.nll:.3f}")
            for seed, scores in zip(split.seeds, split.seed_scores, strict=True)
        ]
        mean = split.scores
        rows.append(
            ("mean of the probabilities", f"{mean.accuracy:.3f}", f"{mean.macro_f1:.3f}", f"{mean.nll:.3f}")
        )
        body += ["<h3>Seeds</h3>", table(("", "accuracy", "macro-F1", "NLL"), rows)]
    if split.folds > 1:
        tested = len(split.fold_scores)
        note = f"{tested} of {split.folds} folds" if tested < split.folds else f"{tested} folds"
        networks = [
            (
                f"{run.fold}, seed {run.seed}", f"{run.epoch}", f"{run.validation_accuracy:.3f}",
                f"{run.temperature:.2f}", f"{split.fold_scores[run.fold].accuracy:.3f}",
            )
            for run in split.runs
        ]  # fmt: skip
        heads = ("fold", "best epoch", "accuracy in validation", "temperature", "accuracy of the fold")
        body.append(f"<details><summary>The networks ({note})</summary>{table(heads, networks)}</details>")
    return body


def _mistakes(split: Split) -> list[str]:
    shown = split.mistakes[:_SHOWN_MISTAKES]
    if not shown:
        return ["<p>No track is answered wrongly.</p>"]
    rows = [
        (
            mistake.track.id, mistake.track.artist or "", mistake.track.label, mistake.answer,
            f"{mistake.probability:.3f}", f"{mistake.of_truth:.3f}",
        )
        for mistake in shown
    ]  # fmt: skip
    heads = ("track", "artist", "truth", "answer", "probability", "of the truth")
    count = len(split.mistakes)
    more = f"; the first {len(shown)}, all are in predictions.csv" if count > len(shown) else ""
    title = f"<h3>Wrong answers, the most confident first ({count}{more})</h3>"
    return [title, table(heads, rows, kind="words")]


def _numbers(evaluations: Mapping[str, Evaluation], title: str) -> dict[str, Any]:
    models = {}
    for name, evaluation in evaluations.items():
        splits = {}
        for by, split in evaluation.splits.items():
            mean, deviation = split.fold_accuracy
            splits[by] = {
                "after_temperature": asdict(split.scores),
                "before_temperature": asdict(split.scores_before),
                "folds": {fold: scores.accuracy for fold, scores in split.fold_scores.items()},
                "folds_of_corpus": split.folds,
                "fold_mean": mean,
                "fold_deviation": deviation,
                "seeds": {
                    seed: {"accuracy": scores.accuracy, "macro_f1": scores.macro_f1, "nll": scores.nll}
                    for seed, scores in zip(split.seeds, split.seed_scores, strict=True)
                },
                "copies_on_both_sides": split.copies,
                "known_artists": split.known_artists,
                "wrong": len(split.mistakes),
            }
        models[name] = {
            "splits": splits,
            "gap": gap_sentence(name, evaluation),
            "duplicates": evaluation.duplicates,
            "problems": evaluation.problems,
            "settings": evaluation.settings,
        }
    comparisons = [{**asdict(entry), "sentence": entry.sentence} for entry in compare_models(evaluations)]
    return {"title": title, "models": models, "comparisons": comparisons}


def _slugs(names: Mapping[str, object]) -> dict[str, str]:
    """Names of files for names of models, each its own."""
    found: dict[str, str] = {}
    for number, name in enumerate(names, start=1):
        slug = _slug(name)
        found[name] = slug if slug and slug not in found.values() else f"{slug or 'model'}_{number}"
    return found


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
