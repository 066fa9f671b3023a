"""The `genre` command."""

import argparse
from collections.abc import Sequence

from audio_io import cli

DESCRIPTION = """\
Music genre classification from four Demucs stems with EfficientNet-B3.

No commands yet: this release holds the package's place in the workspace,
with its dependencies resolved and locked."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see `audio_io.cli` for the exit codes."""
    return cli.run(build_parser(), arguments)


def build_parser() -> argparse.ArgumentParser:
    """The parser, for the command itself and its documentation."""
    return cli.build_parser("genre", DESCRIPTION)
