import csv
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time

import numpy as np
import pytest
import torch

from audio_io.errors import ConfigError, FileError
from mri2speech.acoustic import checkpoint
from mri2speech.acoustic.config import AcousticConfig, FitConfig
from mri2speech.acoustic.data import Pieces, epoch_of
from mri2speech.acoustic.record import Record
from mri2speech.acoustic.train import fit
from mri2speech.cli import main
from mri2speech.config import MelConfig
from mri2speech.dataset import SequenceDataset
from mri2speech.features import Scaler
from mri2speech.meta import Alignment, Meta, Sample

TINY = AcousticConfig(backbone="test_efficientnet", image_size=32, hidden=16)
QUICK = FitConfig(
    mode="sequence", split="utterance", max_frames=8, batch_size=4, micro_batch=2, workers=0, max_epochs=3,
    learning_rate=3e-3,
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data set as preprocess writes it: a bright disc whose height sets the mel's peak."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]
    samples = []
    for number, frames in enumerate((9, 14, 11, 8, 13, 10, 12, 9, 15, 10)):
        place = folder / "samples" / f"u{number}"
        place.mkdir(parents=True)
        height = np.cumsum(rng.normal(0, 25, frames)) % 160 + 48
        disc = ((y - height[:, None, None]) ** 2 + (x - 128) ** 2 < 900).astype(np.float32)
        peak = (height / 256 * 64)[:, None]
        mel = -60 + 40 * np.exp(-((np.arange(64) - peak) ** 2) / 60)
        np.save(place / "mri.npy", (0.8 * disc + 0.1 * rng.random(disc.shape)).astype(np.float32))
        np.save(place / "mel_db.npy", mel.astype(np.float32))
        np.save(place / "mask.npy", np.ones((256, 256), dtype=np.float32))
        alignment = Alignment(0.0, 0, frames / 27.2, frames / 27.2, 0.0)
        samples.append(
            Sample(f"u{number}", f"s{number % 3}", frames, f"u{number}.mp4", None, None, 27.2, alignment)
        )
    Meta(tuple(samples), MelConfig(), 256, 4).save(folder)
    Scaler(-52.0, 12.0, MelConfig()).save(folder / "scaler.json")
    return folder


def weights(folder):
    return checkpoint.load(folder / "best.pt")[0].state_dict()


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def last(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)


def same(one, other):
    for key in ("model", "optimizer"):
        torch.testing.assert_close(last(one)[key], last(other)[key], rtol=0, atol=0)
    assert last(one)["plateau"] == last(other)["plateau"]
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=0)
    assert last(one)["record"] == last(other)["record"]
    assert rows(one) == rows(other)


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    fit(data, folder, QUICK, architecture=TINY, progress=False)
    return folder


def test_a_run_leaves_its_files_and_learns(data, uninterrupted):
    assert {path.name for path in uninterrupted.iterdir()} == {
        *("best.pt", "last.ckpt", "metrics.csv", "curves.png", "split.json", "logs")
    }
    logged = rows(uninterrupted)
    assert [row["epoch"] for row in logged] == ["1.0", "2.0", "3.0"]
    assert float(logged[-1]["loss/val"]) < float(logged[0]["loss/val"])
    assert {
        f"band/{part}_{name}" for part in ("train", "val") for name in ("F0", "F1", "F2", "F3", "top")
    } < {*logged[0]}
    _, scaler, mel = checkpoint.load(uninterrupted / "best.pt", expected=TINY)
    assert scaler == Scaler.load(data / "scaler.json", mel)
    split = json.loads((uninterrupted / "split.json").read_text())
    assert (len(split["train"]), len(split["validation"]), len(split["test"])) == (8, 1, 1)


def test_the_error_of_a_band_is_that_of_the_model_in_decibels(data, uninterrupted):
    row = min(rows(uninterrupted), key=lambda row: float(row["loss/val"]))
    (number,) = json.loads((uninterrupted / "split.json").read_text())["validation"]
    network, scaler, _ = checkpoint.load(uninterrupted / "best.pt")
    pieces = Pieces(SequenceDataset(data), [number], 8)
    errors = []
    for i in range(len(pieces)):
        with torch.no_grad():
            mel = scaler.denormalise(network(pieces[i]["mri"][None])[0])
        errors.append((mel - scaler.denormalise(pieces[i]["mel"])).abs())
    expected = torch.cat(errors)[:, 6:16].mean().item()
    assert float(row["band/val_F1"]) == pytest.approx(expected, rel=1e-4)


def test_a_run_that_goes_on_after_an_epoch_equals_one_that_was_never_interrupted(
    data, uninterrupted, tmp_path
):
    for epochs in (1, 3):
        config = dataclasses.replace(QUICK, max_epochs=epochs)
        fit(data, tmp_path, config, architecture=TINY, progress=False)
        assert len(rows(tmp_path)) == epochs
    same(tmp_path, uninterrupted)


COMMAND = [
    *("--mode", "sequence", "--split", "utterance", "--max_frames", "8", "--batch-size", "4"),
    *("--micro_batch", "2", "--workers", "1", "--max-epochs", "3", "--learning_rate", "3e-3"),
    *("--backbone", "test_efficientnet", "--image-size", "32", "--hidden", "16", "--device", "cpu"),
    *("--save-every", "1"),
]


