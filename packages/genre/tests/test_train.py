import io
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

import audio_io
from audio_io.errors import ConfigError, FileError
from genre import checkpoint as checkpoints
from genre.batch_size import largest_batch
from genre.cli import main
from genre.config import STEMS, AugmentConfig, FeatureConfig, TrainConfig
from genre.dataset import Order, Pictures
from genre.features import Statistics
from genre.layouts import Track
from genre.run_config import RunConfig, Settings
from genre.train import fit
from genre.train_callbacks import Log, cosine_rate, is_exhausted

LABELS = ("high", "low")
SETTINGS = Settings(
    features=FeatureConfig(duration=1.0, n_mels=32, image_size=48),
    augment=AugmentConfig(swap_stems=0.2, drop_stems=0.2),
    train=TrainConfig(
        backbone="efficientnet_b0",
        weights="none",
        frozen_stages=1,
        batch_size=3,
        epochs=2,
        num_workers=0,
        lr=1e-3,
    ),
)


class Tones:
    """Tracks of two genres: high tones and low ones, a different one in each stem."""

    def __init__(self, interrupt_at=None, signal_number=signal.SIGINT):
        self.interrupt_at, self.signal_number = interrupt_at, signal_number
        self.reads = 0

    def length(self, track):
        return 26000

    def digest(self, track):
        return f"{track.id} as it was"

    def read(self, track, start=0, length=None):
        self.reads += 1
        if self.reads == self.interrupt_at:
            os.kill(os.getpid(), self.signal_number)
        number = int(track.id[1:])
        rng = np.random.default_rng(number)
        base = (2000 if track.label == "high" else 200) * rng.uniform(0.9, 1.1, (4, 1))
        time = np.arange(self.length(track))[None] / 22050
        sound = 0.3 * np.sin(2 * np.pi * base * time) + 0.01 * rng.standard_normal((4, time.size))
        stop = None if length is None else start + length
        return sound[:, start:stop].astype(np.float32)


TRACKS = [Track(f"t{i}", None, LABELS[i % 2], f"artist {i // 4}") for i in range(12)]


def run_fit(folder, stems=None, settings=SETTINGS, **run):
    split = TRACKS[:8], TRACKS[8:]
    return fit(*split, LABELS, stems or Tones(), folder, settings, run=RunConfig(**run), device="cpu")


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    folder = tmp_path_factory.mktemp("complete")
    return folder, run_fit(folder)


def weights_of(folder):
    state = torch.load(folder / "checkpoint.pth", weights_only=True)
    return {name: value for name, value in state["state_dict"].items() if value.is_floating_point()}


def assert_same_run(first, second):
    a, b = weights_of(first), weights_of(second)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    rows = [(folder / "metrics.csv").read_text().splitlines() for folder in (first, second)]
    # The last column is the time that the epoch took.
    assert [row.rpartition(",")[0] for row in rows[0]] == [row.rpartition(",")[0] for row in rows[1]]


def test_a_run_leaves_what_it_promises(complete):
    folder, result = complete
    for name in (
        "checkpoint.pth",
        "best_model.pth",
        "train_log.txt",
        "curves.png",
        "metrics.csv",
        "run.json",
    ):
        assert (folder / name).stat().st_size > 0
    assert any((folder / "tensorboard").iterdir())
    assert len(result.history) == 2
    assert "epoch 2/2: loss" in (folder / "train_log.txt").read_text()
    best = checkpoints.load(result.best)
    assert best.labels == LABELS
    assert best.scores["val_accuracy"] == result.accuracy
    assert best.training == tuple(track.id for track in TRACKS[:8])
    assert len(set(best.statistics.mean)) == 4
    assert not list(folder.rglob("*.tmp*"))


def test_a_network_from_scratch_learns_what_validation_sees(tmp_path):
    """With BatchNorm's statistics as PyTorch keeps them it stays at 0.5; see `Fit.on_train_batch_start`."""
    tracks = [Track(f"t{i}", None, LABELS[i % 2]) for i in range(40)]
    train = replace(SETTINGS.train, frozen_stages=0, epochs=4, batch_size=8)
    native = replace(SETTINGS.features, image="native")
    settings = Settings(features=native, augment=AugmentConfig(augment_mode="none"), train=train)
    result = fit(tracks[:32], tracks[32:], LABELS, Tones(), tmp_path, settings, device="cpu")
    assert result.accuracy >= 0.875


