import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from audio_io.atomic import atomic_path, file_digest, fingerprint, write_json, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_target_appears_whole_and_alone(tmp_path):
    with atomic_path(tmp_path / "new/a.txt") as temporary:
        temporary.write_text("half")
        assert temporary.suffix == ".txt"
        assert not (tmp_path / "new/a.txt").exists()
    assert (tmp_path / "new/a.txt").read_text() == "half"
    assert names(tmp_path / "new") == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_whatever_interrupts_leaves_the_earlier_file(tmp_path, error):
    write_text(tmp_path / "a.txt", "earlier")
    with pytest.raises(error), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half of the new")
        raise error
    assert (tmp_path / "a.txt").read_text() == "earlier"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_is_reported_with_the_name_of_the_target(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, atomic_path(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str((tmp_path / "a.txt").resolve())


def test_the_name_of_a_file_that_is_no_text_costs_no_result(tmp_path):
    # What Python makes of the Latin-1 name b"caf\xe9.wav" where file names are UTF-8.
    name = os.fsdecode(b"caf\xe9.wav") if os.name == "posix" else "caf\udce9.wav"
    write_json(tmp_path / "a.json", {"recording": name})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"recording": name}
    write_text(tmp_path / "a.txt", f"é {name}")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "é caf\\udce9.wav"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_process_killed_while_it_writes_leaves_the_earlier_file(tmp_path):
    write_text(tmp_path / "a.txt", "earlier")
    script = (
        "import sys, time; from audio_io.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as t:\n"
        "    t.write_text('half'); print('writing', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        os.kill(process.pid, signal.SIGKILL)
    assert (tmp_path / "a.txt").read_text() == "earlier"


def test_a_symbolic_link_is_written_through(tmp_path):
    (tmp_path / "real").mkdir()
    write_text(tmp_path / "real/a.txt", "1")
    try:
        (tmp_path / "link.txt").symlink_to(tmp_path / "real/a.txt")
    except OSError:
        pytest.skip("no right to make symbolic links")
    write_text(tmp_path / "link.txt", "2")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real/a.txt").read_text() == "2"


def test_json_is_readable_and_strict(tmp_path):
    write_json(tmp_path / "a.json", {"名": [1, None]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "名": [\n    1,\n    null\n  ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert names(tmp_path) == ["a.json"]


@dataclasses.dataclass(frozen=True)
class Settings:
    a: int = 1
    path: Path = Path("x")


def test_a_fingerprint_follows_the_values_only():
    assert fingerprint(Settings()) == fingerprint({"path": Path("x"), "a": 1})
    assert fingerprint(Settings()) != fingerprint(Settings(a=2))
    assert fingerprint([1, 2]) != fingerprint([2, 1])
    assert len(fingerprint(Settings())) == 16


def test_the_digest_of_a_file_is_the_known_one(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert file_digest(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")
    assert file_digest(tmp_path / "abc", "sha1") == "a9993e364706816aba3e25717850c26c9cd0d89d"