def child(data, folder):
    os.setsid()
    sys.stderr = (folder / "errors.txt").open("w", buffering=1)
    sys.exit(main(["train", "--data", str(data), "-o", str(folder), *COMMAND]))


@pytest.mark.skipif(sys.platform != "linux", reason="forks, to import nothing again")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "ctrl-c"])
def test_a_run_that_was_stopped_within_an_epoch_goes_on_exactly(data, uninterrupted, tmp_path, how):
    process = multiprocessing.get_context("fork").Process(target=child, args=(data, tmp_path))
    process.start()
    while process.is_alive() and not (
        (tmp_path / "last.ckpt").is_file() and last(tmp_path)["record"]["step"]
    ):
        time.sleep(0.002)
    assert process.is_alive(), "it was over before it could be stopped"
    # All processes of a terminal get Ctrl-C, those that read the data too.
    os.killpg(process.pid, how)
    process.join()
    steps = last(tmp_path)["record"]["step"]
    assert 0 < steps < 3 * 4
    assert (tmp_path / "errors.txt").read_text().strip() in {"", "mri2speech: interrupted"}
    assert process.exitcode == {signal.SIGKILL: -9, signal.SIGINT: 130}[how]
    assert main(["train", "--data", str(data), "-o", str(tmp_path), *COMMAND]) == 0
    same(tmp_path, uninterrupted)


def test_windows_are_split_at_random_and_micro_batches_add_up_to_the_batch(data, tmp_path):
    architecture = dataclasses.replace(TINY, dropout=0.0, backbone="test_convnext")
    results = []
    for micro in (16, 3):
        config = FitConfig(micro_batch=micro, workers=0, max_epochs=1, use_checkpoint=micro == 3)
        folder = tmp_path / str(micro)
        fit(data, folder, config, architecture=architecture, progress=False)
        results.append(last(folder)["model"])
    # Without BatchNorm and dropout, four passes of a batch make the step of one.
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=2e-5)
    split = json.loads((tmp_path / "16" / "split.json").read_text())
    assert split["unit"] == "windows"
    assert len(split["train"]) == round(0.8 * (111 - 10 * 3))


def test_an_epoch_reads_every_item_once_and_shares_each_step_among_processes():
    config = FitConfig(batch_size=6, micro_batch=2)
    steps = epoch_of(20, config, 3)
    assert sorted(item for step in steps for micro in step for item in micro) == list(range(20))
    assert [[len(micro) for micro in step] for step in steps] == [[2, 2, 2]] * 3 + [[2]]
    shares = [epoch_of(20, config, 3, rank=rank, world=3) for rank in range(3)]
    for index, step in enumerate(steps[:3]):
        together = [item for share in shares for micro in share[index] for item in micro]
        assert sorted(together) == sorted(item for micro in step for item in micro)
    assert len({len(share) for share in shares}) == 1
    assert epoch_of(20, config, 3) != epoch_of(20, config, 4)


def test_the_rule_of_stopping():
    config = FitConfig(patience=3, max_epochs=9)
    record = Record()
    for value in (3.0, 2.0, 2.0, 2.5):
        record.add({"loss/val": value})
    assert record.reason_to_stop(config, 1e-4) is None
    assert "fallen to its minimum, 1e-06" in record.reason_to_stop(config, 1e-6)
    record.add({"loss/val": 2.0})
    assert "not improved 3 times in a row" in record.reason_to_stop(config, 1e-4)
    assert "all 5 epochs" in record.reason_to_stop(FitConfig(max_epochs=5), 1e-4)


def test_bad_input_is_one_sentence(data, uninterrupted, tmp_path, capsys):
    def fails(*arguments):
        assert main(["train", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    assert "meta.json: found no such file" in fails("--data", tmp_path, "-o", tmp_path / "run")
    assert "n_mels: found 80, expected 64, as in" in fails("--data", data, "-o", tmp_path, "--n-mels", "80")
    with pytest.raises(ConfigError, match=r"hidden: found 8, where the run in .* has 16, expected the same"):
        fit(data, uninterrupted, QUICK, architecture=dataclasses.replace(TINY, hidden=8), progress=False)
    shutil.copytree(data, tmp_path / "data")
    Scaler(-50.0, 12.0, MelConfig()).save(tmp_path / "data" / "scaler.json")
    with pytest.raises(ConfigError, match=r"scaler mean: found -50.0, where the run in .* has -52.0"):
        fit(tmp_path / "data", uninterrupted, QUICK, architecture=TINY, progress=False)
    split = (uninterrupted / "split.json").read_bytes()
    with pytest.raises(ConfigError, match=r"seed: found 7, where the run in .* has 42"):
        fit(data, uninterrupted, dataclasses.replace(QUICK, seed=7), architecture=TINY, progress=False)
    assert (uninterrupted / "split.json").read_bytes() == split
    with pytest.raises(FileError, match=r"other.pt: found no such file, expected the best model of the run"):
        fit(data, uninterrupted, QUICK, architecture=TINY, out_ckpt=tmp_path / "other.pt", progress=False)
    assert "data: found none, expected a data set, as --out-ckpt is given" in fails("--out-ckpt", tmp_path)
    assert "quick: found --data as well" in fails("--quick", "--data", data, "-o", tmp_path)
    (tmp_path / "last.ckpt").write_bytes(b"half")
    assert "last.ckpt: found a file that cannot be read" in fails("--data", data, "-o", tmp_path, *COMMAND)
    assert not (tmp_path / "best.pt").exists()
