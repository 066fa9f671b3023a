"""How far long work has come: a bar on a terminal, a line now and then in a log."""

import sys
import time
from types import TracebackType
from typing import TextIO

LOG_INTERVAL_SECONDS = 30.0


class Progress:
    """Shows the progress of one job on stderr.

    On a terminal it is a tqdm bar; elsewhere (a log file, CI) it is one line at the start of each
    `LOG_INTERVAL_SECONDS`, so that logs stay short and a job that finishes at once prints nothing.

    Args:
        label: What is being worked on.
        total: Amount of work, in `unit`; None if unknown.
        unit: Unit of `total` and of `advance`, for the display.
        stream: Where to write; stderr if None.
    """

    def __init__(self, label: str, total: float | None, unit: str, *, stream: TextIO | None = None) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0.0
        self._stream = stream if stream is not None else sys.stderr
        self._bar = None
        self._started = self._printed = time.monotonic()
        if self._stream.isatty():
            from tqdm import tqdm

            layout = "{l_bar}{bar}| {n:.0f}/{total:.0f} {unit} [{elapsed}<{remaining}]" if total else None
            self._bar = tqdm(
                total=total, desc=label, unit=unit, file=self._stream, bar_format=layout, leave=False
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, amount: float) -> None:
        """Count `amount` units (of any size, fractions included) as done."""
        if self._bar is not None:
            # tqdm forgets a total that is exceeded, as a last hop or a vague header may do.
            self._bar.update(amount if self.total is None else max(0.0, min(amount, self.total - self.done)))
        self.done += amount
        if self._bar is not None:
            return
        if (now := time.monotonic()) - self._printed >= LOG_INTERVAL_SECONDS:
            self._printed = now
            print(self._line(now - self._started), file=self._stream, flush=True)

    def _line(self, elapsed: float) -> str:
        if not self.total:
            return f"{self.label}: {self.done:.0f} {self.unit} after {elapsed:.0f} s"
        remaining = elapsed * max(self.total - self.done, 0.0) / max(self.done, 1e-9)
        share = min(self.done / self.total, 1.0)
        return f"{self.label}: {share:.0%} of {self.total:.0f} {self.unit}, about {remaining:.0f} s left"
