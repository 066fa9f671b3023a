"""Several trainings at once, each in a process of its own, that end with the process that began them.

Networks as small as the demo's gain little from a second core; two of them side by side take both.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from audio_io.errors import UserError
from audio_io.progress import Progress

OUTPUT = "output.txt"
_INTERVAL = 0.5  # s
_PATIENCE = 10.0  # s that a process has to end after it was told to


@dataclass(frozen=True)
class Task:
    """A function of a module, as a process can be given it.

    Attributes:
        folder: Where `output.txt` is, which has what the process prints.
        function: Called with `arguments`.
        arguments: Whatever can be pickled.
    """

    folder: Path
    function: Callable[..., object]
    arguments: tuple[Any, ...]


def run_tasks(tasks: Sequence[Task], total: int, count: Callable[[], int]) -> None:
    """Run tasks side by side and show how far they are.

    Args:
        tasks: At least one.
        total: Epochs of all of them.
        count: How many of those are done.

    Raises:
        UserError: If a task ends with one, or is killed; the others are stopped.
        KeyboardInterrupt: After Ctrl-C, once the tasks have kept their state.
    """
    running = [_start(task) for task in tasks]
    try:
        with Progress("train", total, "epochs") as progress:
            is_over = False
            while not is_over:
                # Asked before the exit codes, or one that ends in between would not be heard.
                is_over = not any(process.is_alive() for process, _ in running)
                if (new := count() - progress.done) > 0:
                    progress.advance(new)
                for task, (process, receiver) in zip(tasks, running, strict=True):
                    if process.exitcode:
                        raise UserError(_reason(task, process.exitcode, receiver))
                if not is_over:
                    time.sleep(_INTERVAL)
    except BaseException:
        # Each is told again until it has ended: while it starts it does not listen.
        while alive := [process for process, _ in running if process.is_alive()]:
            for process in alive:
                os.kill(process.pid or 0, signal.SIGINT)
            for process in alive:
                process.join(_PATIENCE)
        raise
    finally:
        for process, _ in running:
            process.kill()


def _start(task: Task) -> tuple[SpawnProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(task, sender), daemon=True)
    # Python itself would answer Ctrl-C with a traceback before `_run` is reached.
    is_main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        process.start()
    finally:
        if is_main:
            signal.signal(signal.SIGINT, previous)
    sender.close()
    return process, receiver


def _reason(task: Task, code: int, receiver: Connection) -> str:
    # Where nothing was sent, what there is to receive is the end of the connection.
    with contextlib.suppress(EOFError):
        return str(receiver.recv())
    return (
        f"{task.folder / OUTPUT}: found a process that ended with code {code}, expected 0; the same command "
        "goes on"
    )


def _run(task: Task, sender: Connection) -> None:
    """What the process does."""
    # In a session of its own it gets Ctrl-C from its parent, once. Windows has none.
    if sys.platform != "win32":
        os.setsid()
    task.folder.mkdir(parents=True, exist_ok=True)
    with (task.folder / OUTPUT).open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        task.function(*task.arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except UserError as error:
        sender.send(str(error))
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        sender.send(f"{error.filename}: {error.strerror}")
        sys.exit(2)


def _end_with_parent() -> None:
    # Two processes must not work in one folder when the demo is killed and begun again.
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(1)
