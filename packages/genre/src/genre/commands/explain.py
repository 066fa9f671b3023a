"""`genre explain`: which stem decided, and where."""

import argparse
import sys

from audio_io.settings import add_arguments, from_arguments
from genre.commands.parsers import Commands, add_parser, add_predictor, open_predictor
from genre.explain.config import ExplainConfig

DESCRIPTION = """\
Say which stem decided the genre of a recording, by Shapley values: what a stem adds to the log-odds, over all
orders in which the stems can come in; and where in time and frequency, by maps. FILE is as for genre predict.
In the output folder:
  index.html     one page with everything, and the sound if it is not too long
  explain.json   all numbers, of every window and every genre
  *.png          the stems of each recording with the map over them
  summary.png    what each genre is told by

With --summary there are no figures of recordings: for a whole corpus."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = add_parser(commands, "explain", "which stem decided, and where", DESCRIPTION)
    parser.add_argument(
        "-o", "--output-dir", default="explain", metavar="DIR", help="where to write (default: explain)"
    )
    parser.add_argument("--summary", action="store_true", help="no figures and sound of each recording")
    add_arguments(parser, ExplainConfig, title="attribution")
    add_predictor(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre explain`."""
    config = from_arguments(ExplainConfig, arguments)

    from genre.explain.track import Explainer
    from genre.explain.write import write_report
    from genre.predict import find_recordings, nothing_usable

    explainer = Explainer(open_predictor(arguments), config)
    recordings = find_recordings(arguments.files)
    report = write_report(explainer, recordings, arguments.output_dir, figures=not arguments.summary)
    for entry in report.entries:
        print(f"{entry.path}: {entry.explanation.finding()}")
    if len(recordings) > 1:
        for error in report.errors:
            print(f"left out: {error}", file=sys.stderr)
    if report.summary is None:
        raise nothing_usable(report.errors)
    if len(report.entries) > 1:
        for name, deletion in report.summary.deletions.items():
            print(
                f"without the {name} the probability falls by {deletion.marked:.3f}, "
                f"at random by {deletion.random:.3f}"
            )
    print(f"wrote   {report.page}")
    return 0
