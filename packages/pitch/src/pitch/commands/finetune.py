"""`pitch finetune`: adapt a network to recordings with labelled pitch."""

import argparse

from audio_io import cli
from audio_io.settings import add_arguments, from_arguments
from pitch.commands.parsers import Commands
from pitch.training.config import FinetuneConfig

DESCRIPTION = """\
Train a network on recordings with labelled pitch: any folder with NAME.csv (time in s, frequency in Hz,
0 where there is none) beside NAME.wav, or a published data set (--dataset).

The same command goes on with a run that was interrupted."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "finetune",
        help="adapt a network to recordings with labelled pitch",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("data", metavar="DIR", help="folder of the data set")
    parser.add_argument(
        "--dataset", default="folder", metavar="NAME", help="its layout (default: folder); see pitch evaluate"
    )
    parser.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--start", metavar="FILE", help="weights to start from (default: the capacity's own)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add_arguments(parser, FinetuneConfig)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`pitch finetune`."""
    config = from_arguments(FinetuneConfig, arguments)
    device = cli.pick_device(arguments.device)
    from pitch.evaluate import load_dataset
    from pitch.training.finetune import finetune

    examples = load_dataset(arguments.dataset, arguments.data)
    target = finetune(config, arguments.output_dir, examples, start=arguments.start, device=device)
    print(
        f"wrote   {target}, {target.with_name('curves.png')}\n"
        f"use it  pitch track --model {config.model} --weights {target} FILE"
    )
    return 0
