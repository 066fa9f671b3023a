import io

import pytest

from audio_io import progress
from audio_io.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar():
    stream = Terminal()
    with Progress("song.wav", 10.0, "s", stream=stream) as bar:
        for _ in range(10):
            bar.advance(1.0)
    assert "song.wav" in stream.getvalue()
    assert "/10 s" in stream.getvalue()


@pytest.mark.parametrize("steps", [6, 60])
def test_more_than_the_total_is_no_error(steps):
    with Progress("song.wav", 5.0, "s", stream=Terminal()) as bar:
        for _ in range(steps):
            bar.advance(1.0)
    assert bar.done == steps


def test_a_log_gets_a_line_now_and_then(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Progress("song.wav", 100.0, "s", stream=stream) as bar:
        for _ in range(50):
            now[0] += 2.0
            bar.advance(2.0)
    assert stream.getvalue().splitlines() == [
        "song.wav: 30% of 100 s, about 70 s left",
        "song.wav: 60% of 100 s, about 40 s left",
        "song.wav: 90% of 100 s, about 10 s left",
    ]


def test_a_log_of_unknown_length_counts(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Progress("pipe", None, "s", stream=stream) as bar:
        now[0] = 31.0
        bar.advance(12.0)
    assert stream.getvalue() == "pipe: 12 s after 31 s\n"


def test_quick_work_leaves_no_trace_in_a_log():
    stream = io.StringIO()
    with Progress("quick", 1.0, "s", stream=stream) as bar:
        bar.advance(1.0)
    assert stream.getvalue() == ""
