"""The `mri2speech` command."""

import argparse
from collections.abc import Sequence

from audio_io import cli

DESCRIPTION = """\
Speech from real-time MRI video: CNN-BiLSTM to mel, HiFi-GAN to waveform.

No commands yet: this release holds the package's place in the workspace,
with its dependencies resolved and locked."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see `audio_io.cli` for the exit codes."""
    return cli.run(build_parser(), arguments)


def build_parser() -> argparse.ArgumentParser:
    """The parser, for the command itself and its documentation."""
    return cli.build_parser("mri2speech", DESCRIPTION)
