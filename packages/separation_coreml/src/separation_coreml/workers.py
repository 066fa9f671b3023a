"""The same work on many items in several processes, which Ctrl-C ends within seconds.

A process that is told to stop meets a KeyboardInterrupt wherever it is, as it would without others, so that
half-written files are removed on the way.
"""

import multiprocessing
import multiprocessing.process
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from types import FrameType
from typing import TypeVar

import torch

from audio_io.errors import UserError
from audio_io.interrupts import interrupts_ignored

# What a process gets to end by itself: no single operation of a network takes as long. ONNX Runtime and
# Core ML end a segment first, and are killed if that takes longer.
_STOP_SECONDS = 10.0

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(
    work: Callable[[Item], Result], items: Sequence[Item], *, workers: int, start: Callable[[], None]
) -> Iterator[tuple[int, Result]]:
    """Do the work for every item and give the results as they come, each with the place of its item.

    Args:
        work: A function of a module.
        items: What it is called with.
        workers: Number of processes; the threads of torch are divided among them.
        start: Called once in each process before its first item; a `functools.partial` of such a function.

    Raises:
        UserError: If a process is killed.
    """
    # A forked copy of a process whose torch has started threads may hang.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    threads = max(1, torch.get_num_threads() // workers)
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(min(workers, len(items)), context, _start, (threads, stop, start))
    try:
        with interrupts_ignored():
            futures = {pool.submit(_do, work, item): place for place, item in enumerate(items)}
        for future in as_completed(futures):
            # Popped, so that results are not kept.
            yield futures.pop(future), future.result()
    except BrokenProcessPool as error:
        found = f"{workers} processes of which one was killed, most likely for want of memory"
        raise UserError(f"workers: {found}; use fewer") from error
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        _end(set(multiprocessing.active_children()) - set(others))


def _end(processes: set[multiprocessing.process.BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _STOP_SECONDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


class _Process:
    """What a worker process holds."""

    stop: Event
    is_working = False


def _start(threads: int, stop: Event, start: Callable[[], None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    torch.set_num_threads(threads)
    _Process.stop = stop
    start()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # Between two items the process ends by itself.
    if _Process.is_working:
        raise KeyboardInterrupt


def _do(work: Callable[[Item], Result], item: Item) -> Result:
    # An item may have been on its way when the others were cancelled.
    if _Process.stop.is_set():
        raise KeyboardInterrupt
    _Process.is_working = True
    try:
        return work(item)
    finally:
        _Process.is_working = False
