"""`pitch evaluate`: how good capacities are on sounds whose pitch is known."""

import argparse
from typing import TYPE_CHECKING, get_args

from audio_io import cli
from audio_io.errors import ConfigError
from audio_io.progress import Progress
from audio_io.settings import add_arguments, from_arguments
from pitch.commands.parsers import Commands
from pitch.evaluate.config import DatasetName, EvaluateConfig

if TYPE_CHECKING:
    from pitch.evaluate import Example

DESCRIPTION = """\
Measure how often capacities find the true pitch.

Without a folder, sounds of three families are made whose pitch is known exactly, clean and in noise. With
one, its recordings and labels are read; --dataset says how they are laid out. Recordings without labels can
be compared with the track of another capacity (--against full) or synthesised anew with a pitch that is
known (--resynthesize). In the output folder:
  evaluation.md, evaluation.json   scores of each capacity and decoder, also by register and level of noise
  evaluation.csv                   scores of each recording
  evaluation.png                   the figure
  records/                         what --resume continues from"""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    evaluate = commands.add_parser(
        "evaluate",
        help="accuracy on sounds whose pitch is known",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    evaluate.add_argument("folder", nargs="?", metavar="DATASET_PATH", help="the folder of a data set")
    evaluate.add_argument(
        "--dataset",
        choices=get_args(DatasetName),
        help="layout of the folder (default: folder, or generated without one)",
    )
    evaluate.add_argument(
        "--resynthesize",
        nargs="+",
        action="extend",
        metavar="FILE",
        help="recordings, or folders of them, to synthesise anew with WORLD and evaluate instead",
    )
    evaluate.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="MODEL=FILE",
        help="weights to use for a capacity instead of its own",
    )
    evaluate.add_argument(
        "-o", "--output-dir", default="evaluation", metavar="DIR", help="where to write (default: evaluation)"
    )
    evaluate.add_argument(
        "--resume", action="store_true", help="take over the recordings done by an earlier run"
    )
    evaluate.add_argument(
        "--html", action="store_true", help="write evaluation.html, one page with everything"
    )
    evaluate.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add_arguments(evaluate, EvaluateConfig)
    evaluate.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`pitch evaluate`."""
    config = from_arguments(EvaluateConfig, arguments)
    weights = dict(_weights(entry) for entry in arguments.weights)

    from pathlib import Path

    from pitch.evaluate import evaluate, write_report
    from pitch.evaluate.report import tables

    title, examples = _examples(arguments, config)
    output = Path(arguments.output_dir)
    with Progress("evaluate", min(len(examples), config.limit or len(examples)), "recordings") as progress:
        evaluation = evaluate(
            examples,
            config,
            title=title,
            weights=weights,
            device=cli.pick_device(arguments.device),
            record_dir=output / "records",
            resume=arguments.resume,
            progress=progress,
        )
    written = write_report(evaluation, output, with_html=arguments.html)
    print(f"{title}, compared with {evaluation.reference}\n")
    for table in tables(evaluation)[:1]:
        print(table.text())
    print("\nwrote   " + ", ".join(str(path) for path in written))
    return 0


def _examples(arguments: argparse.Namespace, config: EvaluateConfig) -> "tuple[str, list[Example]]":
    from pitch.evaluate import generated_set, load_dataset, resynthesized_set

    folder, dataset = arguments.folder, arguments.dataset
    if arguments.resynthesize:
        if folder is not None or dataset is not None:
            raise ConfigError("resynthesize", "a data set beside it", "one of the two")
        return "recordings synthesised anew by WORLD", resynthesized_set(arguments.resynthesize)
    if dataset is None:
        dataset = "generated" if folder is None else "folder"
    if dataset == "generated":
        if folder is not None:
            raise ConfigError("dataset", f"'generated' with the folder {folder}", "no folder")
        examples = generated_set(seconds=config.seconds, clips=config.clips, seed=config.seed)
        return "generated sounds", examples
    if folder is None:
        raise ConfigError("DATASET_PATH", "none", f"the folder of {dataset}")
    return dataset, load_dataset(dataset, folder)


def _weights(entry: str) -> tuple[str, str]:
    model, separator, file = entry.partition("=")
    if not (separator and model and file):
        raise ConfigError("weights", repr(entry), "MODEL=FILE, such as regular=regular.pth")
    return model, file
