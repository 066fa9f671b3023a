"""`pitch doctor`: what works in this installation, and what to do about the rest."""

import argparse
import dataclasses
import json

from pitch.commands.parsers import Commands

DESCRIPTION = """\
Check this installation: versions, devices, weights, networks, codecs, optional parts.

Exit code 0 if what should work does; what is optional may be missing. Takes some seconds."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    doctor = commands.add_parser(
        "doctor",
        help="check this installation, and say what to do",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    doctor.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`pitch doctor`."""
    try:
        from pitch.diagnosis import diagnose
    except ImportError as error:
        print(f"pitch: a dependency does not load ({error}); run: uv sync --package pitch --reinstall")
        return 1
    checks = []
    for check in diagnose():
        checks.append(check)
        if not arguments.json:
            advice = f"\n{'':26}-> {check.advice}" if check.advice else ""
            print(f"{check.name:16}  {check.state:8}{check.found}{advice}", flush=True)
    failed = [check.name for check in checks if check.state == "failed"]
    missing = [check.name for check in checks if check.state == "missing"]
    if arguments.json:
        print(json.dumps({"ok": not failed, "checks": [dataclasses.asdict(check) for check in checks]}))
    else:
        print(f"\n{len(checks)} checks: {len(failed)} failed, {len(missing)} optional parts missing")
    return 1 if failed else 0
