"""The command lines keep the same conventions."""

import subprocess
import sys

import pytest

COMMANDS = {
    "pitch": "pitch",
    "genre": "genre",
    "mri2speech": "mri2speech",
    "separation-coreml": "separation_coreml",
}


def run(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("command", "module"), COMMANDS.items())
def test_help_version_and_nonsense(command, module):
    done = run(module, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {command}")
    assert run(module, "--version").stdout == f"{command} 0.1.0\n"
    wrong = run(module, "no-such-command")
    assert wrong.returncode == 2
    assert f"{command}: error: " in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize(("command", "module"), COMMANDS.items())
def test_help_needs_nothing_heavy(command, module):
    script = (
        f"import sys; from {module}.cli import build_parser; build_parser().format_help();"
        "print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
