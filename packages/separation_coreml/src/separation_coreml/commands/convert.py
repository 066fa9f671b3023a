"""`separation-coreml convert`: a model as a Core ML package."""

import argparse

from audio_io.settings import add_arguments, from_arguments
from separation_coreml.commands.parsers import Commands, add_model_arguments, model_arguments
from separation_coreml.config import ConvertConfig

DESCRIPTION = """\
Write a model as a .mlpackage: waveform in, stems out, with the Fourier transforms inside as real arithmetic.

With --io core the package holds the network alone, for apps that compute the STFT themselves; its settings
are in the metadata. Runs on Linux and macOS."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    convert = commands.add_parser(
        "convert",
        help="a model as a Core ML package",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_model_arguments(convert, "htdemucs.mlpackage")
    add_arguments(convert, ConvertConfig, title="conversion")
    convert.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`separation-coreml convert`."""
    config = from_arguments(ConvertConfig, arguments)

    from separation_coreml.convert_model import convert_model
    from separation_coreml.package import check_path

    check_path(arguments.output)
    report = convert_model(arguments.model, arguments.output, config=config, **model_arguments(arguments))
    memory = f", {report.peak_memory_mb:.0f} MB of memory" if report.peak_memory_mb else ""
    print(
        f"{report.path}: {report.size_mb:.1f} MB, {report.operations} operations "
        f"({report.complex_removed} complex ones replaced); {report.seconds:.0f} s{memory}"
    )
    return 0
