"""Folders and files to write to, checked before the work, and lines beside a progress bar."""

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from audio_io.errors import FileError

# The file by which a folder with an `index.html` is known, and whose it is.
_MARKS = {
    "cross_validation.json": "genre evaluate",
    "evaluation.json": "genre evaluate --checkpoint",
    "explain.json": "genre explain",
}


@contextlib.contextmanager
def claimed_folder(
    folder: str | Path, command: str, own: str, *, but_not: Sequence[str] = ()
) -> Iterator[Path]:
    """Make a folder, unless it holds what another command has written: its page would be lost.

    Where nothing has been written to it when the block ends, it is removed again.

    Args:
        folder: Where to write.
        command: Who wants it.
        own: The file by which a folder of the command is known.
        but_not: Files that a folder of the command does not have beside it.

    Yields:
        The folder.

    Raises:
        FileError: If it is another command's.
        OSError: If it cannot be written to; it carries its name.
    """
    place = Path(folder)
    present = [mark for mark in _MARKS if (place / mark).is_file()]
    foreign = [mark for mark in present if mark in but_not or own not in present]
    if foreign:
        raise FileError(place, f"{foreign[0]} of {_MARKS[foreign[0]]}", f"a folder of its own for {command}")
    made = [entry for entry in (place, *place.parents) if not entry.exists()]
    try:
        place.mkdir(parents=True, exist_ok=True)
        _check_writable(place, place)
        yield place
    finally:
        for entry in made:
            # One that holds something is not removed.
            with contextlib.suppress(OSError):
                entry.rmdir()


def say(text: str, *, to: TextIO | None = None) -> None:
    """Print a line on a line of its own, where `audio_io.progress.Progress` may have drawn a bar.

    Args:
        text: The line.
        to: Where; stdout if None.
    """
    if sys.stderr.isatty():
        # The bar is drawn anew with the next step.
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print(text, file=to, flush=True)


def check_target(path: str | Path) -> None:
    """Whether a file can be written, as far as that can be known before.

    Args:
        path: The file.

    Raises:
        FileError: If it is a folder.
        OSError: If its folder cannot be written to; it carries the name of the file.
    """
    target = Path(path)
    if target.is_dir():
        raise FileError(target, "a folder", "a file to write, or none")
    target.parent.mkdir(parents=True, exist_ok=True)
    _check_writable(target.parent, target)


def _check_writable(folder: Path, named: Path) -> None:
    probe = folder / f".{secrets.token_hex(8)}.tmp"
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        probe.unlink()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(named)) from error
