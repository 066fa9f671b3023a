"""`genre train`: a network from a corpus."""

import argparse

from audio_io.settings import add_arguments, from_arguments
from genre.commands.parsers import Commands
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
    parser = commands.add_parser(
        "train",
        help="train a network on a corpus",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("data", metavar="DATA", help="the corpus")
    parser.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--layout",
        choices=("auto", "contest", "folders", "csv"),
        default="auto",
        help="how DATA is organised (default: auto)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="INT", help="processes that separate (default: 1)"
    )
    add_arguments(parser, RunConfig, title="run")
    add_settings(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre train`."""
    settings = read_settings(arguments)
    run_config = from_arguments(RunConfig, arguments)

    from genre.layouts import read_corpus
    from genre.train_corpus import train_corpus

    result = train_corpus(
        read_corpus(arguments.data, arguments.layout),
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
