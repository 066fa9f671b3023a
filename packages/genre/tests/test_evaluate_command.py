"""`genre evaluate` as a command, on a corpus of files."""

import errno
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import audio_io
from genre import checkpoint as checkpoints
from genre.cli import main
from genre.config import STEMS
from genre.evaluate.result import Evaluation
from genre.locks import hold_folder

LABELS = ("high", "low")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """A corpus of stems with artists, an exact copy and a broken file."""
    root = tmp_path_factory.mktemp("songs")
    rows, time = [], torch.arange(30000) / 22050
    for number in range(8):
        label = LABELS[number % 2]
        place = f"{label}/t{number}"
        for pitch, name in enumerate(STEMS, start=2 * number):
            tone = 0.3 * torch.sin(2 * torch.pi * (2000 if label == "high" else 200) * 1.01**pitch * time)
            audio_io.save(root / place / f"{name}.wav", tone[None], 22050)
        rows.append((place, label, f"artist {number}"))
    shutil.copytree(root / "low" / "t1", root / "low" / "copy")
    (root / "low" / "broken.wav").write_bytes(b"")
    rows += [("low/copy", "low", "another"), ("low/broken.wav", "low", "another")]
    text = "\n".join(",".join(row) for row in [("path", "label", "artist"), *rows])
    (root / "tracks.csv").write_text(text + "\n")
    return root


@pytest.fixture(scope="module")
def trained(songs, tmp_path_factory):
    """The folder of a run."""
    folder = tmp_path_factory.mktemp("trained")
    command = ["train", str(songs), "-o", str(folder / "run"), "--device", "cpu"]
    assert main([*command, *options(folder / "cache")]) == 0
    return folder / "run"


def options(cache):
    found = {"separator": "stems", "separation-cache-dir": cache, "duration": 1, "n-mels": 32}
    found |= {"image": "native", "backbone": "mobilenet_v3_small", "weights": "none", "frozen-stages": 0}
    found |= {"batch-size": 8, "epochs": 1, "num-workers": 0, "test-size": 0.3, "augment-mode": "none"}
    return [part for key, value in found.items() for part in (f"--{key}", str(value))]


