"""The options that `pitch track` and `pitch analyze` share, and what they do with errors."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from pitch.capacities import CAPACITIES

if TYPE_CHECKING:
    from pitch.batch import Outcome, TrackerSettings
    from pitch.config import TrackConfig

R = TypeVar("R")


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the recordings, the output folder and how the work is done."""
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="recordings, videos, folders of them, or quoted patterns such as 'songs/**/*.flac'",
    )
    parser.add_argument(
        "-o", "--output-dir", default=".", metavar="DIR", help="where to write (default: here)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a recording instead of text"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that share the recordings, each with a network of its own (default: 1)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    sizes = ", ".join(CAPACITIES)
    parser.add_argument(
        "--weights", metavar="FILE", help=f"weights to use for the model ({sizes}) instead of its own"
    )


def tracker_settings(arguments: argparse.Namespace, config: "TrackConfig") -> "TrackerSettings":
    """What the processes load their trackers with.

    Raises:
        ConfigError: If the device is not here, or the number of workers is no number of workers.
    """
    from audio_io import cli
    from audio_io.errors import ConfigError
    from pitch.batch import TrackerSettings

    if arguments.workers < 1:
        raise ConfigError("workers", arguments.workers, "at least 1")
    return TrackerSettings(config, str(cli.pick_device(arguments.device)), arguments.weights)


def results(outcomes: "Iterable[Outcome[R]]", failed: list[str], *, alone: bool) -> "Iterator[tuple[str, R]]":
    """The recordings that could be used, with their results; the others are reported on stderr.

    Args:
        outcomes: From `pitch.batch.run_batch`.
        failed: Gains the names of the others.
        alone: Whether there is one recording only, whose error is that of the command.

    Raises:
        FileError: The error of the one recording; OSError likewise.
    """
    for outcome in outcomes:
        if outcome.error is not None:
            if alone:
                raise outcome.error
            # One bad file must not cost the others their results.
            failed.append(str(outcome.job.recording))
            say(f"pitch: error: {outcome.error}")
        elif outcome.result is not None:
            yield str(outcome.job.recording), outcome.result


def say(sentence: str) -> None:
    """Print to stderr."""
    print(sentence, file=sys.stderr, flush=True)
