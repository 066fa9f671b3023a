"""Files that are either complete or absent: write beside the target, then rename.

`os.replace` within one directory is atomic on POSIX and Windows, so a reader (or a run that resumes) never
meets half a file, whatever interrupted the writer; the data is flushed to disk before the rename so that
the same holds after a loss of power.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """A temporary path beside `target`, renamed to it when the block ends without an exception.

    The temporary keeps the target's suffix, because writers such as matplotlib and soundfile choose the
    format by it. Missing parent folders are made. On any exception (Ctrl-C included) the temporary is
    removed and an earlier file at `target` stays as it was.

    Args:
        target: Where the finished file shall be. A symbolic link is followed, not replaced.

    Yields:
        The path to write to.

    Raises:
        OSError: If it cannot be written; it carries the name of the target.
    """
    final = Path(target).resolve()
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.stem}.{os.getpid()}-{secrets.token_hex(4)}.tmp{final.suffix}")
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(final)
    except OSError as error:
        # A full disk names no file, and the temporary's name would tell the user nothing.
        if error.filename is None or str(error.filename) == str(temporary):
            raise OSError(error.errno, error.strerror or str(error), str(final)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    # fsync wants a writable descriptor on Windows.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_text(target: str | Path, text: str) -> None:
    r"""Write UTF-8 text atomically, with the line ends of Unix on every platform.

    What stands in a text for the bytes of a file name that is not UTF-8 is written as `\udcXX`: no result is
    lost for it, and out of JSON the name comes back as it was.
    """
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(target: str | Path, value: Any) -> None:  # noqa: ANN401 - JSON is any nesting of built-in types
    """Write indented JSON atomically; NaN and infinity are refused, since other readers do not take them."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def fingerprint(value: Any) -> str:  # noqa: ANN401 - see write_json
    """Sixteen hexadecimal digits that change when the value does.

    Used to tell results that still fit their settings from stale ones.

    Args:
        value: A dataclass instance or any nesting of built-in types, paths included; the order of mapping
            keys does not matter.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    canonical = json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def file_digest(path: str | Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file's content, read in blocks."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
