"""Folders that belong to one job and its settings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audio_io.atomic import write_json
from audio_io.errors import FileError


def claim_for(mark: Path, content: Mapping[str, Any], what: str) -> None:
    """Make the folder of a mark one for some settings, or refuse it.

    Args:
        mark: The file in it that says for which.
        content: Of the file; such as can be written as JSON.
        what: What is in the folder, as in `a corpus`.

    Raises:
        FileError: If the folder is for other settings, or holds something else; what has a name that begins
            with a dot counts as nothing.
        OSError: If it cannot be written to; it carries its name.
    """
    folder = mark.parent
    if mark.is_file():
        try:
            found = json.loads(mark.read_text(encoding="utf-8"))
        except ValueError as error:
            raise FileError(mark, "no JSON", f"the settings of {what}") from error
        if found != json.loads(json.dumps(content)):  # tuples become lists
            raise FileError(folder, f"{what} of other settings", "the same settings, or another folder")
    elif folder.exists() and (not folder.is_dir() or any(map(_is_something, folder.iterdir()))):
        raise FileError(folder, f"something other than {what}", "a new or empty folder")
    write_json(mark, content)


def _is_something(path: Path) -> bool:
    # Temporaries of a writer that was killed, and what file managers leave.
    return not path.name.startswith(".")
