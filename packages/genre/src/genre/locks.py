"""One worker at a time for each piece of work, between processes that share a folder.

A lock is a file that only one process can create (`O_EXCL`). It names its owner, so that the lock of a
process that has died is taken over; the owner touches it as the work goes on, so that one from another
machine, or one whose process number has been given to somebody else, can be told as well.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audio_io.errors import FileError

LOCK = "in_use.lock"  # in a folder of results
GIVEN_UP_SECONDS = 600.0  # without a touch, after which an owner counts as dead


class Busy(Exception):  # noqa: N818 - a state, not an error
    """Somebody else has the lock."""


class Lock:
    """A lock that is held.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def touch(self) -> None:
        """Say that the work goes on."""
        with contextlib.suppress(OSError):
            os.utime(self.path)


@contextlib.contextmanager
def hold(path: Path) -> Iterator[Lock]:
    """Hold a lock for the time of the block; that of a dead owner is taken over.

    Args:
        path: The file of the lock, in a folder that exists.

    Raises:
        Busy: If somebody else has it.
        OSError: If the file cannot be written.
    """
    if not _create(path):
        _remove_dead(path)
        if not _create(path):
            raise Busy(path)
    try:
        yield Lock(path)
    finally:
        # It is somebody else's where this process was asleep for too long.
        with contextlib.suppress(FileNotFoundError):
            if path.read_text(encoding="utf-8") == _own():
                path.unlink()


@contextlib.contextmanager
def hold_folder(folder: str | Path) -> Iterator[None]:
    """Hold a folder of results for the time of the block: two runs in it would mix theirs.

    Args:
        folder: Made if it is not there.

    Raises:
        FileError: If another process holds it.
        OSError: If it cannot be written to; it carries its name.
    """
    path = Path(folder) / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(hold(path))
        except Busy as error:
            expected = "one process at a time, or a folder for each; remove the file if there is none"
            raise FileError(path, "the lock of a process at work", expected) from error
        is_over = threading.Event()

        def touch() -> None:
            while not is_over.wait(GIVEN_UP_SECONDS / 10):
                lock.touch()

        # Nothing else is sure to come by in time: an epoch may take an hour.
        threading.Thread(target=touch, daemon=True).start()
        stack.callback(is_over.set)
        yield


def _create(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_own())
    return True


def _own() -> str:
    return json.dumps({"host": socket.gethostname(), "process": os.getpid()})


def _remove_dead(path: Path) -> None:
    """Remove the lock of a dead owner; raise `Busy` if its owner lives."""
    try:
        text, touched = path.read_text(encoding="utf-8"), path.stat().st_mtime
    except FileNotFoundError:
        return
    if time.time() - touched < GIVEN_UP_SECONDS and _may_live(text):
        raise Busy(path)
    # Two processes may see the same dead owner. Renaming is atomic: the slower one gets either nothing or the
    # lock that the faster one has made meanwhile, and puts that back.
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if aside.read_text(encoding="utf-8") != text:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _may_live(text: str) -> bool:
    try:
        owner = json.loads(text)
        host, process = str(owner["host"]), int(owner["process"])
    except (ValueError, KeyError, TypeError):
        return True  # between its creation and its first line: only age can tell
    if host != socket.gethostname():
        return True
    return _is_running(process)


def _is_running(process: int) -> bool:
    if os.name == "nt":
        # There os.kill would end the process instead of asking after it.
        import ctypes

        kernel: Any = getattr(ctypes, "windll").kernel32  # noqa: B009 - known to type checkers on Windows only
        handle = kernel.OpenProcess(0x1000, False, process)  # PROCESS_QUERY_LIMITED_INFORMATION
        if handle:
            kernel.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
