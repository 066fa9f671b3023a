"""`separation-coreml export-onnx`: a model as an ONNX file."""

import argparse

from separation_coreml.commands.parsers import Commands, add_model_arguments, model_arguments
from separation_coreml.commands.verify import lines

DESCRIPTION = """\
Write a model as an ONNX file (opset 17, real tensors only) for ONNX Runtime, and compare what ONNX Runtime
computes with the model. Needs the extra `onnx`. The exit code is 1 if an output is below 110 dB."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    export = commands.add_parser(
        "export-onnx",
        help="a model as an ONNX file",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_model_arguments(export, "htdemucs.onnx")
    export.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`separation-coreml export-onnx`."""
    from separation_coreml.convert_model import prepare
    from separation_coreml.onnx_export import export_onnx
    from separation_coreml.runtimes import require_onnx

    require_onnx("export-onnx")
    source = prepare(arguments.model, **model_arguments(arguments))
    report = export_onnx(
        source.module,
        source.inputs,
        arguments.output,
        input_names=source.input_names,
        output_names=source.output_names,
        metadata=source.metadata,
        stems=source.stems,
    )
    print(f"{report.path}: {report.size_mb:.1f} MB, opset {report.opset}, {report.operations} operations")
    print("\n".join(lines("ONNX Runtime", report.parity)))
    return 0 if report.parity.passed else 1
