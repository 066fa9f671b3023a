"""The README's words are commands that run."""

import re
import subprocess
import sys
import tomllib

import pytest


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text(encoding="utf-8")


def command_after(readme, mark):
    return re.search(rf"<!-- {mark} -->\n```sh\n(.+)\n```", readme)[1]


def test_the_gate_runs_the_test_command_of_the_readme(readme, root):
    command = command_after(readme, "tests")
    assert command.endswith("uv run --all-packages --all-groups pytest -n auto --dist loadfile")
    script = (root / ".ci/run").read_text()
    picked = subprocess.run(
        ["bash", "-c", re.search(r"command=\$\((.*)\)", script)[1]],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert picked.strip() == command


def test_the_main_command_prints_what_the_readme_shows(readme, tmp_path):
    """Its own words, with the small model so that it takes seconds; the lines keep their form."""
    command = command_after(readme, "main")
    assert command == "python3 -m pip install uv && python3 -m uv run --package pitch pitch track"
    done = subprocess.run(
        [sys.executable, "-m", "pitch", "track", "--model", "tiny", "--device", "cpu"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    shown = re.search(r"```text\n(sung_phrase.*?)```", readme, re.DOTALL)[1]

    def form(text):
        return re.sub(r"model \w+|[A-G]♯?\d|[+-]?\d+(\.\d+)?", "_", text)

    assert form(done.stdout) == form(shown)


def test_the_table_names_every_package_with_a_command_that_exists(readme, root):
    for path in root.glob("packages/*/pyproject.toml"):
        project = tomllib.loads(path.read_text())["project"]
        row = next(line for line in readme.splitlines() if line.startswith(f"| [`{project['name']}`]"))
        match = re.search(r"`uv run --package (\S+) ([^\s`]+)", row)
        assert match[1] == project["name"]
        assert match[2] in project["scripts"]


def test_links_lead_somewhere(root):
    pages = [
        root / "README.md",
        root / "CONTRIBUTING.md",
        *root.glob("docs/*.md"),
        *root.glob("*/*/README.md"),
    ]
    for page in pages:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"