def test_the_log_is_what_the_console_shows(tmp_path, capsys):
    run_fit(tmp_path, settings=replace(SETTINGS, train=replace(SETTINGS.train, epochs=1)))
    assert capsys.readouterr().err == (tmp_path / "train_log.txt").read_text()


def test_what_is_left_of_a_run_that_was_begun_anew_is_not_the_former(complete, tmp_path):
    class Failing(Tones):
        def read(self, track, start=0, length=None):
            if self.reads == 8:  # after the statistics
                raise RuntimeError("power failure")
            return super().read(track, start, length)

    folder = tmp_path / "run"
    shutil.copytree(complete[0], folder)
    settings = replace(SETTINGS, train=replace(SETTINGS.train, lr=2e-3))
    with pytest.raises(RuntimeError, match="power failure"):
        run_fit(folder, Failing(), settings, resume=False)
    # Or the same command without --no-resume would go on with the weights of the former.
    assert not (folder / "checkpoint.pth").exists()


class Terminal(io.StringIO):
    """A terminal, as far as a program can tell."""

    def isatty(self):
        return True


def test_a_line_does_not_stand_behind_the_progress_bar(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    Log(tmp_path / "train_log.txt").say("epoch 1")
    assert sys.stderr.getvalue() == "\r\x1b[Kepoch 1\n"
    assert (tmp_path / "train_log.txt").read_text() == "epoch 1\n"


# Statistics read 8 tracks and the validation 4; an epoch reads at least 8, more where stems are swapped.
def test_a_run_stopped_by_ctrl_c_within_an_epoch_ends_with_the_same_weights(complete, tmp_path, monkeypatch):
    # Ignored where the suite runs in the background of a shell.
    handler = signal.getsignal(signal.SIGINT)
    closed = []
    monkeypatch.setattr("genre.train_callbacks.Progress.__exit__", lambda self, *_: closed.append(self.label))
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path, Tones(interrupt_at=14))
    state = torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    assert state["callbacks"]["Keeper"]["position"] == [0, 1]
    assert signal.getsignal(signal.SIGINT) is handler
    assert closed[-1] == "train"
    run_fit(tmp_path)
    assert_same_run(complete[0], tmp_path)


def test_a_run_stopped_by_ctrl_c_at_the_end_of_an_epoch_ends_with_the_same_weights(complete, tmp_path):
    reads = Tones()
    run_fit(tmp_path / "one", reads, replace(SETTINGS, train=replace(SETTINGS.train, epochs=1)))
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "two", Tones(interrupt_at=reads.reads))
    state = torch.load(tmp_path / "two" / "checkpoint.pth", weights_only=True)
    assert state["callbacks"]["Keeper"]["position"] == [1, 0]
    run_fit(tmp_path / "two")
    assert_same_run(complete[0], tmp_path / "two")


KILLED = """
import sys, signal
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
import test_train
test_train.run_fit(Path(sys.argv[2]), test_train.Tones(int(sys.argv[3]), signal.SIGKILL))
"""


def test_a_run_that_was_killed_ends_with_the_same_weights(complete, tmp_path):
    # In the second epoch: one epoch, with its validation, reads 12 tracks or a few more.
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path), "30"]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    state = torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    assert state["callbacks"]["Keeper"]["position"] == [1, 0]
    run_fit(tmp_path)
    assert_same_run(complete[0], tmp_path)


def test_a_folder_holds_one_run(complete):
    folder, result = complete
    assert run_fit(folder).history == result.history  # complete: nothing is trained
    with pytest.raises(ConfigError, match=r"lr: found 0\.002"):
        run_fit(folder, settings=replace(SETTINGS, train=replace(SETTINGS.train, lr=2e-3)))
    with pytest.raises(ConfigError, match="n_fft"):
        run_fit(folder, settings=replace(SETTINGS, features=replace(SETTINGS.features, n_fft=1024)))
    with pytest.raises(ConfigError, match="validation"):
        fit(TRACKS[:8], TRACKS[8:10], LABELS, Tones(), folder, SETTINGS, device="cpu")


