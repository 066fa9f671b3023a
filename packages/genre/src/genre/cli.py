"""The `genre` command."""

import argparse
from collections.abc import Sequence
from typing import Any

from audio_io import cli
from genre.commands import (
    corpus,
    demo,
    eda,
    evaluate,
    explain,
    export,
    export_stems,
    leakage,
    predict,
    separate,
    train,
)

DESCRIPTION = "Music genre classification from four stems with EfficientNet-B3."
# In the order in which a corpus is worked on.
COMMANDS: tuple[Any, ...] = (
    demo,
    corpus,
    eda,
    leakage,
    separate,
    export_stems,
    train,
    evaluate,
    predict,
    explain,
    export,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see `audio_io.cli` for the exit codes."""
    return cli.run(build_parser(), arguments)


def build_parser() -> argparse.ArgumentParser:
    """The parser, for the command itself and its documentation."""
    parser = cli.build_parser("genre", DESCRIPTION)
    if COMMANDS:
        commands = parser.add_subparsers(title="commands", metavar="COMMAND")
        for command in COMMANDS:
            command.add_command(commands)
    return parser
