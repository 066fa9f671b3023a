"""`separation-coreml train-small`: the small separator, trained on rendered songs."""

import argparse

from audio_io.settings import add_arguments, from_arguments
from separation_coreml.commands.parsers import Commands
from separation_coreml.training.config import TrainConfig

DESCRIPTION = """\
Train the small separator on songs that are rendered first, on the CPU.

The same command goes on with a run that was interrupted. In the folder of the run:
  small.pth    the weights, for --checkpoint of the other commands
  log.csv, curves.png, train.json
  songs.int16, validation.int16   the rendered songs (7 MB for each song of 10 s)
  last.pt      what the run goes on from"""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "train-small",
        help="train the small separator on rendered songs",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder of the run")
    add_arguments(parser, TrainConfig)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`separation-coreml train-small`."""
    config = from_arguments(TrainConfig, arguments)

    from separation_coreml.training.fit import train

    target = train(config, arguments.output_dir)
    print(
        f"wrote   {target}, {target.with_name('curves.png')}\n"
        f"use it  separation-coreml separate --model small --checkpoint {target} FILE"
    )
    return 0