class Replaced(Tones):
    """Another recording under the name of the first."""

    def digest(self, track):
        return "another" if track.id == "t0" else super().digest(track)


def test_a_recording_replaced_under_its_name_is_no_part_of_the_run(complete, tmp_path):
    with pytest.raises(ConfigError, match=r"recordings: found others than .*run\.json has"):
        run_fit(complete[0], Replaced())
    assert checkpoints.load(complete[0] / "best_model.pth").digests["t0"] == "t0 as it was"
    # Runs of before recordings were described go on.
    shutil.copytree(complete[0], tmp_path / "earlier")
    path = tmp_path / "earlier" / "run.json"
    description = json.loads(path.read_text())
    del description["recordings"]
    path.write_text(json.dumps(description))
    assert run_fit(tmp_path / "earlier").history == complete[1].history


def test_what_the_frozen_stages_give_is_computed_once(tmp_path):
    # Nothing is learnt, so that rounding has no chance to grow.
    still = replace(SETTINGS.train, lr=0.0, min_lr=0.0)
    settings = replace(SETTINGS, augment=AugmentConfig(augment_mode="none"), train=still)
    stems = Tones()
    cached = run_fit(tmp_path / "cached", stems, settings)
    # The statistics and the cache; the two epochs read none.
    assert stems.reads == 8 + 12
    plain = run_fit(tmp_path / "plain", None, settings, cache_frozen=False)
    losses = [[row["loss"] for row in result.history] for result in (cached, plain)]
    np.testing.assert_allclose(*losses, rtol=2e-3)  # float16 on disk


def test_the_order_is_a_function_of_seed_and_epoch():
    def batches(order, epoch):
        order.set_epoch(epoch)
        return list(order)

    order = Order(10, 4, seed=1)
    first = batches(order, 0)
    assert [len(batch) for batch in first] == [4, 3, 3]
    assert sorted(index for batch in first for _, index in batch) == list(range(10))
    assert first != batches(order, 1)
    assert first == batches(Order(10, 4, seed=1), 0)
    resumed = Order(10, 4, seed=1)
    resumed.resume(0, 2)
    assert list(resumed) == first[2:]
    assert batches(resumed, 1) == batches(order, 1)
    parts = [list(Order(10, 2, seed=1, rank=rank, world_size=3)) for rank in range(3)]
    assert {len(part) for part in parts} == {2}
    assert {index for part in parts for batch in part for _, index in batch} == set(range(10))


@pytest.mark.parametrize("mode", ["mel", "waveform"])
def test_examples_are_a_function_of_seed_epoch_and_track(mode):
    augment = replace(SETTINGS.augment, augment_mode=mode)

    def example(seed, key):
        pictures = Pictures(
            TRACKS, LABELS, Tones(), SETTINGS.features, Statistics(), augment=augment, seed=seed
        )
        return pictures[key][0]

    assert torch.equal(example(1, (3, 5)), example(1, (3, 5)))
    assert not torch.equal(example(1, (3, 5)), example(1, (4, 5)))
    assert not torch.equal(example(1, (3, 5)), example(2, (3, 5)))
    assert example(1, (0, 0)).shape == (4, 32, SETTINGS.features.frames)


def test_stems_are_swapped_within_the_genre(monkeypatch):
    class Numbered(Tones):
        def read(self, track, start=0, length=None):
            return np.full((4, length), int(track.id[1:]) + 1, np.float32)

    config = AugmentConfig(augment_probability=0.0, swap_stems=0.5)
    pictures = Pictures(TRACKS, LABELS, Numbered(), SETTINGS.features, Statistics(), augment=config)
    seen = []
    varied = lambda stems, *_: seen.append(stems[:, 0]) or torch.ones(4, 32, 44)  # noqa: E731
    monkeypatch.setattr("genre.dataset.vary_power", varied)
    for epoch in range(40):
        pictures[epoch, 1]
    numbers = torch.stack(seen).int() - 1  # [40, 4]
    assert set((numbers % 2).flatten().tolist()) == {1}
    assert 0.3 < (numbers != 1).float().mean() < 0.5  # half, less those swapped with themselves


