import os
import time

import pytest

from audio_io.errors import FileError
from genre.locks import hold, hold_folder


def test_a_folder_is_held_by_one_at_a_time_and_let_go(tmp_path):
    for _ in range(2):
        with hold_folder(tmp_path / "run"):
            with (
                pytest.raises(FileError, match="the lock of a process at work"),
                hold_folder(tmp_path / "run"),
            ):
                pytest.fail("held twice")
            assert (tmp_path / "run" / "in_use.lock").is_file()
        assert list((tmp_path / "run").iterdir()) == []


def test_a_lock_that_was_taken_over_is_left_to_its_new_owner(tmp_path):
    path = tmp_path / "a.lock"
    with hold(path):
        path.unlink()
        path.write_text('{"host": "another machine", "process": 1}')
    assert path.is_file()


def test_a_folder_in_use_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr("genre.locks.GIVEN_UP_SECONDS", 0.5)
    with hold_folder(tmp_path):
        os.utime(tmp_path / "in_use.lock", (0, 0))
        for _ in range(100):
            if (tmp_path / "in_use.lock").stat().st_mtime > 0:
                break
            time.sleep(0.05)
        else:
            pytest.fail("a lock that nobody touches is taken over")
