import shutil

import numpy as np
import pytest
import torch

from audio_io.errors import ConfigError, FileError
from mri2speech.config import MelConfig
from mri2speech.dataset import FixedLenPairDataset, SequenceDataset, collate_pad
from mri2speech.features import Scaler
from mri2speech.meta import Alignment, Meta, Sample
from mri2speech.splits import Split, split

LENGTHS = (9, 14, 5, 12, 7, 20, 11, 6, 8, 10)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    samples = []
    for number, length in enumerate(LENGTHS):
        place = folder / "samples" / f"s{number % 5}_{number}"
        place.mkdir(parents=True)
        np.save(place / "mri.npy", rng.random((length, 256, 256), np.float32).astype(np.float16))
        np.save(place / "mel_db.npy", rng.normal(-40, 10, (length, 64)).astype(np.float32))
        np.save(place / "mask.npy", np.ones((256, 256), np.float32))
        alignment = Alignment(0, 0, 1, 1, 0)
        samples.append(Sample(place.name, f"s{number % 5}", length, "f", None, None, 27.17, alignment))
    Meta(tuple(samples), MelConfig(), 256, 4).save(folder)
    Scaler(-40.0, 10.0, MelConfig()).save(folder / "scaler.json")
    return folder


def test_a_window_is_a_frame_and_those_before_it(data):
    windows, whole = FixedLenPairDataset(data), SequenceDataset(data)
    assert len(windows) == sum(length - 3 for length in LENGTHS)
    item = windows[LENGTHS[0] - 3 + 2]  # the third window of the second sample
    film = whole[1]
    assert item["mri"].shape == (4, 256, 256)
    assert torch.equal(item["mri"], film["mri"][2:6])
    assert torch.equal(item["mel"], film["mel"][2:6])
    mel = np.load(data / "samples" / "s1_1" / "mel_db.npy")
    torch.testing.assert_close(film["mel"], torch.from_numpy((mel + 40) / 10))
    assert item["mri"].dtype == item["mel"].dtype == torch.float32


def test_padding_is_marked(data):
    whole = SequenceDataset(data)
    batch = collate_pad([whole[0], whole[2]])
    assert batch["mri"].shape == (2, 9, 256, 256)
    assert batch["mask"].sum(1).tolist() == [9, 5]
    assert (batch["mri"][1, 5:] == 0).all()
    assert (batch["mel"][1, 5:] == 0).all()
    assert torch.equal(batch["mel"][1, :5], whole[2]["mel"])


@pytest.mark.parametrize("by", ["random", "utterance", "speaker"])
def test_the_parts_are_disjoint_complete_and_the_same_again(data, by):
    meta = Meta.load(data)
    parts = split(meta, by)
    chosen = [*parts.train, *parts.validation, *parts.test]
    assert sorted(chosen) == list(range(len(FixedLenPairDataset(data))))
    assert split(meta, by) == parts
    assert split(meta, by, seed=43) != parts
    if by == "random":
        assert len(parts.train) == round(0.8 * len(chosen))


@pytest.mark.parametrize("by", ["utterance", "speaker"])
def test_no_utterance_or_speaker_is_on_both_sides(data, by):
    meta = Meta.load(data)
    owners = [
        sample.speaker if by == "speaker" else sample.id
        for sample in meta.samples
        for _ in range(sample.frames - 3)
    ]
    parts = split(meta, by)
    sides = [{owners[index] for index in part} for part in (parts.train, parts.validation, parts.test)]
    assert all(sides)
    assert sum(map(len, sides)) == len(set().union(*sides))


@pytest.mark.parametrize("by", ["utterance", "speaker"])
def test_windows_split_by_utterance_are_the_utterances_of_the_same_split(data, by):
    meta = Meta.load(data)
    whole = split(meta, by, unit="utterances")
    assert split(meta, by).utterances(meta) == whole == whole.utterances(meta)
    with pytest.raises(ConfigError, match=r"split: found one of single windows.*train --split utterance"):
        split(meta, "random").utterances(meta)


def test_a_split_is_kept_with_its_data_set(data, tmp_path):
    meta = Meta.load(data)
    parts = split(meta, "utterance", unit="utterances")
    parts.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json", meta) == parts
    other = Meta(meta.samples[:-1], meta.mel, meta.image_size, meta.ref_frames)
    with pytest.raises(FileError, match=r"split.json: found a split of another data set"):
        Split.load(tmp_path / "split.json", other)
    with pytest.raises(ConfigError, match="fractions"):
        split(meta, fractions=(0.5, 0.5, 0.5))


def test_what_is_missing_or_does_not_fit_is_named(data, tmp_path):
    with pytest.raises(FileError, match=r"meta.json: found no such file"):
        SequenceDataset(tmp_path)
    with pytest.raises(FileError, match="n_mels"):
        SequenceDataset(data, mel=MelConfig(n_mels=80))
    with pytest.raises(IndexError):
        SequenceDataset(data)[len(LENGTHS)]


@pytest.mark.parametrize("image_size", [None, 64])
def test_damaged_frames_are_named(data, tmp_path, image_size):
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "samples" / "s1_1" / "mri.npy"
    frames = np.load(path)
    frames[9, 3, 3] = np.nan
    np.save(path, frames)
    windows = FixedLenPairDataset(tmp_path / "data", image_size=image_size)
    assert windows[0]["mri"].isfinite().all()
    with pytest.raises(FileError, match=r"s1_1.mri.npy: found NaN or infinity, expected values from 0 to 1"):
        windows[LENGTHS[0] - 3 + 7]
    np.savez(path.with_suffix(".npz"), frames=frames)
    path.with_suffix(".npz").replace(path)
    with pytest.raises(FileError, match=r"mri.npy: found an archive of arrays"):
        SequenceDataset(tmp_path / "data", image_size=image_size)[1]


@pytest.mark.parametrize("kept", [True, False])
def test_frames_are_averaged_as_the_model_does(data, monkeypatch, kept):
    monkeypatch.setattr("mri2speech.dataset.KEPT", 1 << 29 if kept else 0)
    plain = FixedLenPairDataset(data)
    averaged = FixedLenPairDataset(data, image_size=64)
    for index in (0, 7, 0):
        expected = torch.nn.functional.avg_pool2d(plain[index]["mri"], 4)
        assert torch.equal(averaged[index]["mri"], expected)
    assert bool(averaged._samples._averaged) == kept
    assert SequenceDataset(data, image_size=64)[2]["mri"].shape == (LENGTHS[2], 64, 64)


def test_a_size_that_frames_cannot_be_averaged_to_is_refused(data):
    with pytest.raises(ConfigError, match=r"image_size.*a divisor of 256"):
        SequenceDataset(data, image_size=96)
