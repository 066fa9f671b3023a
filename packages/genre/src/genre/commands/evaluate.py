"""`genre evaluate`: scores that can be believed, as one page."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from audio_io.errors import ConfigError
from genre.commands.parsers import (
    Commands,
    add_artists,
    add_corpus,
    add_device,
    add_jobs,
    add_parser,
    open_corpus,
)
from genre.evaluate.config import WAYS, EvaluateConfig, FoldConfig
from genre.run_config import PredictConfig, Settings
from genre.settings_file import TABLES, add_optional, add_settings, given, read_settings

if TYPE_CHECKING:
    from genre.evaluate.result import Evaluation
    from genre.layouts import Corpus

DESCRIPTION = """\
Cross-validate: train networks fold by fold, and let each answer the tracks that it has not heard.

DATA is as for genre separate. Folds are made by artist and at random, side by side; without artists, at
random only. In each fold some of the training tracks (--test-size) choose the epoch and fit the temperature,
so the tested tracks choose nothing. The same command goes on with an evaluation that was interrupted.

With --checkpoint a finished network is scored on DATA, and nothing is trained: of the settings only those of
[separation] can be other than in its training, options of folds and training are refused, and other tables of
--config are not looked at. Tracks that the network was trained on, or that chose its epoch and temperature,
are refused. In the folder:
  index.html       the report; report.json and the figures beside it
  evaluation.json  everything that was measured
  predictions.csv  the answer to each track"""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = add_parser(
        commands, "evaluate", "cross-validate by artist and at random, or score a network", DESCRIPTION
    )
    add_corpus(parser)
    parser.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder of the evaluation")
    add_artists(parser)
    parser.add_argument(
        "--by",
        nargs="+",
        choices=WAYS,
        help="ways of splitting (default: artist random, or random if artists are not known)",
    )
    parser.add_argument(
        "--duplicates",
        action=argparse.BooleanOptionalAction,
        help="look for recordings that are in DATA twice, and keep them together by artist (default: True)",
    )
    parser.add_argument("--checkpoint", metavar="MODEL", help="score this network instead of training any")
    parser.add_argument(
        "--include-training",
        action="store_true",
        help="with --checkpoint: also score tracks that had a part in its training",
    )
    add_device(parser)
    add_jobs(parser)
    add_optional(parser, FoldConfig, title="folds")
    add_optional(parser, PredictConfig, title="windows, with --checkpoint")
    add_settings(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre evaluate`."""
    _check_mode(arguments)
    folds = FoldConfig(**given(arguments, FoldConfig))
    windows = PredictConfig(**given(arguments, PredictConfig))
    settings = read_settings(arguments)

    from genre.evaluate.page import write_report
    from genre.evaluate.summary import gap_sentence, headline

    corpus = open_corpus(arguments)
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


def _check_mode(arguments: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if arguments.checkpoint:
        kinds = (FoldConfig, *(kind for name, kind in TABLES.items() if name != "separation"))
        useless = [name for kind in kinds for name in given(arguments, kind)]
        useless += [name for name in ("by", "duplicates") if getattr(arguments, name) is not None]
        if useless:
            expected = "only settings of windows and separation, since nothing is trained"
            raise ConfigError(useless[0], "a value beside --checkpoint", expected)
    else:
        useless = list(given(arguments, PredictConfig))
        useless += ["include_training"] if arguments.include_training else []
        if useless:
            raise ConfigError(useless[0], "a value without --checkpoint", "--checkpoint MODEL beside it")


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
        search_duplicates=arguments.duplicates is not False,
    )
