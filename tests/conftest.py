import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MEMBERS = [ROOT / "shared/audio_io", *sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def members():
    """The pyproject of each member by import name."""
    return {folder.name: tomllib.loads((folder / "pyproject.toml").read_text()) for folder in MEMBERS}


@pytest.fixture(scope="session")
def uv():
    """Runs uv in the workspace and returns what it printed."""
    # `uv run` tells its children which uv it is; it need not be on the PATH.
    program = os.environ.get("UV") or shutil.which("uv")
    assert program, "these tests need uv: run them as the README says"

    def run(*arguments, cwd=ROOT, **environment):
        done = subprocess.run(
            [program, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"uv {' '.join(map(str, arguments))}\n{done.stderr}"
        return done.stdout

    return run
