import subprocess
import sys

import pytest

from separation_coreml.cli import COMMANDS, main


def test_help_names_every_command(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: separation-coreml")
    for command in COMMANDS:
        assert command.__name__.rsplit(".", 1)[-1].replace("_", "-") in printed


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train"])
    assert stop.value.code == 2
    assert "invalid choice: 'train'" in capsys.readouterr().err


def test_help_needs_neither_torch_nor_numpy():
    program = "import sys, separation_coreml.cli as c; c.main([]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0