def test_two_runs_do_not_share_a_folder(songs, tmp_path, capsys):
    rest = [*options(tmp_path / "cache"), "--device", "cpu"]
    with hold_folder(tmp_path / "out"):
        for name, more in (("train", ()), ("evaluate", ("--folds", "2"))):
            assert main([name, str(songs), "-o", str(tmp_path / "out"), *more, *rest]) == 2
            assert "in_use.lock: found the lock of a process at work" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command_evaluates_a_corpus_and_a_network(songs, tmp_path, capsys):
    out, cache, device = tmp_path / "out", tmp_path / "cache", ["--device", "cpu"]
    command = ["evaluate", str(songs), "-o", str(out), "--folds", "2", "--by", "artist", *device]
    assert main([*command, *options(cache)]) == 0
    said = capsys.readouterr()
    assert "broken.wav: found" in said.err
    assert "9 tracks by artists that the network had not heard" in said.out
    page = (out / "index.html").read_text()
    assert "low__t1 = low__copy: the same samples" in page
    assert "broken.wav: found" in page
    assert (
        json.loads((out / "report.json").read_text())["models"]["four stems"]["splits"]["artist"][
            "copies_on_both_sides"
        ]
        == 0
    )

    model = out / "artist" / "fold_1" / "seed_42" / "best_model.pth"
    checkpoint = checkpoints.load(model)
    command = ["evaluate", str(songs), "-o", str(tmp_path / "one"), "--checkpoint", str(model), *device]
    command += ["--separation-cache-dir", str(cache)]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"tracks: found {len(checkpoint.training)} that" in said
    assert checkpoint.training[0] in said
    # Those that chose the epoch and the temperature are no better.
    checkpoints.save(model, replace(checkpoint, training=(), validation=()))
    assert main(command) == 0
    assert "does not say which tracks chose its epoch" in Evaluation.read(tmp_path / "one").problems[0]
    capsys.readouterr()
    checkpoints.save(model, replace(checkpoint, training=()))
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"tracks: found {len(checkpoint.validation)} that" in said
    assert "was chosen and calibrated with" in said
    checkpoints.save(model, checkpoint)
    # A copy under another name is what was heard all the same.
    heard = next(name for name in checkpoint.training if name != "low__copy")
    label, _, name = heard.partition("__")
    shutil.copytree(songs / label / name, tmp_path / "copies" / "high" / "renamed")
    shutil.copytree(songs / label / name, tmp_path / "copies" / "low" / "other")
    (tmp_path / "copies" / "low" / "other" / "bass.wav").write_bytes(b"")
    copies = ["evaluate", str(tmp_path / "copies"), *command[2:]]
    assert main(copies) == 2
    assert "tracks: found 1 that" in (said := capsys.readouterr().err)
    assert "was trained on (high__renamed)" in said
    assert main([*command, "--include-training"]) == 0
    one = Evaluation.read(tmp_path / "one")
    assert [problem.partition(" are ")[0] for problem in one.problems[:2]] == [
        f"{len(part)} tracks" for part in (checkpoint.training, checkpoint.validation)
    ]
    found = one.splits["one network"]
    assert len(found.tracks) == 9
    # The results of a cross-validation are not replaced by those of one network.
    before = (out / "evaluation.json").read_bytes()
    assert main([*command, "--include-training", "-o", str(out)]) == 2
    assert "found cross_validation.json of genre evaluate" in capsys.readouterr().err
    assert (out / "evaluation.json").read_bytes() == before
    fold = Evaluation.read(out).splits["artist"]
    answers = dict(zip((track.id for track in found.tracks), found.calibrated[0], strict=True))
    for track, shares in zip(fold.tracks, fold.calibrated[0], strict=True):
        if track.fold == 1:
            np.testing.assert_allclose(answers[track.id], shares, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--folds", "3"), "folds: found a value beside --checkpoint, expected only settings of windows"),
        (("--by", "random"), "by: found a value beside --checkpoint"),
        (("--no-duplicates",), "duplicates: found a value beside --checkpoint"),
        (("--epochs", "50"), "epochs: found a value beside --checkpoint"),  # though it is the default
        (("--n-mels", "64"), "n_mels: found a value beside --checkpoint"),
    ],
)
def test_options_that_would_do_nothing_are_refused(tmp_path, capsys, options, message):
    command = ["evaluate", str(tmp_path), "-o", str(tmp_path / "out")]
    assert main([*command, "--checkpoint", "best_model.pth", *options]) == 2
    assert message in capsys.readouterr().err
    for without in (("--window-overlap", "0.5"), ("--include-training",)):
        assert main([*command, *without]) == 2
        assert "a value without --checkpoint, expected --checkpoint MODEL" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_of_an_evaluation_of_nothing(tmp_path, capsys):
    for label in LABELS:
        (tmp_path / "songs" / label).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "songs" / label / f"{number}.wav").write_bytes(b"")
    command = ["evaluate", str(tmp_path / "songs"), "-o", str(tmp_path / "new" / "out"), "--folds", "2"]
    assert main([*command, *options(tmp_path / "cache"), "--separator", "none"]) == 2
    assert "found no usable track among 4" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_other_settings_are_said_before_any_work(songs, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("genre.stem_cache.StemCache.fill", lambda *_, **__: pytest.fail("separated"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cross_validation.json").write_text('{"folds": 3}')
    command = ["evaluate", str(songs), "-o", str(tmp_path / "out"), *options(tmp_path / "cache")]
    assert main([*command, "--folds", "2"]) == 2
    assert "found others than" in capsys.readouterr().err
    shutil.copytree(trained, tmp_path / "run")
    command = ["train", str(songs), "-o", str(tmp_path / "run"), *options(tmp_path / "cache")]
    assert main([*command, "--lr", "0.5"]) == 2
    assert "lr: found 0.5, but" in capsys.readouterr().err


def test_missing_artists_are_said_before_any_work(songs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("genre.stem_cache.StemCache.fill", lambda *_, **__: pytest.fail("separated"))
    shutil.copytree(songs / "low", tmp_path / "songs" / "low")
    shutil.copytree(songs / "high", tmp_path / "songs" / "high")
    command = ["evaluate", str(tmp_path / "songs"), "-o", str(tmp_path / "out"), *options(tmp_path / "cache")]
    assert main([*command, "--by", "artist", "--folds", "2"]) == 2
    assert "has none, expected an artist for every track" in capsys.readouterr().err
    assert main(["train", *command[1:], "--split", "artist"]) == 2
    assert "split: found artist, and high__t0 has none" in capsys.readouterr().err
    # Without --by such a corpus has random folds; here its genres are too small for them.
    assert main([*command, "--folds", "7"]) == 2
    said = capsys.readouterr()
    assert "note: not every track has an artist" in said.out
    assert "folds: found 7, and 'high' has 4 independent tracks" in said.err


def test_a_genre_none_of_whose_tracks_can_be_used_is_no_success(songs, tmp_path, capsys):
    corpus = tmp_path / "songs"
    for label in LABELS:
        shutil.copytree(songs / label, corpus / label)
    for file in (corpus / "low").glob("*/drums.wav"):
        file.write_bytes(b"")
    command = [str(corpus), "-o", str(tmp_path / "out"), *options(tmp_path / "cache")]
    for name, more in (("train", ()), ("evaluate", ("--folds", "2"))):
        assert main([name, *command, *more]) == 2
        assert "tracks: found none of 'low' to learn from" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_said_before_any_work(songs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("genre.stem_cache.StemCache.fill", lambda *_, **__: pytest.fail("separated"))
    for name, more in (("train", ()), ("evaluate", ("--folds", "2"))):
        command = [name, str(songs), "-o", str(tmp_path / name), *options(tmp_path / "cache"), *more]
        assert main([*command, "--device", "cuda:99"]) == 2
        assert "device: found 'cuda:99'" in capsys.readouterr().err


def test_one_genre_is_refused_before_any_work(songs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("genre.stem_cache.StemCache.fill", lambda *_, **__: pytest.fail("separated"))
    shutil.copytree(songs / "high", tmp_path / "songs" / "high")
    for name in ("train", "evaluate"):
        command = [name, str(tmp_path / "songs"), "-o", str(tmp_path / name), *options(tmp_path / "cache")]
        assert main(command) == 2
        assert "labels: found one genre, high, expected at least two" in capsys.readouterr().err
        assert not (tmp_path / name).exists()


def test_a_folder_that_cannot_be_used_is_said_before_any_work(songs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("genre.stem_cache.StemCache.fill", lambda *_, **__: pytest.fail("separated"))
    command = ["evaluate", str(songs), *options(tmp_path / "cache"), "--folds", "2", "-o"]
    (tmp_path / "file").touch()
    assert main([*command, str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == f"genre: error: {tmp_path / 'file'}: File exists\n"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "explain.json").touch()
    assert main([*command, str(tmp_path / "other")]) == 2
    assert (
        "other: found explain.json of genre explain, expected a folder of its own" in capsys.readouterr().err
    )

    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "open", refuse)
    assert main([*command, str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == f"genre: error: {tmp_path / 'new'}: Read-only file system\n"


def test_training_ends_with_the_temperature(trained):
    out = trained
    temperature = checkpoints.load(out / "best_model.pth").temperature
    assert temperature != 1
    log = (out / "train_log.txt").read_text()
    assert f"temperature {temperature:.3f}, fitted on the" in log
    assert "kept on their side: 1 (the first: low__copy of low__t1)" in log
    run = json.loads((out / "run.json").read_text())
    assert ("low__t1" in run["training"]) == ("low__copy" in run["training"])
