"""What is tracked: nothing of one machine, nothing large, nothing that pretends."""

import re
import subprocess

import pytest


@pytest.fixture(scope="module")
def tracked(root):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [root / name for name in listed.stdout.split("\0") if name and (root / name).is_file()]


def texts(tracked):
    for path in tracked:
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_no_path_or_host_of_a_machine(tracked):
    # Without their first slash, so that this list does not find itself.
    folders = ["root/", "home/[a-z]", "Users/[A-Za-z]", "work/"]
    private = re.compile("|".join(rf"(?<![\w.}}])/{folder}" for folder in folders) + r"|[A-Z]:\\Users")
    found = [f"{path}: {match[0]}" for path, text in texts(tracked) if (match := private.search(text))]
    assert found == []


def test_the_only_package_index_is_the_one_uv_writes(tracked):
    hosts = {
        host
        for path, text in texts(tracked)
        if path.name == "uv.lock"
        for host in re.findall(r'(?:registry = |url = )"https://([^/"]+)', text)
    }
    assert hosts <= {"pypi.org", "files.pythonhosted.org"}


def test_nothing_large_is_tracked(tracked, root):
    large = {
        str(path.relative_to(root)): path.stat().st_size for path in tracked if path.stat().st_size > 15e6
    }
    assert large == {}


def test_modules_stay_small_enough_to_read(tracked):
    long = {
        str(path): lines
        for path, text in texts(tracked)
        if path.suffix == ".py" and (lines := text.count("\n")) > 400
    }
    assert long == {}
