"""What the sub-commands' parsers are made with."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = argparse._SubParsersAction


def sub_parser(
    commands: Commands, name: str, short: str, description: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add the parser of a command.

    Args:
        commands: Where it is added.
        name: Of the command.
        short: For the list of commands.
        description: For the command's own `--help`, its lines kept.
        run: Does the command; returns its exit code.
    """
    parser = commands.add_parser(
        name,
        help=short,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=run)
    return parser
