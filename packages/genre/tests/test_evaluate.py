import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import audio_io
from audio_io.errors import ConfigError, FileError
from genre import checkpoint as checkpoints
from genre.cli import main
from genre.config import STEMS, AugmentConfig, FeatureConfig, TrainConfig
from genre.evaluate.calibration import fit_temperature
from genre.evaluate.config import EvaluateConfig
from genre.evaluate.network import track_logits
from genre.evaluate.result import Evaluation
from genre.evaluate.runner import cross_validate
from genre.layouts import Track
from genre.leakage import Leakage, Pair
from genre.locks import hold_folder
from genre.run_config import Settings

LABELS = ("high", "low")
SETTINGS = Settings(
    features=FeatureConfig(duration=1.0, n_mels=32, image="native"),
    augment=AugmentConfig(augment_mode="none"),
    train=TrainConfig(
        backbone="mobilenet_v3_small",
        weights="none",
        frozen_stages=0,
        batch_size=8,
        epochs=1,
        num_workers=0,
        test_size=0.3,
    ),
)
# Eight artists of two tracks each.
TRACKS = [Track(f"t{i}", Path(f"t{i}.wav"), LABELS[i % 2], f"{i % 2} {i // 4}") for i in range(16)]
COPIES = Leakage(
    tuple(Pair(a, b, "exact", 1.0, 0.0, "train", ("low", "low")) for a, b in (("t1", "t15"), ("t3", "t13"))),
    (),
    16,
)


class Tones:
    """High and low tones; the process is killed at the read of a number that is given."""

    def __init__(self, kill_at=None):
        self.kill_at, self.reads = kill_at, 0

    def length(self, _):
        return 30000

    def read(self, track, start=0, length=None):
        self.reads += 1
        if self.reads == self.kill_at:
            signal.raise_signal(signal.SIGKILL)
        rng = np.random.default_rng(int(track.id[1:]))
        pitch = (2000 if track.label == "high" else 200) * rng.uniform(0.9, 1.1, (4, 1))
        sound = 0.3 * np.sin(2 * np.pi * pitch * np.arange(self.length(track)) / 22050)
        stop = None if length is None else start + length
        return sound[:, start:stop].astype(np.float32)


def evaluate(folder, stems=None, config=EvaluateConfig(folds=2), settings=SETTINGS, tracks=TRACKS):  # noqa: B008
    return cross_validate(
        tracks, LABELS, stems or Tones(), folder, settings, config, device="cpu", leakage=COPIES
    )


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    folder = tmp_path_factory.mktemp("complete")
    return folder, evaluate(folder)


def runs_of(folder):
    return sorted(path.parent for path in folder.glob("*/fold_*/seed_*/test.json"))


def test_every_track_is_answered_once_by_a_network_that_has_not_heard_it(complete):
    folder, evaluation = complete
    artists = {track.id: track.artist for track in TRACKS}
    assert list(evaluation.splits) == ["artist", "random"]
    for split in evaluation.splits.values():
        assert sorted(track.id for track in split.tracks) == sorted(artists)
        assert split.calibrated.shape == (1, 16, 2)
        np.testing.assert_allclose(split.probabilities.sum(axis=1), 1, atol=1e-5)
    assert len(runs_of(folder)) == 4
    for place in runs_of(folder):
        run, test = (json.loads((place / name).read_text()) for name in ("run.json", "test.json"))
        parts = [set(run["training"]), set(run["validation"]), set(test["tracks"])]
        checkpoint = checkpoints.load(place / "best_model.pth")
        assert [set(checkpoint.training), set(checkpoint.validation)] == parts[:2]
        if place.parent.parent.name == "artist":
            assert sum(len({artists[track] for track in part}) for part in parts) == 8
        assert sum(map(len, parts)) == len(set.union(*parts)) == 16
        assert not (place / "checkpoint.pth").exists()


