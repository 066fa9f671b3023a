"""The demo: every stage on a few songs, what the report says, and how processes side by side end."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from audio_io.errors import UserError
from genre.cli import main
from genre.config import GENRES, TrainConfig
from genre.corpus.config import SOUNDS, DemoConfig
from genre.demo.config import FULL, MODELS, QUICK
from genre.demo.run import run
from genre.demo.side_by_side import OUTPUT, Task, run_tasks
from genre.evaluate.config import EvaluateConfig
from genre.layouts import read_corpus

MINIATURE = replace(
    QUICK,
    corpus=DemoConfig(artists=4, songs=1, duration=1.5),
    settings=replace(
        QUICK.settings,
        features=replace(QUICK.settings.features, duration=1.0),
        train=replace(QUICK.settings.train, epochs=1, batch_size=8),
    ),
    evaluate=EvaluateConfig(folds=2, max_folds=1, by=("artist",)),
)


class Killed(BaseException):
    """Stands for what cannot be caught."""


def times(folder, pattern):
    return {path: path.stat().st_mtime_ns for path in folder.rglob(pattern)}


def test_a_demo_goes_on_where_it_was_killed_and_reports_both_models(tmp_path, capfd, monkeypatch):
    folder = tmp_path / "demo"

    def run_here(tasks, total, count):
        # As the processes get it, without the seconds in which each of them starts.
        for task in pickle.loads(pickle.dumps(tasks)):
            task.function(*task.arguments)
        assert count() == total == 2

    monkeypatch.setattr("genre.demo.run.run_tasks", run_here)

    def die_before_training(line):
        if line.startswith("3 of 4"):
            raise Killed

    with pytest.raises(Killed):
        run(folder, MINIATURE, device="cpu", say=die_before_training)
    songs, leakage = times(folder, "*.flac"), (folder / "leakage.json").stat().st_mtime_ns
    assert len(songs) == 40 * 5

    said = []
    evaluations = run(folder, MINIATURE, device="cpu", say=said.append)
    assert times(folder, "*.flac") == songs
    assert (folder / "leakage.json").stat().st_mtime_ns == leakage
    assert said[-1] == f"look at {folder / 'report/index.html'}"
    artists = {track.id: track.artist for track in read_corpus(folder / "corpus").tracks}
    for name, place in (("four stems", "four_stems"), ("mixture", "mixture")):
        split = evaluations[name].splits["artist"]
        assert len(split.tracks) == 20
        assert {track.label for track in split.tracks} == set(GENRES)
        run_json = json.loads((folder / place / "artist/fold_1/seed_42/run.json").read_text())
        heard = {artists[track] for side in ("training", "validation") for track in run_json[side]}
        assert not heard & {track.artist for track in split.tracks}
        assert split.known_artists == 0
        assert run_json["separation"]["separator"] == MODELS[name]
    page = (folder / "report/index.html").read_text()
    for text in (
        "four stems",
        "mixture",
        "No recording was found in the corpus twice",
        "1 of 2 folds",
        SOUNDS,
    ):
        assert text in page
    assert "http" not in page.replace("http-equiv", "")

    trained = times(folder, "best_model.pth") | times(folder, "evaluation.json")
    monkeypatch.setattr("genre.demo.run.run_tasks", None)  # nothing is left to be run
    monkeypatch.setattr("genre.demo.run.write_report", lambda found, *_, **__: reported.update(found))
    reported = {}
    run(folder, MINIATURE, device="cpu", say=said.append)
    assert times(folder, "best_model.pth") | times(folder, "evaluation.json") == trained
    for name in MODELS:
        again, first = (found[name].splits["artist"] for found in (reported, evaluations))
        assert again.mistakes == first.mistakes

    assert main(["demo", "--quick", "-o", str(folder)]) == 2
    assert "found a demo of other settings" in capfd.readouterr().err


def test_a_folder_with_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("x")
    assert main(["demo", "-o", str(tmp_path)]) == 2
    assert "something other than a demo, expected a new or empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_error_of_one_process_ends_the_others_and_is_said(tmp_path):
    missing = tmp_path / "nothing"
    tasks = [Task(tmp_path / "a", read_corpus, (missing,)), Task(tmp_path / "b", time.sleep, (600,))]
    with pytest.raises(UserError, match="nothing: found"):
        run_tasks(tasks, 1, lambda: 0)
    with pytest.raises(UserError, match=rf"{OUTPUT}: found a process that ended with code 7, expected 0"):
        run_tasks([Task(tmp_path / "a", os._exit, (7,))], 1, lambda: 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_one_that_began_them(tmp_path, number):
    # Each child writes its number, and sleeps.
    code = (
        "import os, pathlib, signal, sys, time\n"
        "from genre.demo.side_by_side import Task, run_tasks\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    folder = pathlib.Path(sys.argv[1])\n"
        "    task = Task(folder, exec, (sys.argv[2],))\n"
        "    try:\n"
        "        run_tasks([task], 1, lambda: 0)\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(130)\n"
    )
    child = (
        "import os, pathlib, time\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    command = [sys.executable, str(script), str(tmp_path), child]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as parent:
        pid = tmp_path / "pid"
        wait_until(lambda: pid.is_file() and pid.read_text())
        parent.send_signal(number)
        errors = parent.communicate(timeout=60)[1]
    assert errors == ""
    assert parent.returncode == (130 if number == signal.SIGINT else -number)
    wait_until(lambda: not is_running(int(pid.read_text())))


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_both_plans_hold_artists_back_and_start_from_random_weights():
    for plan in (FULL, QUICK):
        assert plan.evaluate.by == ("artist",)
        assert plan.settings.train.weights == "none"
        other = plan.varied(seed=3, ensemble=5)
        assert (other.settings.train.seed, other.evaluate.ensemble) == (3, 5)
        assert other.corpus == plan.corpus
        assert plan.varied(corpus_seed=7) == replace(plan, corpus=replace(plan.corpus, seed=7))
        assert plan.varied() == plan
    assert (FULL.corpus.artists, TrainConfig().backbone) == (10, "efficientnet_b3")
