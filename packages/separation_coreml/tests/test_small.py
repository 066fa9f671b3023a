"""The small separator: its weights, its conversion, and its training."""

import json

import pytest
import torch

from audio_io.errors import FileError
from separation_coreml import registry
from separation_coreml.checkpoints import CheckpointError, read_checkpoint
from separation_coreml.config import ConvertConfig
from separation_coreml.convert_model import convert_model
from separation_coreml.engines import torch_engine
from separation_coreml.evaluation.scores import sdr
from separation_coreml.evaluation.tracks import RenderedTrack
from separation_coreml.families import small
from separation_coreml.mil import load_program
from separation_coreml.separate import separate
from separation_coreml.training.bank import Bank
from separation_coreml.training.config import TrainConfig
from separation_coreml.training.fit import train
from separation_coreml.training.loss import bin_weights, loss, sums
from separation_coreml.verify import separator_reference, verify

TINY = {
    "songs": 1,
    "seconds": 1.0,
    "validation_songs": 1,
    "batch_size": 2,
    "frames": 16,
    "check_every": 1,
    "decay_steps": 0,
    "precision": "float32",
}
# SDR in dB, some below what the weights of the package reach on the song below.
BARS = {"drums": 9.5, "bass": 7.0, "other": 5.5, "vocals": 9.0}


@pytest.fixture(scope="module")
def separator():
    return registry.build("small")


@pytest.fixture(scope="module")
def song():
    """Four seconds that were not trained on."""
    return RenderedTrack(6.0, 5).load()


def test_the_weights_of_the_package_separate(separator, song):
    stems = separate(song.mixture, song.sample_rate, torch_engine(separator))
    for name, least in BARS.items():
        assert sdr(song.stems[name], stems[name]) >= least, name


def test_the_stems_sum_to_the_mixture(separator):
    waveform = torch.randn(1, 2, 70001, generator=torch.Generator().manual_seed(0))
    stems = separator(waveform)
    assert stems.shape == (1, 4, 2, 70001)
    torch.testing.assert_close(stems.sum(dim=1), waveform, atol=1e-5, rtol=0)


def test_level_of_a_song_does_not_matter_and_silence_stays_silence(separator, song):
    engine = torch_engine(separator)
    loud = separate(song.mixture, 44100, engine)
    quiet = separate(0.01 * song.mixture, 44100, engine)
    for name, stem in loud.items():
        torch.testing.assert_close(0.01 * stem, quiet[name], atol=1e-6, rtol=1e-3)
    silence = separate(torch.zeros(2, 50000), 44100, engine)
    assert all(torch.equal(stem, torch.zeros(2, 50000)) for stem in silence.values())


def test_values_are_pooled_and_spread():
    spectrogram = torch.rand(2, 2049, 3)
    values = small.pool(spectrogram)
    assert values.shape == (2, 1024, 3)
    assert torch.equal(values[:, 511], spectrogram[:, 511])
    torch.testing.assert_close(values[:, 512], spectrogram[:, 512:514].mean(1))
    torch.testing.assert_close(values[:, -1], spectrogram[:, 2044:2048].mean(1))
    back = small.spread(values)
    assert back.shape == spectrogram.shape
    assert torch.equal(small.pool(back)[:, :768], values[:, :768])
    assert torch.equal(back[:, 2048], values[:, -1])