def test_the_learning_rate_is_that_of_torch():
    config = TrainConfig(epochs=7)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=config.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs, config.min_lr)
    for epoch in range(config.epochs + 1):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(cosine_rate(epoch, config), rel=1e-6)
        optimizer.step()
        schedule.step()


def test_training_stops_when_nothing_gets_better():
    def history(*accuracies):
        return [{"val_accuracy": value, "val_loss": 1.0} for value in accuracies]

    config = TrainConfig(patience=2)
    assert is_exhausted(history(0.5, 0.5, 0.4), config)
    assert not is_exhausted(history(0.5, 0.4, 0.6), config)
    better_loss = [*history(0.5, 0.5), {"val_accuracy": 0.5, "val_loss": 0.9}]
    assert not is_exhausted(better_loss, config)


def test_the_batch_size_is_the_largest_that_fits():
    def step(size):
        if size > 20:
            raise torch.OutOfMemoryError

    assert largest_batch(step) == 16
    assert largest_batch(lambda size: None, most=64) == 64
    with pytest.raises(ConfigError, match="batch_size"):
        largest_batch(lambda size: step(99))


@pytest.mark.parametrize("content", ["[]", '{"statistics": {"mean": [0], "std": [1]}}', "{"])
def test_a_damaged_description_is_named(complete, tmp_path, content):
    shutil.copy(complete[0] / "checkpoint.pth", tmp_path)
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(FileError, match=r"run\.json: found no description of the run"):
        run_fit(tmp_path)


def test_a_learning_rate_that_breaks_the_weights_is_named(tmp_path):
    settings = replace(SETTINGS, train=replace(SETTINGS.train, lr=1e30))
    with pytest.raises(ConfigError, match=r"lr: found 1e\+30, with which weights became NaN or infinite"):
        run_fit(tmp_path, settings=settings)
    assert not (tmp_path / "best_model.pth").exists()


def test_a_damaged_checkpoint_is_named(complete, tmp_path):
    (tmp_path / "checkpoint.pth").write_bytes(b"\x80\x02junk")
    with pytest.raises(Exception, match=r"checkpoint\.pth: found a file that cannot be read"):
        run_fit(tmp_path)
    assert json.loads((complete[0] / "run.json").read_text())["labels"] == list(LABELS)


def test_missing_imagenet_weights_are_said_before_any_work(tmp_path, capsys, monkeypatch):
    def refuse(*_, **__):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("genre.stem_cache.StemCache.fill", lambda *_, **__: pytest.fail("separated"))
    for label in LABELS:
        (tmp_path / "songs" / label).mkdir(parents=True)
        (tmp_path / "songs" / label / "song.wav").write_bytes(b"")
    assert main(["train", str(tmp_path / "songs"), "-o", str(tmp_path / "run"), "--device", "cpu"]) == 2
    assert "efficientnet_b3_rwightman-b3899882.pth: found neither in" in capsys.readouterr().err


def test_the_command_trains_on_a_folder_of_stems(tmp_path, capsys):
    stems = Tones()
    for track in TRACKS:
        folder = tmp_path / "songs" / track.label / track.id
        folder.mkdir(parents=True)
        for name, samples in zip(STEMS, stems.read(track), strict=True):
            audio_io.save(folder / f"{name}.wav", torch.from_numpy(samples)[None], 22050)
    (tmp_path / "songs" / "low" / "broken.wav").write_bytes(b"")
    out = tmp_path / "run"
    options = {"separator": "stems", "separation-cache-dir": tmp_path / "cache", "duration": 1, "n-mels": 32}
    options |= {"image": "native", "backbone": "efficientnet_b0", "weights": "none", "frozen-stages": 0}
    options |= {"batch-size": 6, "epochs": 1, "num-workers": 1, "test-size": 0.2, "device": "cpu"}
    flat = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    assert main(["train", str(tmp_path / "songs"), "-o", str(out), *flat]) == 0
    assert "best    epoch 1 of 1" in capsys.readouterr().out
    log = (out / "train_log.txt").read_text()
    assert "10 tracks to learn from, 2 for validation, 2 genres" in log
    assert "left out:" in log
    assert checkpoints.load(out / "best_model.pth").separation.separator == "stems"
