"""`genre train`: a network from a corpus."""

import argparse

from audio_io.settings import add_arguments, from_arguments
from genre.commands.parsers import (
    Commands,
    add_artists,
    add_corpus,
    add_device,
    add_jobs,
    add_parser,
    open_corpus,
)
from genre.run_config import RunConfig
from genre.settings_file import add_settings, read_settings

DESCRIPTION = """\
Train a network on a corpus: stems (from the cache, or separated now), mel spectrograms, EfficientNet.

DATA is as for genre separate. The same command goes on with a run that was interrupted. In the folder:
  best_model.pth   the network of the best epoch, for genre predict and genre export
  checkpoint.pth   all that is needed to go on
  train_log.txt, metrics.csv, curves.png, tensorboard/, run.json"""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = add_parser(commands, "train", "train a network on a corpus", DESCRIPTION)
    add_corpus(parser)
    add_artists(parser)
    parser.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder of the run")
    add_device(parser)
    add_jobs(parser)
    add_arguments(parser, RunConfig, title="run")
    add_settings(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre train`."""
    settings = read_settings(arguments)
    run_config = from_arguments(RunConfig, arguments)

    from genre.train_corpus import train_corpus

    result = train_corpus(
        open_corpus(arguments),
        arguments.output_dir,
        settings,
        run=run_config,
        device=arguments.device,
        jobs=arguments.jobs,
    )
    print(
        f"best    epoch {best_of(result.history)} of {len(result.history)}, accuracy {result.accuracy:.4f}\n"
        f"wrote   {result.best}, {result.best.with_name('curves.png')}\n"
        f"use it  genre predict {result.best} FILE"
    )
    return 0


def best_of(history: tuple[dict[str, float], ...]) -> int:
    """Number of the best epoch, from 1."""
    from genre.train_callbacks import best_epoch

    return best_epoch(history) + 1
