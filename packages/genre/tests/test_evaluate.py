import csv
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audio_io.errors import ConfigError, FileError
from genre import checkpoint as checkpoints
from genre.config import AugmentConfig, FeatureConfig, TrainConfig
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

    def digest(self, track):
        return f"{track.id} as it was"

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
        # Copies that a fold leaves together are together in choosing too.
        for pair in COPIES.together:
            assert len({pair[0] in parts[0], pair[1] in parts[0]}) == 1 or set(pair) & parts[2]
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
    # Evaluations of before recordings were described go on.
    path = tmp_path / "more" / "cross_validation.json"
    description = json.loads(path.read_text())
    del description["recordings"]
    path.write_text(json.dumps(description))
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
    stems = Tones()
    stems.digest = lambda track: f"{track.id} replaced"
    with pytest.raises(ConfigError, match="recordings: found others"):
        evaluate(folder, stems)


def test_a_folder_in_which_another_process_is_at_work_is_left_alone(tmp_path):
    with hold_folder(tmp_path), pytest.raises(FileError, match="the lock of a process at work"):
        evaluate(tmp_path)
    assert list(tmp_path.iterdir()) == []


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
