"""`genre export`: a network with its features as an ONNX file."""

import argparse

from audio_io.settings import add_arguments, from_arguments
from genre.commands.parsers import Commands, add_parser
from genre.run_config import ExportConfig

DESCRIPTION = """\
Write an ONNX file that takes the waveforms of four stems and gives probabilities of genres.

Input `stems`: [batch, 4, samples], vocals, drums, bass and other, full scale 1, at the sample rate and of the
length that the file's metadata names. Output `probabilities`: [batch, genres]; metadata `labels` names them.
The file is compared with PyTorch by onnxruntime before it takes its name."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = add_parser(commands, "export", "write a network as an ONNX file", DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="the checkpoint, such as best_model.pth")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the .onnx file")
    add_arguments(parser, ExportConfig)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`genre export`."""
    config = from_arguments(ExportConfig, arguments)

    from genre import checkpoint as checkpoints
    from genre.export import export

    result = export(checkpoints.load(arguments.model), arguments.output, config)
    print(f"wrote   {result.path}, probabilities within {result.difference:.1e} of PyTorch's by onnxruntime")
    return 0
