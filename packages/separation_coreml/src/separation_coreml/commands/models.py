"""`separation-coreml models`: which models there are."""

import argparse
import dataclasses
import json

from separation_coreml.commands.parsers import Commands
from separation_coreml.registry import MODELS, PITCH_MODELS


def add_command(commands: Commands) -> None:
    """Add the parser."""
    models = commands.add_parser("models", help="the models by name, with stems, size and licence")
    models.add_argument("--json", action="store_true", help="print all that is known of them as JSON")
    models.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`separation-coreml models`."""
    if arguments.json:
        specs = [{**dataclasses.asdict(spec), "segment": spec.segment} for spec in MODELS.values()]
        print(json.dumps(specs, indent=2))
        return 0
    width = max(map(len, MODELS))
    for name, spec in MODELS.items():
        size, segment = f"{spec.parameters / 1e6:.1f} M", f"{spec.segment_seconds:.1f} s"
        print(
            f"{name:{width}} {size:>8} {segment:>7}  {','.join(spec.stems)}  ({spec.licence})  {spec.title}"
        )
    print(f"\nPitch trackers, for convert and verify (extra pitch): {', '.join(PITCH_MODELS)}")
    return 0
