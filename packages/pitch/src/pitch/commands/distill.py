"""`pitch distill`: a smaller network learns the posteriors of a larger one."""

import argparse

from audio_io import cli
from audio_io.settings import add_arguments, from_arguments
from pitch.commands.parsers import Commands
from pitch.training.config import DistillConfig

DESCRIPTION = """\
Train a student on the posteriors of a teacher, with generated sounds and recordings of your own.

The same command goes on with a run that was interrupted. In the folder of the run:
  STUDENT.pth   the weights, for pitch track --weights
  curves.png    loss and agreement with the teacher on frames that are never trained on
  last.ckpt, metrics.csv, tensorboard/, distill.json"""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "distill",
        help="train a small network on the answers of a large one",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--audio", nargs="+", default=(), metavar="PATH", help="recordings to learn from, or folders"
    )
    parser.add_argument("--start", metavar="FILE", help="weights to start from (default: the pruned teacher)")
    parser.add_argument("--teacher-weights", metavar="FILE", help="weights of the teacher, if not its own")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add_arguments(parser, DistillConfig)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`pitch distill`."""
    config = from_arguments(DistillConfig, arguments)
    device = cli.pick_device(arguments.device)
    from pitch.training.distill import distill

    target = distill(
        config,
        arguments.output_dir,
        audio=arguments.audio,
        start=arguments.start,
        teacher_weights=arguments.teacher_weights,
        device=device,
    )
    print(
        f"wrote   {target}, {target.with_name('curves.png')}\n"
        f"use it  pitch track --model {config.student} --weights {target} FILE"
    )
    return 0
