"""`pitch inspect`: what is in a weight file or an exported model."""

import argparse
import json
from typing import TYPE_CHECKING

from pitch.capacities import CAPACITIES
from pitch.commands.parsers import Commands

if TYPE_CHECKING:
    from pitch.structure import ModelFile


def add_command(commands: Commands) -> None:
    """Add the parser."""
    inspect = commands.add_parser(
        "inspect",
        help="what is in a weight file or an exported model",
        description="Describe .h5, .h5.bz2, .pth, .onnx, .pt and .pt2 files; no code from them is run.",
        allow_abbrev=False,
    )
    inspect.add_argument("files", nargs="+", metavar="FILE", help="files to describe")
    inspect.add_argument("--json", action="store_true", help="print one JSON object a file instead of text")
    inspect.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`pitch inspect`."""
    from pitch.structure import inspect_file

    for path in arguments.files:
        file = inspect_file(path)
        print(json.dumps(_as_json(file)) if arguments.json else "\n  ".join(_lines(file)), flush=True)
    return 0


def _lines(file: "ModelFile") -> list[str]:
    capacity = "none that is known"
    if file.capacity is not None:
        capacity = f"CREPE {file.capacity}, {CAPACITIES[file.capacity].parameters:,} parameters"
    tensors = f"{len(file.tensors)}, {file.numbers:,} numbers"
    facts = {
        **{key: value for key, value in file.metadata.items() if key != "capacity"},
        "capacity": capacity,
        "official": file.official or "no",
        "sha256": file.sha256,
        "git blob": file.blob,
        "tensors": tensors if file.tensors else "not told without running the file",
    }
    width = max((len(tensor.name) for tensor in file.tensors), default=0)
    return [
        f"{file.path}: {file.kind}, {file.size / 1e6:.1f} MB",
        *(f"{key:14}  {value}" for key, value in facts.items()),
        *(f"  {tensor.name:{width}}  {list(tensor.shape)} {tensor.dtype}" for tensor in file.tensors),
    ]


def _as_json(file: "ModelFile") -> dict[str, object]:
    return {
        "path": str(file.path),
        "kind": file.kind,
        "bytes": file.size,
        "capacity": file.capacity,
        "parameters": None if file.capacity is None else CAPACITIES[file.capacity].parameters,
        "official": file.official,
        "sha256": file.sha256,
        "git_blob": file.blob,
        "metadata": dict(file.metadata),
        "numbers": file.numbers,
        "tensors": [
            {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype}
            for tensor in file.tensors
        ],
    }
