"""`genre explain`: which stem decided, and where."""

import argparse
import sys

from audio_io.settings import add_arguments, from_arguments
from genre.commands.parsers import Commands
from genre.explain.config import ExplainConfig
from genre.run_config import PredictConfig, Settings
from genre.settings_file import add_settings, read_settings

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
    parser = commands.add_parser(
        "explain",
        help="which stem decided, and where",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="the checkpoint, such as best_model.pth")
    parser.add_argument("files", nargs="+", metavar="FILE", help="recordings, or folders of recordings")
    parser.add_argument(
        "-o", "--output-dir", default="explain", metavar="DIR", help="where to write (default: explain)"
    )
    parser.add_argument("--summary", action="store_true", help="no figures and sound of each recording")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add_arguments(parser, ExplainConfig, title="attribution")
    add_arguments(parser, PredictConfig, title="windows")
    add_settings(parser, "separation", note=" (what is not given is as in training, whatever the default)")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre explain`."""
    config = from_arguments(ExplainConfig, arguments)
    windows = from_arguments(PredictConfig, arguments)

    from genre import checkpoint as checkpoints
    from genre.explain.track import Explainer
    from genre.explain.write import write_report
    from genre.predict import Predictor, find_recordings, nothing_usable

    checkpoint = checkpoints.load(arguments.model)
    separation = read_settings(arguments, Settings(separation=checkpoint.separation)).separation
    predictor = Predictor(checkpoint, windows, device=arguments.device, separation=separation)
    explainer = Explainer(predictor, config)
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
