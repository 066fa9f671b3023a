"""The `separation-coreml` command."""

import argparse
from collections.abc import Sequence

from audio_io import cli

DESCRIPTION = """\
Source-separation models converted to Core ML, with proof that the result is the same model.

No commands yet: this release holds the package's place in the workspace,
with its dependencies resolved and locked."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see `audio_io.cli` for the exit codes."""
    return cli.run(build_parser(), arguments)


def build_parser() -> argparse.ArgumentParser:
    """The parser, for the command itself and its documentation."""
    return cli.build_parser("separation-coreml", DESCRIPTION)
