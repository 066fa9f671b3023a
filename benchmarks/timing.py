"""How the benchmarks take times: calls in turns, in one process, on a stated number of threads."""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version

import torch


def medians(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each call; they take turns, so that a change of load meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


@contextlib.contextmanager
def session(description: str | None, repeats: int) -> Iterator[int]:
    """Reads `--threads` and `--repeats`, prints what is compared, limits the threads; yields the repeats."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch and of NumPy's BLAS")
    parser.add_argument("--repeats", type=int, default=repeats)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {version('torch')}, librosa {version('librosa')}, {options.threads} thread(s), float32")
    with threadpool_limits(options.threads):
        yield options.repeats
