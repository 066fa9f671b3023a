"""`genre predict`: the genres of recordings, or the file to hand in for a contest."""

import argparse
import csv
import io
import sys
from typing import TYPE_CHECKING

from audio_io.errors import ConfigError
from genre.commands.parsers import Commands, add_parser, add_predictor, open_predictor

if TYPE_CHECKING:
    from pathlib import Path

    from genre.predict import Prediction, Predictor

DESCRIPTION = """\
Probabilities of genres, the mean over windows that overlap and cover the whole recording.

FILE is a recording, a folder of ready-made stems (vocals.wav, drums.wav, bass.wav, other.wav) or a folder
below which all recordings are taken. Those that cannot be used are listed at the end; the exit code is 2 only
if none can. After Ctrl-C the table has what was predicted until then. Nothing is needed but the checkpoint:
it knows how its training tracks were separated (--separator and its like override that) and scaled.

With --submit, FILE is the folder of a contest; its test tracks are predicted, in the order and the form of
its sample_submit."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = add_parser(commands, "predict", "the genres of recordings", DESCRIPTION)
    parser.add_argument(
        "--submit", action="store_true", help="FILE is a contest's folder: predict its test tracks"
    )
    parser.add_argument(
        "-o", "--output", metavar="CSV", help="table to write (default: none; with --submit: submit.csv)"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="INT",
        help="processes that separate for --submit (default: 1)",
    )
    add_predictor(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre predict`."""
    if arguments.submit and len(arguments.files) > 1:
        raise ConfigError("submit", f"{len(arguments.files)} folders", "the folder of one contest")

    from genre.outputs import check_target

    if arguments.output:
        check_target(arguments.output)
    predictor = open_predictor(arguments)
    return _submit(arguments, predictor) if arguments.submit else _predict(arguments, predictor)


def _submit(arguments: argparse.Namespace, predictor: "Predictor") -> int:
    from genre.layouts import read_corpus
    from genre.outputs import check_target
    from genre.submit import submit

    corpus = read_corpus(arguments.files[0], "contest")
    target = arguments.output or "submit.csv"
    check_target(target)
    result = submit(predictor, corpus, target, jobs=arguments.jobs)
    for problem in result.problems:
        print(f"left as in the example: {problem}", file=sys.stderr)
    print(f"wrote   {target}, {result.predicted} of {result.rows} rows predicted")
    return 0


def _predict(arguments: argparse.Namespace, predictor: "Predictor") -> int:
    from audio_io.errors import AudioError
    from audio_io.progress import Progress
    from genre.outputs import say
    from genre.predict import find_recordings, nothing_usable, predict_all

    recordings = find_recordings(arguments.files)
    predictions: list[tuple[Path, Prediction]] = []
    errors: list[AudioError] = []
    try:
        with Progress("predict", len(recordings), "recordings") as progress:
            for path, outcome in predict_all(predictor, recordings):
                progress.advance(1)
                if isinstance(outcome, AudioError):
                    errors.append(outcome)
                    continue
                predictions.append((path, outcome))
                best = outcome.probabilities.argsort()[::-1][:3]
                shown = ", ".join(f"{outcome.labels[i]} {outcome.probabilities[i]:.3f}" for i in best)
                count = len(outcome.starts)
                say(f"{path}: {shown} ({count} window{'s' if count > 1 else ''})")
    finally:
        # Also what was predicted before Ctrl-C: it may be the work of hours.
        if arguments.output and predictions:
            _write_table(arguments.output, predictions)
            print(f"wrote   {arguments.output}, {len(predictions)} of {len(recordings)} recordings predicted")
        if len(recordings) > 1:
            for error in errors:
                print(f"left out: {error}", file=sys.stderr)
    if not predictions:
        raise nothing_usable(errors)
    return 0


def _write_table(target: str, predictions: "list[tuple[Path, Prediction]]") -> None:
    from audio_io.atomic import write_text

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "windows", *predictions[0][1].labels])
    for path, prediction in predictions:
        shares = [f"{value:.6f}" for value in prediction.probabilities]
        writer.writerow([path.as_posix(), prediction.label, len(prediction.starts), *shares])
    write_text(target, text.getvalue())
