"""`pitch convert`: official Keras weights to a .pth file."""

import argparse

from pitch.commands.parsers import Commands


def add_command(commands: Commands) -> None:
    """Add the parser."""
    convert = commands.add_parser(
        "convert",
        help="official Keras weights (.h5, .h5.bz2) to a .pth file",
        description="Convert official Keras weights, bit for bit; the shapes tell the capacity.",
        allow_abbrev=False,
    )
    convert.add_argument("source", metavar="FILE", help="model-small.h5, model-small.h5.bz2, …")
    convert.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="where to write, such as small.pth"
    )
    convert.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`pitch convert`."""
    from pitch.convert_keras import convert_file

    capacity = convert_file(arguments.source, arguments.output)
    print(
        f"{arguments.source}: CREPE {capacity.name}, {capacity.parameters:,} parameters\n"
        f"  wrote   {arguments.output}\n"
        f"  use it  pitch track --model {capacity.name} --weights {arguments.output} FILE"
    )
    return 0
