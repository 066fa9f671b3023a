"""Ctrl-C, which a terminal sends to a program and to all processes that it has started."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Processes started meanwhile inherit that Ctrl-C is not for them: who starts them tells them to stop.

    Does nothing outside the main thread, where Python lets no handler be set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
