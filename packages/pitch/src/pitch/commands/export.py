"""`pitch export`: the network as a file for other programs."""

import argparse
import sys

from audio_io.settings import add_arguments, from_arguments
from pitch.commands.parsers import Commands
from pitch.export.config import ExportConfig

DESCRIPTION = """\
Write the network as a file that runs without this package, and check it against the network.

The file takes samples as they are at 16 kHz: frames are brought to zero mean and unit variance inside.
It is kept only if its outputs equal the network's to 1e-5; otherwise the exit code is 1."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    export = commands.add_parser(
        "export",
        help="ONNX, TorchScript or torch.export file of the network",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    export.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="where to write, such as tiny.onnx"
    )
    export.add_argument("--weights", metavar="FILE", help="weights to use instead of the model's own")
    add_arguments(export, ExportConfig)
    export.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`pitch export`."""
    config = from_arguments(ExportConfig, arguments)

    from pitch.export.job import ParityError, export_model

    try:
        exported = export_model(arguments.output, config, weights=arguments.weights)
    except ParityError as error:
        print(f"pitch: {error}", file=sys.stderr)
        return 1
    print(
        f"CREPE {config.model}, {config.format}\n"
        f"  input   {exported.inputs}, samples at 16 kHz, normalised inside\n"
        f"  output  {exported.outputs}\n"
        f"  check   differs from the network by {exported.max_difference:.1e} at most\n"
        f"  wrote   {exported.path} ({exported.size / 1e6:.1f} MB)"
    )
    return 0
