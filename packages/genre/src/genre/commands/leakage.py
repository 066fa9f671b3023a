"""`genre leakage`: what is in a corpus more than once."""

import argparse

from genre.commands.parsers import Commands, add_artists, add_corpus, add_parser, open_corpus

DESCRIPTION = """\
Find recordings that are in a corpus more than once, exactly or nearly (cut, louder, noisy, compressed), and
say how many of them, and of the artists, random and artist-grouped folds would put on both sides. Artists
come from the column artist of tracks.csv, or from a table given with --artists."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = add_parser(commands, "leakage", "find duplicates and near duplicates", DESCRIPTION)
    add_corpus(parser)
    add_artists(parser)
    parser.add_argument("--folds", type=int, default=5, metavar="INT", help="number of folds (default: 5)")
    parser.add_argument("--seed", type=int, default=0, metavar="INT", help="seed of the folds (default: 0)")
    parser.add_argument(
        "-o",
        "--output",
        default="leakage.json",
        metavar="FILE",
        help="where to write (default: leakage.json)",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre leakage`."""
    from audio_io.errors import ConfigError
    from genre.folds import folds
    from genre.leakage import find_leakage, torn, write_leakage
    from genre.outputs import check_target

    corpus = open_corpus(arguments)
    if arguments.folds < 2:
        raise ConfigError("folds", arguments.folds, "at least 2")
    check_target(arguments.output)
    leakage = find_leakage(corpus)
    for sentence in leakage.problems:
        print(f"left out: {sentence}")
    for pair in leakage.pairs:
        print(f"{pair.kind}: {pair.sentence()}")
    print(
        f"{leakage.recordings} recordings, {len(leakage.pairs)} pairs of duplicates, "
        f"{len(leakage.across)} of them in train and test"
    )
    sides = {}
    for by in ("random", "artist"):
        try:
            parts = folds(corpus.tracks, arguments.folds, by, arguments.seed)
        except ConfigError as error:
            # A corpus may be too small for folds, or know no artists; its duplicates are said all the same.
            print(f"no folds by {by}: {error}")
            continue
        sides[by] = result = torn(parts, corpus.tracks, leakage)
        text = f"{arguments.folds} folds by {by}: {result.pairs} pairs of duplicates on both sides"
        if result.artists is not None:
            text += f", {result.artists:.0%} of the validation tracks by an artist of the training tracks"
        print(text)
    write_leakage(arguments.output, leakage, sides)
    print(f"wrote   {arguments.output}")
    return 0
