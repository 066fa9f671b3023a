"""Which recording stems were made of: told by sizes, times and digests of its files."""

from pathlib import Path
from typing import Any

from audio_io.atomic import file_digest, fingerprint
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


def content_digest(described: Any) -> str:  # noqa: ANN401 - whatever JSON held
    """What tells a recording from another by its content, whatever their names and places.

    Args:
        described: From `describe_source`.

    Raises:
        TypeError, KeyError: If it was described by another program.
    """
    return fingerprint([entry["sha256"] for entry in described])


def is_unchanged(path: Path, described: Any, *, thorough: bool = False) -> bool:  # noqa: ANN401 - as above
    """Whether a recording is the one that was described.

    Files of the same size and time count as the same; those that differ in time only, as copies do, are
    compared by their digest. A recording that is not there any more has not changed.

    Args:
        path: A sound file or a folder of stems.
        described: From `describe_source`, or anything else.
        thorough: Compare the digest where size and time are the same as well.
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
            may_differ = thorough or status.st_mtime_ns != entry["time"]
            if may_differ and file_digest(file) != entry["sha256"]:
                return False
    except (TypeError, KeyError):
        return False  # described by another program
    return True
