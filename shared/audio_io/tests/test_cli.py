import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from audio_io import cli
from audio_io.errors import ConfigError, FileError


def run(action, *arguments):
    parser = cli.build_parser("audio-io", "For the test.")
    commands = parser.add_subparsers()
    commands.add_parser("act").set_defaults(command=action)
    return cli.run(parser, arguments or ["act"])


def test_the_exit_code_is_the_commands():
    assert run(lambda _: 0) == 0
    assert run(lambda _: 1) == 1


def test_errors_of_the_user_are_one_sentence_and_2(capsys):
    def fail(_):
        raise FileError("a.wav", "nothing", "something")

    assert run(fail) == 2
    assert capsys.readouterr().err == "audio-io: error: a.wav: found nothing, expected something\n"


def test_a_folder_that_cannot_be_written_is_the_users_too(capsys, tmp_path):
    def fail(_):
        (tmp_path / "file").touch()
        (tmp_path / "file/inside").write_text("x")

    assert run(fail) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"audio-io: error: {tmp_path / 'file/inside'}: ")
    assert error.count("\n") == 1


def test_defects_of_ours_keep_their_traceback():
    def defect(_):
        raise KeyError("ours")

    with pytest.raises(KeyError):
        run(defect)


def test_ctrl_c_ends_with_130(capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    assert run(interrupted) == 130
    assert capsys.readouterr().err.strip() == "audio-io: interrupted"


def test_without_a_command_the_help_is_shown(capsys):
    parser = cli.build_parser("audio-io", "For the test.")
    assert cli.run(parser, []) == 0
    assert "For the test." in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
def test_a_reader_that_leaves_is_no_error():
    script = (
        "import sys; from audio_io import cli; p = cli.build_parser('audio-io', 'x');"
        "p.set_defaults(command=lambda _: [print('line') for _ in range(100000)] and 0);"
        "sys.exit(cli.run(p, []))"
    )
    done = subprocess.run(
        f'{sys.executable} -c "{script}" | head -n 1', shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout == "line\n"
    assert done.stderr == ""


def test_signs_that_the_terminal_lacks_are_no_error():
    script = (
        "import sys; from audio_io import cli; p = cli.build_parser('audio-io', 'x');"
        "p.set_defaults(command=lambda _: print('A\u266f4') or 0); sys.exit(cli.run(p, []))"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "A?4", "")


def test_devices_are_checked():
    assert cli.pick_device("cpu") == torch.device("cpu")
    assert cli.pick_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(ConfigError, match=r"device: found 'warp', expected auto or one that is here: .*cpu"):
        cli.pick_device("warp")
    if torch.cuda.device_count() < 9:
        with pytest.raises(ConfigError, match="device: found 'cuda:9'"):
            cli.pick_device("cuda:9")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="device: found 'cuda'"):
            cli.pick_device("cuda")


def test_a_seed_repeats_every_generator():
    def draw():
        cli.seed_everything(5)
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert draw() == draw()
