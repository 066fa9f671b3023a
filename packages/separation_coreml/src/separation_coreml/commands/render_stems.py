"""`separation-coreml render-stems`: songs whose stems are known exactly."""

import argparse
from dataclasses import dataclass

from audio_io.settings import add_arguments, check, from_arguments, setting
from separation_coreml.commands.parsers import Commands

DESCRIPTION = """\
Render songs with drums, bass, chords and a voice, and write them as MUSDB18-HQ is laid out:
DIR/song-0000/{mixture,drums,bass,other,vocals}.wav, 44.1 kHz, stereo, 32-bit float.

The mixture is the sum of its stems to the bit. The same seed gives the same song. Songs that are there are
not rendered again, so the same command goes on with a run that was interrupted."""


@dataclass(frozen=True)
class _Options:
    songs: int = setting(10, "how many", minimum=1)
    seconds: float = setting(30.0, "length of each", unit="s", minimum=0.1)
    seed: int = setting(0, "seed of the first song; the next have the next seeds", minimum=0)

    def __post_init__(self) -> None:
        check(self)


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "render-stems",
        help="songs whose stems are known exactly",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="where to write")
    add_arguments(parser, _Options)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`separation-coreml render-stems`."""
    options = from_arguments(_Options, arguments)

    from separation_coreml.stems.render import render_folder

    places = render_folder(
        arguments.output_dir, songs=options.songs, seconds=options.seconds, seed=options.seed
    )
    print(f"wrote   {len(places)} songs of {options.seconds:g} s, {places[0]} to {places[-1]}")
    return 0
