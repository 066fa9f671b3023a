"""A `.mlpackage` on disk: its manifest, its specification, and where its weight files are.

Nothing in a package is trusted: every path that the manifest or the program names has to lead to a file
inside the package.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audio_io.errors import FileError
from separation_coreml.mil.blobs import WeightFile
from separation_coreml.mil.proto import messages

MODEL_PATH = "@model_path/"


@dataclass
class Package:
    """An opened package.

    Attributes:
        path: The package folder.
        model: The file with the specification.
        specification: The message `Model`, of which `mlProgram` is set.
    """

    path: Path
    model: Path
    specification: Any
    _weight_files: dict[Path, WeightFile] = field(default_factory=dict)

    def weight_file(self, name: str) -> WeightFile:
        """A weight file by the name that the program uses, such as `@model_path/weights/weight.bin`.

        Raises:
            FileError: If the name leads out of the package or to no file.
        """
        if not name.startswith(MODEL_PATH):
            raise FileError(self.path, f"a weight file named {name!r}", f"a name beginning with {MODEL_PATH}")
        found = _inside(self.model.parent, name.removeprefix(MODEL_PATH), self.path)
        if found not in self._weight_files:
            if not found.is_file():
                raise FileError(self.path, f"no weight file {name!r}", "the file that the program refers to")
            self._weight_files[found] = WeightFile(found)
        return self._weight_files[found]


def open_package(path: str | Path) -> Package:
    """Read the manifest and the specification of a package.

    Args:
        path: The `.mlpackage` folder.

    Raises:
        FileError: If it is no package, is incomplete, or holds no ML program.
    """
    path = Path(path)
    model = _root_model(path)
    model_messages, _ = messages()
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships none

    specification = model_messages.Model()
    try:
        specification.ParseFromString(model.read_bytes())
    except DecodeError:
        raise FileError(
            path, f"a specification that cannot be read ({model.name})", "a complete Core ML specification"
        ) from None
    kind = specification.WhichOneof("Type")
    if kind != "mlProgram":
        raise FileError(path, f"a model of the kind {kind or 'unknown'}", "an ML program")
    return Package(path, model, specification)


def _root_model(path: Path) -> Path:
    if not path.exists():
        raise FileError(path, "nothing", "a .mlpackage folder")
    manifest = path / "Manifest.json"
    if not manifest.is_file():
        raise FileError(path, "no Manifest.json", "a .mlpackage folder")
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        entry = content["itemInfoEntries"][content["rootModelIdentifier"]]
        name = entry["path"]
    except (ValueError, KeyError, TypeError):
        raise FileError(
            manifest, "a manifest without a root model", "the manifest of a Core ML package"
        ) from None
    model = _inside(path / "Data", str(name), path)
    if not model.is_file():
        raise FileError(path, f"no file {name}", "the specification that the manifest names")
    return model


def _inside(folder: Path, name: str, package: Path) -> Path:
    """The file of a relative name below a folder; links are followed before the check."""
    resolved = (folder / name).resolve()
    if not resolved.is_relative_to(package.resolve()) or "\0" in name:
        raise FileError(package, f"a path that leads out of the package ({name})", "paths inside the package")
    return resolved
