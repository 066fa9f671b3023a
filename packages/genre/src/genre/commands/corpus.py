"""`genre corpus`: songs to try everything with."""

import argparse

from audio_io.settings import add_arguments, from_arguments
from genre.commands.parsers import Commands, add_parser
from genre.corpus.config import DemoConfig

DESCRIPTION = """\
Compose and render songs of the ten genres, with their exact stems. The genre decides what is played, the
artist how it sounds, so that artist-grouped folds are harder than random ones. The instruments are those of
the soundfont TimGM6mb (Tim Brechbill, GPL-2), which the wheel of pretty_midi carries. In the output folder:
  GENRE/ARTIST_SONG/  mixture, vocals, drums, bass, other
  tracks.csv          path, label, artist
  corpus.json         the settings
The same command goes on with a corpus that was interrupted."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = add_parser(commands, "corpus", "render a corpus of songs with exact stems", DESCRIPTION)
    parser.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="where to write")
    add_arguments(parser, DemoConfig)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre corpus`."""
    config = from_arguments(DemoConfig, arguments)

    from genre.corpus.write import render_corpus
    from genre.layouts import read_corpus

    render_corpus(arguments.output_dir, config)
    corpus = read_corpus(arguments.output_dir)
    artists = {track.artist for track in corpus.tracks}
    print(
        f"{arguments.output_dir}: {len(corpus.tracks)} songs of {len(corpus.labels)} genres "
        f"by {len(artists)} artists"
    )
    return 0
