"""The `separation-coreml` command."""

import argparse
from collections.abc import Sequence

from audio_io import cli
from separation_coreml.commands import (
    convert,
    evaluate,
    export_onnx,
    ios_vectors,
    models,
    render_stems,
    report,
    separate,
    train_small,
    verify,
)

DESCRIPTION = "Source-separation models converted to Core ML, with proof that the result is the same model."
COMMANDS = (
    models,
    convert,
    export_onnx,
    ios_vectors,
    report,
    separate,
    evaluate,
    verify,
    render_stems,
    train_small,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see `audio_io.cli` for the exit codes."""
    return cli.run(build_parser(), arguments)


def build_parser() -> argparse.ArgumentParser:
    """The parser, for the command itself and its documentation."""
    parser = cli.build_parser("separation-coreml", DESCRIPTION)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add_command(commands)
    return parser
