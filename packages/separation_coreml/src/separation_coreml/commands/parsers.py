"""What the sub-commands' parsers are made with."""

import argparse
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = argparse._SubParsersAction


def add_model_arguments(parser: argparse.ArgumentParser, example: str) -> None:
    """Add which model to convert, with which weights, and where to write it."""
    parser.add_argument(
        "model",
        nargs="?",
        default="small",
        metavar="NAME",
        help="model to convert (default: small); see `models`",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help=f"where to write, such as {example}"
    )
    parser.add_argument(
        "--io",
        choices=("waveform", "core"),
        default="waveform",
        help="waveform: the whole model; core: the network between the two STFTs (default: waveform)",
    )
    parser.add_argument(
        "--weights", choices=("official", "random"), default="official", help="(default: official)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of random weights (default: 0)")
    parser.add_argument("--checkpoint", metavar="FILE", help="weights to use instead of the official ones")
    parser.add_argument(
        "--segment", type=float, metavar="S", help="length to work on at once in s (default: the model's own)"
    )


def model_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `convert_model.prepare` takes besides the name."""
    return {
        "io": arguments.io,
        "weights": arguments.weights,
        "seed": arguments.seed,
        "checkpoint": arguments.checkpoint,
        "segment_seconds": arguments.segment,
    }


def made_from(model: str, checkpoint: str | None, *settings: object) -> str:
    """What stems depend on besides the song, as text; files count with their size and time of change."""
    texts: list[object] = [metadata.version("separation-coreml"), model, checkpoint, *settings]
    named = [model] if Path(model).suffix else []
    for place in map(Path, [*named, *([] if checkpoint is None else [checkpoint])]):
        files = sorted(place.rglob("*")) if place.is_dir() else [place] if place.exists() else []
        statuses = [path.stat() for path in files]
        texts += [(status.st_size, status.st_mtime_ns) for status in statuses]
    return repr(texts)
