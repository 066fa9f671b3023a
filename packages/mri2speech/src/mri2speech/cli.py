"""The `mri2speech` command, and `train`, which is `mri2speech train`."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from audio_io import cli
from mri2speech.commands import evaluate, export, gradcam, phantom, preprocess, synthesize, vocoder
from mri2speech.commands import train as train_command

DESCRIPTION = "Speech from real-time MRI video: CNN-BiLSTM to mel, HiFi-GAN to waveform."
# In the order in which a corpus is worked on.
COMMANDS: tuple[Any, ...] = (
    phantom,
    preprocess,
    train_command,
    vocoder,
    synthesize,
    gradcam,
    evaluate,
    export,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see `audio_io.cli` for the exit codes."""
    return cli.run(build_parser(), arguments)


def train() -> int:
    """The script `train`: `mri2speech train` with the same options."""
    return main(["train", *sys.argv[1:]])


def build_parser() -> argparse.ArgumentParser:
    """The parser, for the command itself and its documentation."""
    parser = cli.build_parser("mri2speech", DESCRIPTION)
    if COMMANDS:
        commands = parser.add_subparsers(title="commands", metavar="COMMAND")
        for command in COMMANDS:
            command.add_command(commands)
    return parser
