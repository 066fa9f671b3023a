"""`separation-coreml convert`: a model as a Core ML package."""

import argparse

from audio_io.errors import ConfigError
from audio_io.settings import add_arguments, from_arguments
from separation_coreml.commands.parsers import Commands, add_model_arguments, model_arguments
from separation_coreml.commands.verify import decibels
from separation_coreml.config import ConvertConfig

DESCRIPTION = """\
Write a model as a .mlpackage: waveform in, stems out, with the Fourier transforms inside as real arithmetic.

With --io core the package holds the network alone, for apps that compute the STFT themselves; its settings
are in the metadata. The package is run, without Core ML, on noise, and how far it is from PyTorch is printed
and written into its metadata; `verify` tells more. Runs on Linux and macOS."""


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
    convert.add_argument(
        "--further-segments",
        metavar="S,S,...",
        help="lengths in s that the package shall take as well: of pitch trackers, and with --io core of "
        "networks of convolutions (small, MDX-Net, MDX23C)",
    )
    convert.add_argument(
        "--parity",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run the package and write how far it is from PyTorch into its metadata (default: true)",
    )
    add_arguments(convert, ConvertConfig, title="conversion")
    convert.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`separation-coreml convert`."""
    config = from_arguments(ConvertConfig, arguments)

    from separation_coreml.convert_model import convert_model
    from separation_coreml.package import check_path

    check_path(arguments.output)
    report = convert_model(
        arguments.model,
        arguments.output,
        config=config,
        further_segments=_seconds(arguments.further_segments),
        parity=arguments.parity,
        **model_arguments(arguments),
    )
    memory = f", {report.peak_memory_mb:.0f} MB of memory" if report.peak_memory_mb else ""
    print(
        f"{report.path}: {report.size_mb:.1f} MB, {report.operations} operations "
        f"({report.complex_removed} complex ones replaced); {report.seconds:.0f} s{memory}"
    )
    if (parity := report.parity) is not None:
        print(f"against PyTorch: SDR {decibels(parity.sdr)}, greatest difference {parity.max_abs:.1e}")
    return 0


def _seconds(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",")) if text is not None else ()
    except ValueError:
        raise ConfigError("further_segments", repr(text), "lengths in s with commas between") from None
