"""`genre evaluate`: scores that can be believed, as one page."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from audio_io.errors import ConfigError
from audio_io.settings import add_arguments, from_arguments
from genre.commands.parsers import Commands
from genre.evaluate.config import WAYS, EvaluateConfig, FoldConfig
from genre.run_config import PredictConfig, Settings
from genre.settings_file import add_settings, read_settings

if TYPE_CHECKING:
    from genre.evaluate.result import Evaluation
    from genre.layouts import Corpus

DESCRIPTION = """\
Cross-validate: train networks fold by fold, and let each answer the tracks that it has not heard.

DATA is as for genre separate. Folds are made by artist and at random, side by side; without artists, at
random only. In each fold some of the training tracks (--test-size) choose the epoch and fit the temperature,
so the tested tracks choose nothing. The same command goes on with an evaluation that was interrupted.

With --checkpoint a finished network is scored on DATA, and nothing is trained; of the settings only those of
[separation] can be other than in its training. Tracks that the network was trained on, or that chose its
epoch and temperature, are refused. In the folder:
  index.html       the report; report.json and the figures beside it
  evaluation.json  everything that was measured
  predictions.csv  the answer to each track"""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="cross-validate by artist and at random, or score a network",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("data", metavar="DATA", help="the corpus")
    parser.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder of the evaluation")
    parser.add_argument(
        "--layout",
        choices=("auto", "contest", "folders", "csv"),
        default="auto",
        help="how DATA is organised (default: auto)",
    )
    parser.add_argument("--artists", metavar="CSV", help="table with the columns path and artist")
    parser.add_argument(
        "--by",
        nargs="+",
        choices=WAYS,
        help="ways of splitting (default: artist random, or random if artists are not known)",
    )
    parser.add_argument(
        "--duplicates",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="look for recordings that are in DATA twice, and keep them together by artist (default: True)",
    )
    parser.add_argument("--checkpoint", metavar="MODEL", help="score this network instead of training any")
    parser.add_argument(
        "--include-training",
        action="store_true",
        help="with --checkpoint: also score tracks that had a part in its training",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="INT", help="processes that separate (default: 1)"
    )
    add_arguments(parser, FoldConfig, title="folds")
    add_arguments(parser, PredictConfig, title="windows, with --checkpoint")
    add_settings(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre evaluate`."""
    folds = from_arguments(FoldConfig, arguments)
    windows = from_arguments(PredictConfig, arguments)
    settings = read_settings(arguments)
    if arguments.include_training and not arguments.checkpoint:
        raise ConfigError("include_training", "without --checkpoint", "--checkpoint MODEL beside it")

    from genre.evaluate.page import write_report
    from genre.evaluate.summary import gap_sentence, headline
    from genre.folds import read_artists
    from genre.layouts import read_corpus

    corpus = read_corpus(arguments.data, arguments.layout)
    if arguments.artists:
        corpus = read_artists(arguments.artists, corpus)
    if arguments.checkpoint:
        name, evaluation = Path(arguments.checkpoint).stem, _score(arguments, corpus, windows)
    else:
        name = "mixture" if settings.separation.separator == "none" else "four stems"
        evaluation = _cross_validate(arguments, corpus, settings, folds)
    title = f"Genres of {corpus.root.resolve().name}"
    for problem in evaluation.problems:
        print(problem, file=sys.stderr)
    page = write_report({name: evaluation}, arguments.output_dir, title)
    for sentence in (headline(name, evaluation), gap_sentence(name, evaluation)):
        if sentence:
            print(sentence)
    print(f"wrote   {page}, with report.json, evaluation.json and predictions.csv beside it")
    return 0


def _score(arguments: argparse.Namespace, corpus: "Corpus", windows: PredictConfig) -> "Evaluation":
    from genre import checkpoint as checkpoints
    from genre.evaluate.corpus import evaluate_checkpoint

    trained = checkpoints.load(arguments.checkpoint).separation
    return evaluate_checkpoint(
        arguments.checkpoint,
        corpus,
        arguments.output_dir,
        separation=read_settings(arguments, Settings(separation=trained)).separation,
        windows=windows,
        include_training=arguments.include_training,
        device=arguments.device,
        jobs=arguments.jobs,
    )


def _cross_validate(
    arguments: argparse.Namespace, corpus: "Corpus", settings: Settings, folds: FoldConfig
) -> "Evaluation":
    from dataclasses import asdict

    from genre.evaluate.corpus import evaluate_corpus

    by = tuple(arguments.by or WAYS)
    if arguments.by is None and not all(track.artist for track in corpus.tracks):
        print("note: not every track has an artist (--artists CSV), so the folds are random only")
        by = ("random",)
    return evaluate_corpus(
        corpus,
        arguments.output_dir,
        settings,
        EvaluateConfig(**asdict(folds), by=by),
        device=arguments.device,
        jobs=arguments.jobs,
        search_duplicates=arguments.duplicates,
    )