def test_the_loss_is_that_of_the_masked_spectra(separator, song):
    stems = torch.stack(list(song.stems.values()))[..., : 19 * small.HOP_LENGTH + small.N_FFT]
    known = sums(stems, separator.window)
    shares = torch.rand(4, 2, 1024, 20, generator=torch.Generator().manual_seed(0)).softmax(dim=0)
    # The same without sums: masks on the spectra of the normalised excerpt.
    spectra = torch.stft(
        stems.flatten(0, 1) / stems.sum(0).mean(0).std() / small.SCALE,
        small.N_FFT,
        small.HOP_LENGTH,
        window=separator.window,
        center=False,
        return_complex=True,
    ).unflatten(0, (4, 2))[..., :2048, :]
    errors = (small.spread(shares)[..., :2048, :] * spectra.sum(0) - spectra).abs().square()
    mixture = spectra.sum(0).abs().square()
    energy = errors.sum(dim=(1, 2, 3)) / mixture.sum()
    roots = (small.pool(errors) + 6.4e-4).sqrt() * bin_weights()
    magnitude = roots.sum() / (small.pool(mixture).sqrt() * bin_weights()).sum() / 4
    expected = magnitude + 0.02 * 10 * (energy + 1e-3).log10().mean()
    assert float(loss(shares, known, bin_weights())) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "least"), [({}, 110), ({"precision": "fp16"}, 50), ({"quantize": "int8"}, 35)]
)
def test_the_trained_model_is_the_same_after_conversion(settings, least, song, tmp_path):
    path = tmp_path / "small.mlpackage"
    convert_model("small", path, config=ConvertConfig(**settings), segment_seconds=0.5)
    program, separator = load_program(path), registry.build("small", segment_seconds=0.5)
    mixture = song.mixture[None, :, 44100 : 44100 + separator.segment]
    report = verify(
        program,
        separator_reference(program, separator),
        {"waveform": mixture / mixture.std()},
        stems=separator.stems,
    )
    assert min(report.outputs[0].stems.values()) >= least


def test_a_damaged_file_in_the_package_is_refused(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "small.pth").write_bytes(b"no weights")
    monkeypatch.setattr(small, "files", lambda package: tmp_path)
    with pytest.raises(CheckpointError, match="SHA-256"):
        registry.build("small")


@pytest.mark.slow
def test_training_goes_on_as_if_it_had_not_been_interrupted(tmp_path):
    whole = train(TrainConfig(**TINY, steps=2), tmp_path / "whole")
    train(TrainConfig(**TINY, steps=1), tmp_path / "parts")
    parts = train(TrainConfig(**TINY, steps=2), tmp_path / "parts")
    one, other = read_checkpoint(whole), read_checkpoint(parts)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert len((tmp_path / "parts" / "log.csv").read_text().splitlines()) == 3
    assert json.loads((tmp_path / "parts" / "train.json").read_text())["scores"]["step"] == 2
    # What was trained can be used, and is not what was built.
    trained, fresh = registry.build("small", checkpoint=parts), registry.build("small", weights="random")
    assert not torch.equal(trained.network.entry[1].weight, fresh.network.entry[1].weight)


@pytest.mark.slow
def test_a_run_with_other_settings_is_refused(tmp_path):
    train(TrainConfig(**TINY, steps=1), tmp_path)
    with pytest.raises(FileError, match=r"last\.pt: found a run with batch_size 2, expected 3, or another"):
        train(TrainConfig(**{**TINY, "batch_size": 3}, steps=2), tmp_path)
    with pytest.raises(FileError, match=r"songs\.json: found songs of .*'seed': 1000000.*, expected"):
        train(TrainConfig(**TINY, steps=2, seed=5), tmp_path)
    torch.save({"weights": {}}, tmp_path / "last.pt")
    with pytest.raises(FileError, match=r"found entries \['weights'\], expected those of a run"):
        train(TrainConfig(**TINY, steps=2), tmp_path)


def test_a_bank_of_other_songs_is_refused(tmp_path):
    bank = Bank(tmp_path / "songs.int16", songs=1, seconds=0.5, seed=0)
    with pytest.raises(FileError, match=r"songs\.json: found songs of .*'seed': 0.*, expected .*'seed': 1"):
        Bank(tmp_path / "songs.int16", songs=1, seconds=0.5, seed=1)
    # Without a record nothing is taken for finished.
    bank.samples[:] = 0
    (tmp_path / "songs.json").unlink()
    assert Bank(tmp_path / "songs.int16", songs=1, seconds=0.5, seed=0).samples.any()
    (tmp_path / "songs.json").write_text("")
    with pytest.raises(FileError, match="no record of rendered songs"):
        Bank(tmp_path / "songs.int16", songs=1, seconds=0.5, seed=0)
    with pytest.raises(FileError, match="which these songs have"):
        Bank(tmp_path / "songs.int16", songs=2, seconds=0.5, seed=0)
