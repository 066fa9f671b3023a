"""`separation-coreml ios-vectors`: test vectors for the Swift package."""

import argparse

from separation_coreml.commands.parsers import Commands

DESCRIPTION = """\
Write the numbers that the tests of the Swift package (ios/) compare with: starts of segments, overlap-add and
the STFT of each kind of model."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    ios = commands.add_parser(
        "ios-vectors",
        help="test vectors for the Swift package",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    ios.add_argument("-o", "--output", required=True, metavar="FILE", help="JSON file to write")
    ios.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`separation-coreml ios-vectors`."""
    from separation_coreml.ios import write_vectors

    write_vectors(arguments.output)
    print(f"wrote   {arguments.output}")
    return 0
