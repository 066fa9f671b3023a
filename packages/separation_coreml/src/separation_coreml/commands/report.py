"""`separation-coreml report`: all families in one table."""

import argparse

from audio_io.settings import add_arguments, from_arguments
from separation_coreml.commands.parsers import Commands
from separation_coreml.report import ReportConfig

DESCRIPTION = """\
Convert every model at fp32, fp16 and with 8-bit weights, run each program without Core ML, and compare it
with PyTorch: one table with parameters, operations, cost of the conversion, sizes and parity. With --onnx the
ONNX file of each model too, run by ONNX Runtime.

Each model is measured in a process of its own; a report that was interrupted goes on where it was, from
DIR/rows (delete that folder to measure again). Writes Markdown, JSON, one page of HTML and a figure. The exit
code is 1 if a row is below its bar."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    report = commands.add_parser(
        "report",
        help="all families in one table: sizes, cost, and parity with PyTorch",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    report.add_argument(
        "-o", "--output-dir", default="report", metavar="DIR", help="where to write (default: report)"
    )
    add_arguments(report, ReportConfig)
    report.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`separation-coreml report`."""
    from pathlib import Path

    config = from_arguments(ReportConfig, arguments)
    tasks = config.tasks()

    from separation_coreml.report import make_rows
    from separation_coreml.report_html import decibels, write_report
    from separation_coreml.runtimes import require_onnx

    if config.onnx:
        require_onnx("report")
    rows = make_rows(tasks, Path(arguments.output_dir) / "rows")
    files = write_report(rows, config, arguments.output_dir)
    width = max(len(row.model) for row in rows)
    for row in rows:
        numbers = ", ".join(f"{kind} {decibels(entry.sdr)}" for kind, entry in row.measured.items())
        verdict = numbers if row.passed else "BELOW: " + "; ".join(row.below)
        print(f"{row.model:{width}}  {verdict}")
    print("wrote " + ", ".join(map(str, files)))
    return 0 if all(row.passed for row in rows) else 1
