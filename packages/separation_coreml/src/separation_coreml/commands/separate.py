"""`separation-coreml separate`: the stems of songs."""

import argparse
import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audio_io.settings import add_arguments, check, from_arguments, setting
from separation_coreml.commands.parsers import Commands, made_from

DESCRIPTION = """\
Separate songs of any length and format into stems, at constant memory.

A model is a name (see `separation-coreml models`) or a converted file (.onnx, .mlpackage). The stems of
song.m4a go to DIR/song/vocals.wav and so on, at the rate of the model, as stereo; a song at another rate is
resampled. Stems of an earlier run are not separated again."""


@dataclass(frozen=True)
class _Options:
    model: str = setting("small", "a name, or a converted file")
    engine: Literal["auto", "torch", "onnx", "mil", "coreml"] = setting(
        "auto", "what runs the model; auto chooses by its kind"
    )
    stems: str | None = setting(None, "stems to write, with commas between; all if none")
    format: Literal["wav", "flac"] = setting("wav", "WAV with float32, or FLAC with 24 bits")
    placement: Literal["even", "demucs"] = setting(
        "even", "where segments start: the fewest, spread evenly, or as demucs does"
    )
    overlap: float | None = setting(
        None,
        "share of a segment that the next covers again, the model's own if none",
        minimum=0,
        maximum=0.95,
    )
    segment: float | None = setting(
        None, "length that the model works on at once, its own if none", unit="s", minimum=0.01
    )
    weights: Literal["official", "random"] = setting("official", "weights of a model given by name")
    seed: int = setting(0, "seed of random weights")
    checkpoint: str | None = setting(None, "file or folder of weights in place of the official ones")
    workers: int = setting(1, "processes that share the songs", minimum=1)
    device: str = setting("cpu", "where PyTorch computes (not converted files): auto, cpu, cuda, mps")

    def __post_init__(self) -> None:
        check(self)


def add_command(commands: Commands) -> None:
    """Add the parser."""
    separate = commands.add_parser(
        "separate",
        help="songs to stems",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    separate.add_argument("files", nargs="+", metavar="FILE", help="songs, videos, or folders of them")
    separate.add_argument(
        "-o", "--output-dir", default=".", metavar="DIR", help="where to write (default: here)"
    )
    separate.add_argument(
        "--resume", action="store_true", help="skip songs whose stems are there and made by the same settings"
    )
    add_arguments(separate, _Options)
    separate.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`separation-coreml separate`."""
    options = from_arguments(_Options, arguments)

    from audio_io.cli import pick_device
    from separation_coreml.engines import load_engine
    from separation_coreml.separate import SeparateConfig
    from separation_coreml.songs import Separated, plan, separate_songs

    songs = plan(arguments.files, arguments.output_dir)
    is_converted = Path(options.model).suffix.lower() in {".onnx", ".mlpackage"}
    load = functools.partial(
        load_engine,
        options.model,
        options.engine,
        weights=options.weights,
        seed=options.seed,
        checkpoint=options.checkpoint,
        segment_seconds=options.segment,
        device="cpu" if is_converted and options.device == "auto" else str(pick_device(options.device)),
    )
    outcomes = separate_songs(
        songs,
        load,
        stems=None if options.stems is None else [stem.strip() for stem in options.stems.split(",")],
        file_format=options.format,
        config=SeparateConfig(placement=options.placement, overlap=options.overlap),
        made_from=made_from(
            options.model,
            options.checkpoint,
            options.engine,
            options.weights,
            options.seed,
            options.segment,
        ),
        resume=arguments.resume,
        workers=options.workers,
    )
    failed = 0
    for song, outcome in outcomes:
        if isinstance(outcome, Separated):
            if outcome.was_there:
                print(f"{song.recording}: done already", flush=True)
                continue
            print(f"{song.recording}: {outcome.seconds:.1f} s")
            if outcome.clipped:
                print(f"  clipped {outcome.clipped} samples beyond full scale (--format wav keeps them)")
            print("  wrote   " + ", ".join(map(str, outcome.stems.values())), flush=True)
            continue
        if len(songs) == 1:
            raise outcome
        failed += 1
        print(f"separation-coreml: error: {outcome}", file=sys.stderr, flush=True)
    if failed:
        print(f"separation-coreml: {failed} of {len(songs)} songs could not be separated", file=sys.stderr)
    return 2 if failed else 0
