"""The same work on many films, in this process or in several.

A film that cannot be used costs only its own sample. Ctrl-C ends the workers; one whose parent was killed
ends itself, so that nothing goes on writing into a folder that the next run works on.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import torch

from audio_io.errors import FileError, UserError
from audio_io.progress import Progress

T = TypeVar("T")
R = TypeVar("R")


def run_all(
    items: Sequence[T], task: Callable[[T], R], *, workers: int = 1
) -> Iterator[tuple[T, R | FileError | OSError]]:
    """Do a task for every item; the results, or the errors about its files, in the order of the items.

    Args:
        items: What to work on.
        task: Can be pickled.
        workers: Number of processes; with 1 it is this one. The threads of torch are divided among them.

    Raises:
        UserError: If a process is killed.
        OSError: If what failed is no file: the machine, not the film.
    """
    with Progress("films", len(items), "films") as progress:
        results = _here(items, task) if min(workers, len(items)) <= 1 else _apart(items, task, workers)
        for item, result in zip(items, results, strict=True):
            progress.advance(1)
            yield item, result


def _here(items: Sequence[T], task: Callable[[T], R]) -> Iterator[R | FileError | OSError]:
    for item in items:
        try:
            yield task(item)
        except (FileError, OSError) as error:
            yield _about_a_file(error)


def _apart(items: Sequence[T], task: Callable[[T], R], workers: int) -> Iterator[R | FileError | OSError]:
    # A forked copy of a process whose torch has started threads may hang.
    context = multiprocessing.get_context("spawn")
    count = min(workers, len(items))
    threads = max(1, torch.get_num_threads() // count)
    pool = ProcessPoolExecutor(count, context, _start_worker, (threads,))
    futures: list[Future[R]] = []
    try:
        futures = [pool.submit(task, item) for item in items]
        for future in futures:
            try:
                yield future.result()
            except (FileError, OSError) as error:
                yield _about_a_file(error)
    except BrokenProcessPool as error:
        raise UserError(
            f"workers: one of {count} processes was killed, most likely for want of memory; use fewer workers"
        ) from error
    finally:
        # Interrupted: the films at hand are finished, so that each sample is whole or not there.
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _about_a_file(error: FileError | OSError) -> FileError | OSError:
    """The error, if it is about one file; else it is raised."""
    if isinstance(error, OSError) and error.filename is None:
        raise error
    return error
