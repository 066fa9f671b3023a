"""`genre eda`: a corpus before anything is trained on it."""

import argparse

from audio_io.settings import add_arguments, from_arguments
from genre.commands.parsers import Commands, add_corpus, add_parser, open_corpus
from genre.config import FeatureConfig

DESCRIPTION = """\
Measure every recording of a corpus and show what is in it: how many recordings each genre has, durations and
levels, mel spectrograms, and what should be looked at before training (files that cannot be read, short and
silent ones, exact duplicates, labels without files). In the output folder:
  eda.html          one page with everything
  recordings.csv    measures of each recording
  distribution.png, durations.png, gallery.png"""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = add_parser(commands, "eda", "look at a corpus", DESCRIPTION)
    add_corpus(parser)
    parser.add_argument(
        "-o", "--output-dir", default="eda", metavar="DIR", help="where to write (default: eda)"
    )
    add_arguments(parser, FeatureConfig, title="features")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre eda`."""
    features = from_arguments(FeatureConfig, arguments)

    from pathlib import Path

    from genre.eda import survey_corpus
    from genre.eda_page import write_survey

    survey = survey_corpus(open_corpus(arguments))
    written = write_survey(survey, features, Path(arguments.output_dir))
    for finding in survey.findings:
        print(f"{finding.kind}: {finding.sentence}")
    counts = survey.counts()
    print(f"{sum(counts.values())} usable training recordings of {len(counts)} genres")
    print("wrote   " + ", ".join(str(path) for path in written))
    return 0