def test_the_temperature_comes_from_the_validation_tracks(complete):
    folder, evaluation = complete
    split = evaluation.splits["artist"]
    place = folder / "artist" / "fold_1" / "seed_42"
    names = json.loads((place / "run.json").read_text())["validation"]
    tracks = [track for track in TRACKS if track.id in names]
    checkpoint = checkpoints.load(place / "best_model.pth")
    logits = track_logits(checkpoint, tracks, Tones(), device="cpu")
    expected = fit_temperature(logits, np.array([LABELS.index(track.label) for track in tracks]))
    assert checkpoint.temperature == pytest.approx(expected, rel=1e-6)
    assert split.runs[0].temperature == checkpoint.temperature
    # The calibrated probabilities are those that `genre predict` gives.
    from genre.predict import Predictor

    first = next(track for track in TRACKS if track.id == split.tracks[0].id)
    shares = Predictor(checkpoint, device="cpu").predict(first, Tones()).probabilities
    np.testing.assert_allclose(split.calibrated[0, 0], shares, rtol=1e-4, atol=1e-6)


def test_copies_stay_together_by_artist_and_are_counted_at_random(complete):
    splits = complete[1].splits
    fold = {track.id: track.fold for track in splits["artist"].tracks}
    assert fold["t1"] == fold["t15"]
    assert fold["t3"] == fold["t13"]
    assert (splits["artist"].copies, splits["artist"].known_artists) == (0, 0.0)
    fold = {track.id: track.fold for track in splits["random"].tracks}
    assert splits["random"].copies == (fold["t1"] != fold["t15"]) + (fold["t3"] != fold["t13"])
    assert splits["random"].known_artists > 0.3


def test_what_is_written_is_read_back(complete):
    folder, evaluation = complete
    found = Evaluation.read(folder)
    assert found.duplicates == evaluation.duplicates
    assert len(found.duplicates) == 2
    for by, split in evaluation.splits.items():
        other = found.splits[by]
        assert (other.scores, other.scores_before, other.runs) == (
            split.scores,
            split.scores_before,
            split.runs,
        )
        assert other.mistakes == split.mistakes
        assert (other.folds, other.copies, other.seeds) == (2, split.copies, (42,))
    rows = list(csv.DictReader((folder / "predictions.csv").open()))
    assert len(rows) == 32
    right = sum(row["label"] == row["answer"] for row in rows if row["split"] == "random")
    assert right == round(16 * evaluation.splits["random"].scores.accuracy)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
