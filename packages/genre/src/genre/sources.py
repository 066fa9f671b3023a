"""Which recording stems were made of: told by sizes, times and digests of its files."""

from pathlib import Path
from typing import Any

from audio_io.atomic import file_digest
from audio_io.errors import AudioError
from genre.config import STEMS
from genre.layouts import MIXTURE, stem_file


def _source_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [file for name in (*STEMS, MIXTURE) if (file := stem_file(path, name)) is not None]


def describe_source(path: Path) -> list[dict[str, Any]]:
    """What tells a recording from another version of it, as JSON can hold it.

    Args:
        path: A sound file or a folder of stems.

    Raises:
        AudioError: If it cannot be read.
    """
    described = []
    for file in _source_files(path):
        if not file.is_file():
            raise AudioError(file, "nothing", "a sound file")
        try:
            status, digest = file.stat(), file_digest(file)
        except OSError as error:
            raise AudioError(
                file, f"a file that cannot be read ({error.strerror})", "a readable one"
            ) from error
        described.append(
            {"name": file.name, "size": status.st_size, "time": status.st_mtime_ns, "sha256": digest}
        )
    return described


def is_unchanged(path: Path, described: Any) -> bool:  # noqa: ANN401 - whatever JSON held
    """Whether a recording is the one that was described.

    Files of the same size and time count as the same; those that differ in time only, as copies do, are
    compared by their digest. A recording that is not there any more has not changed.
    """
    if not path.exists():
        return True
    files = _source_files(path)
    try:
        if [entry["name"] for entry in described] != [file.name for file in files]:
            return False
        for file, entry in zip(files, described, strict=True):
            status = file.stat()
            if status.st_size != entry["size"]:
                return False
            if status.st_mtime_ns != entry["time"] and file_digest(file) != entry["sha256"]:
                return False
    except (TypeError, KeyError):
        return False  # described by another program
    return True
