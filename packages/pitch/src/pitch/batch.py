"""The same work on many recordings, in this process or in several.

Each process loads the network once. A recording that cannot be used costs only its own result; an error that
is not about one recording ends the batch. Ctrl-C stops the workers after the batch of frames that they are
at, through the same path as an exception, so no half-written file stays.
"""

import multiprocessing
import multiprocessing.process
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Generic, TypeVar

import torch

from audio_io import info
from audio_io.errors import ConfigError, FileError, UserError
from audio_io.interrupts import interrupts_ignored
from audio_io.progress import Progress
from pitch.config import TrackConfig
from pitch.jobs import Job
from pitch.tracking import Tracker

# What a worker gets to end by itself when the batch is stopped. A batch of frames or a figure takes less; the
# start of a process, which writes nothing, may take more.
STOP_SECONDS = 3.0

R = TypeVar("R")
# Called with a job, the tracker of the process, and the progress of the job in seconds of audio.
Task = Callable[[Job, Tracker, Progress], R]


@dataclass(frozen=True)
class TrackerSettings:
    """What a process needs to load its tracker; see `Tracker`."""

    config: TrackConfig
    device: str
    weights: str | Path | None = None

    def load(self) -> Tracker:
        """The tracker."""
        return Tracker(self.config, device=self.device, weights=self.weights)


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What became of one job: a result, or the error that its recording raised."""

    job: Job
    result: R | None
    error: FileError | OSError | None


def run_batch(
    jobs: Sequence[Job], task: Task[R], settings: TrackerSettings, *, workers: int = 1
) -> Iterator[Outcome[R]]:
    """Do a task for every job and give the outcomes as they come: in order with one worker.

    Args:
        jobs: What to work on.
        task: A function of a module, or a `functools.partial` of one, so that it can be sent to a process.
        settings: For the tracker that the task is called with.
        workers: Number of processes; with 1 it is this one. The threads of torch are divided among them.

    Raises:
        ConfigError: If `workers` is less than 1.
        UserError: If the tracker cannot be loaded, or a process is killed.
        OSError: If what failed is no file: the machine, not the recording.
    """
    if workers < 1:
        raise ConfigError("workers", workers, "at least 1")
    if min(workers, len(jobs)) <= 1:
        yield from _run_here(jobs, task, settings)
    else:
        yield from _run_in_processes(jobs, task, settings, min(workers, len(jobs)))


def _run_here(jobs: Sequence[Job], task: Task[R], settings: TrackerSettings) -> Iterator[Outcome[R]]:
    tracker = settings.load() if jobs else None
    for job in jobs:
        assert tracker is not None
        try:
            with Progress(job.recording.name, info(job.recording).duration, "s of audio") as progress:
                result = task(job, tracker, progress)
        except (FileError, OSError) as error:
            yield Outcome(job, None, _of_recording(error))
        else:
            yield Outcome(job, result, None)


def _run_in_processes(
    jobs: Sequence[Job], task: Task[R], settings: TrackerSettings, workers: int
) -> Iterator[Outcome[R]]:
    # A forked copy of a process whose torch has started threads may hang.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    threads = max(1, torch.get_num_threads() // workers)
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(workers, context, _start_worker, (settings, threads, stop))
    try:
        with interrupts_ignored():
            futures = {pool.submit(_work, job, task): job for job in jobs}
        with Progress("recordings", len(jobs), "recordings") as progress:
            for future in as_completed(futures):
                job = futures.pop(future)
                try:
                    outcome = Outcome(job, future.result(), None)
                except (FileError, OSError) as error:
                    outcome = Outcome(job, None, _of_recording(error))
                progress.advance(1)
                yield outcome
        pool.shutdown()
    except BrokenProcessPool as error:
        raise UserError(
            f"workers: one of {workers} processes was killed, most likely for want of memory; "
            "use fewer workers"
        ) from error
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        _end(set(multiprocessing.active_children()) - set(others))


def _end(processes: set[multiprocessing.process.BaseProcess]) -> None:
    """Wait for workers that were told to stop; kill the one that is at something that cannot be stopped."""
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.terminate()
            process.join()


def _of_recording(error: FileError | OSError) -> FileError | OSError:
    """The error, if it is about one file; else it is raised."""
    if isinstance(error, OSError) and error.filename is None:
        raise error
    return error


class _Worker:
    """What a worker process holds."""

    settings: TrackerSettings
    stop: Event
    tracker: Tracker | None = None


class _StoppableProgress(Progress):
    """Shows nothing; ends the job when the batch is stopped."""

    def advance(self, amount: float) -> None:
        self.done += amount
        if _Worker.stop.is_set():
            raise KeyboardInterrupt


def _start_worker(settings: TrackerSettings, threads: int, stop: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    _Worker.settings, _Worker.stop = settings, stop


def _work(job: Job, task: Task[R]) -> R:
    progress = _StoppableProgress(job.recording.name, None, "s of audio")
    progress.advance(0)
    if _Worker.tracker is None:
        try:
            _Worker.tracker = _Worker.settings.load()
        except FileError as error:
            # As a FileError it would be taken for one about the recording.
            raise UserError(str(error)) from error
    return task(job, _Worker.tracker, progress)
