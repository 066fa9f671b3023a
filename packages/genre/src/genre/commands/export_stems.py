"""`genre export-stems`: sound files of the stems in the cache."""

import argparse

from genre.commands.parsers import Commands, add_parser
from genre.config import STEMS, SeparationConfig

DESCRIPTION = """\
Write stems of the cache as sound files, DIR/<id>/<stem>.wav: the layout that --separator stems reads.

Without ids, all tracks of the cache are written. An id is the name of its .npz without suffix; the path of
the file does as well."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = add_parser(commands, "export-stems", "sound files of the stems", DESCRIPTION)
    parser.add_argument("tracks", nargs="*", metavar="ID|FILE", help="which tracks (default: all)")
    parser.add_argument(
        "--channels", nargs="+", choices=STEMS, default=list(STEMS), help="which stems (default: all four)"
    )
    parser.add_argument(
        "-o", "--output-dir", default="stems", metavar="DIR", help="where to write (default: stems)"
    )
    default = SeparationConfig.separation_cache_dir
    parser.add_argument(
        "--separation-cache-dir", default=default, metavar="DIR", help=f"the cache (default: {default})"
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre export-stems`."""
    from pathlib import Path

    from genre.export_stems import export_stems

    written, faults = export_stems(
        arguments.tracks,
        Path(arguments.separation_cache_dir),
        Path(arguments.output_dir),
        channels=arguments.channels,
    )
    for fault in faults:
        print(f"left out: {fault}")
    print(f"{arguments.output_dir}: {len(written)} files")
    return 0
