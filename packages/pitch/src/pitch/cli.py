"""The `pitch` command."""

import argparse
from collections.abc import Sequence

from audio_io import cli
from pitch.commands import (
    analyze,
    convert,
    distill,
    doctor,
    evaluate,
    export,
    finetune,
    inspect,
    live,
    prune,
    track,
    weights,
)

DESCRIPTION = "CREPE pitch tracking for any recording."
COMMANDS = (
    track,
    analyze,
    live,
    convert,
    weights,
    export,
    evaluate,
    prune,
    distill,
    finetune,
    inspect,
    doctor,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see `audio_io.cli` for the exit codes."""
    return cli.run(build_parser(), arguments)


def build_parser() -> argparse.ArgumentParser:
    """The parser, for the command itself and its documentation."""
    parser = cli.build_parser("pitch", DESCRIPTION)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add_command(commands)
    return parser
