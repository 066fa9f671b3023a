"""`separation-coreml evaluate`: how good models are on songs whose stems are known."""

import argparse
import functools
from pathlib import Path

from audio_io.settings import add_arguments, from_arguments
from separation_coreml.commands.parsers import Commands, made_from
from separation_coreml.evaluation.config import EvaluateConfig

DESCRIPTION = """\
Score a model on songs with known stems, and others against it, such as its own conversions.

A model is a name (see `separation-coreml models`) or a converted file (.onnx, .mlpackage). Songs are folders
with mixture.wav and a .wav for each stem, as MUSDB18-HQ has them (--data), or rendered (--rendered). In the
output folder:
  evaluation.md, evaluation.json   SDR of each model and stem
  evaluation.csv                   of each song
  evaluation.png                   the figure
  records/                         what --resume continues from"""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="SDR on songs whose stems are known, of models and their conversions",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model", default="small", metavar="MODEL", help="a name, or a converted file (default: small)"
    )
    parser.add_argument(
        "--against",
        nargs="+",
        action="extend",
        default=[],
        metavar="MODEL",
        help="further models, or conversions, to compare with it",
    )
    parser.add_argument("--data", metavar="DIR", help="folder of a data set")
    parser.add_argument(
        "-o", "--output-dir", default="evaluation", metavar="DIR", help="where to write (default: evaluation)"
    )
    parser.add_argument(
        "--weights",
        choices=("official", "random"),
        default="official",
        help="weights of models given by name (default: official)",
    )
    parser.add_argument("--checkpoint", metavar="FILE", help="weights of --model to use instead")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="take over what an earlier run has scored with the same settings",
    )
    add_arguments(parser, EvaluateConfig)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`separation-coreml evaluate`."""
    config = from_arguments(EvaluateConfig, arguments)

    from separation_coreml.engines import load_engine
    from separation_coreml.evaluation.report import tables, write_report
    from separation_coreml.evaluation.run import Method, evaluate
    from separation_coreml.evaluation.tracks import find_tracks

    tracks = find_tracks(config, arguments.data)
    methods = [
        Method(
            Path(model).name,
            functools.partial(
                load_engine,
                model,
                weights=arguments.weights,
                checkpoint=None if index else arguments.checkpoint,
            ),
            made_from(model, None if index else arguments.checkpoint, arguments.weights),
        )
        for index, model in enumerate([arguments.model, *arguments.against])
    ]
    title = f"songs of {Path(arguments.data).resolve().name}" if arguments.data else "rendered songs"
    evaluation = evaluate(
        methods,
        tracks,
        config,
        title=title,
        records=Path(arguments.output_dir) / "records",
        resume=arguments.resume,
    )
    written = write_report(evaluation, config, arguments.output_dir)
    for table in tables(evaluation)[:1]:
        print(table.text())
    print("\nwrote   " + ", ".join(map(str, written)))
    return 0
