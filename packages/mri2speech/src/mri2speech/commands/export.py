"""`mri2speech export`: both models as ONNX files."""

import argparse
from pathlib import Path

from mri2speech.commands.parsers import Commands
from mri2speech.vocoder import EMBEDDED

DESCRIPTION = """\
Write acoustic.onnx (frames to mels in dB) and vocoder.onnx (mels in dB to a waveform) for ONNX Runtime; the
number of frames is free. Each file is run and held against PyTorch before it appears."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "export", help="write the models as ONNX files", description=DESCRIPTION, allow_abbrev=False
    )
    parser.add_argument(
        "--acoustic", type=Path, required=True, metavar="FILE", help="acoustic model, best.pt"
    )
    parser.add_argument("--vocoder", default=EMBEDDED, metavar="FILE", help="(default: embedded)")
    parser.add_argument("--scaler", type=Path, metavar="FILE", help="scaler.json instead of the model's own")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where to write")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`mri2speech export`."""
    from mri2speech import vocoder
    from mri2speech.acoustic import checkpoint
    from mri2speech.onnx_export import export

    model, scaler, mel = checkpoint.load(arguments.acoustic, scaler=arguments.scaler)
    generator = vocoder.load(arguments.vocoder, mel=mel)
    for report in export(arguments.output, model=model, scaler=scaler, generator=generator):
        print(f"{report.path}: {report.size_mb:.1f} MB, {report.difference:.1e} from PyTorch")
    return 0