import test_evaluate as t
t.evaluate(Path(sys.argv[2]), t.Tones(int(sys.argv[3])), t.EvaluateConfig(folds=2, by=("artist",)))
"""


def test_what_was_killed_goes_on_and_gives_the_same(complete, tmp_path):
    # A fold reads its 8 training tracks for the statistics and the epoch, some twice, and its 8 test tracks.
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path), "40"]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    (first,) = runs_of(tmp_path)
    before = (first / "test.json").stat().st_mtime_ns
    assert not (tmp_path / "evaluation.json").exists()
    found = evaluate(tmp_path, config=EvaluateConfig(folds=2, by=("artist",)))
    assert (first / "test.json").stat().st_mtime_ns == before
    np.testing.assert_array_equal(found.splits["artist"].raw, complete[1].splits["artist"].raw)


def test_what_is_done_is_not_done_again_and_more_seeds_can_join(complete, tmp_path):
    shutil.copytree(complete[0], tmp_path / "more")
    stems = Tones()
    assert evaluate(tmp_path / "more", stems).splits["random"].scores == complete[1].splits["random"].scores
    assert stems.reads == 0
    config = EvaluateConfig(folds=2, max_folds=1, by=("artist",), ensemble=2)
    split = evaluate(tmp_path / "more", stems, config).splits["artist"]
    assert split.seeds == (42, 43)
    assert set(split.fold_scores) == {1}
    assert not np.array_equal(*split.raw)
    np.testing.assert_allclose(split.probabilities, split.calibrated.mean(axis=0))


def test_a_folder_holds_one_evaluation(complete):
    folder, _ = complete
    with pytest.raises(ConfigError, match=r"lr: found 0\.5, but"):
        evaluate(folder, settings=replace(SETTINGS, train=replace(SETTINGS.train, lr=0.5)))
    with pytest.raises(ConfigError, match="folds: found others"):
        evaluate(folder, config=EvaluateConfig(folds=3))
    with pytest.raises(ConfigError, match="tracks: found others"):
        evaluate(folder, tracks=TRACKS[:-1])


def test_two_runs_do_not_share_a_folder(songs, tmp_path, capsys):
    rest = [*options(tmp_path / "cache"), "--device", "cpu"]
    with hold_folder(tmp_path / "out"):
        for name, more in (("train", ()), ("evaluate", ("--folds", "2"))):
            assert main([name, str(songs), "-o", str(tmp_path / "out"), *more, *rest]) == 2
            assert "in_use.lock: found the lock of a process at work" in capsys.readouterr().err
        with pytest.raises(FileError, match="the lock of a process at work"):
            evaluate(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_result_is_named(complete, tmp_path):
    shutil.copytree(complete[0], tmp_path / "damaged")
    path = runs_of(tmp_path / "damaged")[0] / "test.json"
    path.write_text("{")
    with pytest.raises(FileError, match=r"test\.json: found a damaged result"):
        evaluate(tmp_path / "damaged")
    (tmp_path / "damaged" / "cross_validation.json").write_text("[1]")
    with pytest.raises(FileError, match=r"cross_validation\.json: found something else"):
        evaluate(tmp_path / "damaged")
    (tmp_path / "evaluation.json").write_text('{"format": "genre evaluation 1", "labels": []}')
    with pytest.raises(FileError, match="damaged evaluation"):
        Evaluation.read(tmp_path)
    with pytest.raises(FileError, match="nothing readable"):
        Evaluation.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"folds": 1}, "folds: found 1, expected at least 2"),
        ({"max_folds": 6}, "max_folds: found 6, expected at most folds, 5"),
        ({"by": ("genre",)}, "by: found genre"),
        ({"by": ()}, "by: found nothing"),
    ],
)
def test_settings_that_cannot_be_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        EvaluateConfig(**values)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """A corpus of stems with artists, an exact copy and a broken file."""
    root = tmp_path_factory.mktemp("songs")
    stems, rows = Tones(), []
    for track in TRACKS[:8]:
        folder = root / track.label / track.id
        folder.mkdir(parents=True)
        for name, samples in zip(STEMS, stems.read(track), strict=True):
            audio_io.save(folder / f"{name}.wav", torch.from_numpy(samples)[None], 22050)
        rows.append((f"{track.label}/{track.id}", track.label, f"{track.artist} {track.id}"))
    shutil.copytree(root / "low" / "t1", root / "low" / "copy")
    (root / "low" / "broken.wav").write_bytes(b"")
    rows += [("low/copy", "low", "another"), ("low/broken.wav", "low", "another")]
    text = "\n".join(",".join(row) for row in [("path", "label", "artist"), *rows])
    (root / "tracks.csv").write_text(text + "\n")
    return root


def options(cache):
    found = {"separator": "stems", "separation-cache-dir": cache, "duration": 1, "n-mels": 32}
    found |= {"image": "native", "backbone": "mobilenet_v3_small", "weights": "none", "frozen-stages": 0}
    found |= {"batch-size": 8, "epochs": 1, "num-workers": 0, "test-size": 0.3, "augment-mode": "none"}
    return [part for key, value in found.items() for part in (f"--{key}", str(value))]


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


def test_missing_artists_are_said_before_any_work(songs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("genre.stem_cache.StemCache.fill", lambda *_, **__: pytest.fail("separated"))
    shutil.copytree(songs / "low", tmp_path / "songs" / "low")
    shutil.copytree(songs / "high", tmp_path / "songs" / "high")
    command = ["evaluate", str(tmp_path / "songs"), "-o", str(tmp_path / "out"), *options(tmp_path / "cache")]
    assert main([*command, "--by", "artist", "--folds", "2"]) == 2
    assert "has none, expected an artist for every track" in capsys.readouterr().err
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


def test_training_ends_with_the_temperature(songs, tmp_path):
    out = tmp_path / "run"
    command = ["train", str(songs), "-o", str(out), "--device", "cpu", *options(tmp_path / "cache")]
    assert main(command) == 0
    temperature = checkpoints.load(out / "best_model.pth").temperature
    assert temperature != 1
    assert f"temperature {temperature:.3f}, fitted on the" in (out / "train_log.txt").read_text()
