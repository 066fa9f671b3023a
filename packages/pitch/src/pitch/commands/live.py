"""`pitch live`: pitch while the sound comes."""

import argparse
import sys
from typing import TYPE_CHECKING

from audio_io import cli
from audio_io.settings import add_arguments, from_arguments
from pitch.capacities import CAPACITIES
from pitch.commands.parsers import Commands
from pitch.config import LiveConfig, TrackConfig

if TYPE_CHECKING:
    from pitch.live import Writer

DESCRIPTION = """\
Print the pitch of the microphone, or of raw samples on standard input, while the sound comes.

  pitch live --meter
  ffmpeg -loglevel error -i FILE -ac 1 -ar 48000 -f s16le - | pitch live --stdin

Each frame is a line of CSV: time (s), frequency (Hz), confidence (0 to 1), voiced (1 or 0). Ctrl-C ends."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    live = commands.add_parser(
        "live",
        help="pitch of the microphone or a pipe, as it comes",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    live.add_argument("--stdin", action="store_true", help="track raw samples from standard input")
    live.add_argument("--input", metavar="NAME", help="microphone: its number or part of its name")
    output = live.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON lines instead of CSV")
    output.add_argument("--meter", action="store_true", help="show one line with the note and a needle")
    live.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    sizes = ", ".join(CAPACITIES)
    live.add_argument(
        "--weights", metavar="FILE", help=f"weights to use for the model ({sizes}) instead of its own"
    )
    add_arguments(live, LiveConfig, title="input")
    add_arguments(live, TrackConfig)
    live.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`pitch live`."""
    import numpy as np

    from pitch.live import MICROPHONE_BLOCK, PATIENCE, Inbox, follow, microphone, pipe_blocks
    from pitch.stream import Stream

    source = from_arguments(LiveConfig, arguments)
    stream = Stream(
        from_arguments(TrackConfig, arguments),
        sample_rate=source.sample_rate,
        lag=source.lag,
        device=cli.pick_device(arguments.device),
        weights=arguments.weights,
    )
    if arguments.stdin:
        blocks = pipe_blocks(sys.stdin.buffer, source.format, source.channels)
        follow(blocks, stream, _writer(arguments))
    else:
        # The first batch takes longest; no sound shall be lost for that.
        stream.push(np.zeros(source.sample_rate, dtype=np.float32))
        stream.reset()
        inbox = Inbox(round(PATIENCE / MICROPHONE_BLOCK))
        with microphone(inbox, source.sample_rate, source.channels, arguments.input):
            follow(inbox.blocks(), stream, _writer(arguments))
    if arguments.meter:
        print()
    return 0


def _writer(arguments: argparse.Namespace) -> "Writer":
    from pitch.live import csv_writer, json_writer, meter_writer

    if arguments.meter:
        return meter_writer(sys.stdout)
    return json_writer(sys.stdout) if arguments.json else csv_writer(sys.stdout)
