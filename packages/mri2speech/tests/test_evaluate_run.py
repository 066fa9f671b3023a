import base64
import csv
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import torch

from audio_io import info, load, save
from audio_io.errors import ConfigError, FileError
from mri2speech.acoustic import checkpoint
from mri2speech.acoustic.config import AcousticConfig
from mri2speech.acoustic.model import AcousticModel
from mri2speech.cli import main
from mri2speech.dataset import SequenceDataset
from mri2speech.evaluate.baseline import learn
from mri2speech.evaluate.config import EvaluateConfig
from mri2speech.evaluate.runner import evaluate
from mri2speech.evaluate.truth import truth_of
from mri2speech.features import Scaler
from mri2speech.meta import Meta
from mri2speech.phantom.config import PhantomConfig
from mri2speech.phantom.gestures import perform
from mri2speech.phantom.tube import resonances
from mri2speech.phantom.writer import plans, write_corpus
from mri2speech.preprocess.config import PreprocessConfig
from mri2speech.preprocess.corpus import preprocess
from mri2speech.splits import split
from mri2speech.synthesize import Synthesizer
from mri2speech.vocoder.checkpoint import save_generator
from mri2speech.vocoder.config import VocoderConfig
from mri2speech.vocoder.generator import Generator


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate")
    write_corpus(root / "phantom", PhantomConfig(speakers=3, utterances=1, size=64))
    preprocess(
        root / "phantom" / "videos", root / "data", PreprocessConfig(), audio_dir=root / "phantom" / "audio"
    )
    return root


class Knowing(torch.nn.Module):
    """An acoustic model that knows the answer: the frames of an utterance lead to its own mels."""

    def __init__(self, films):
        super().__init__()
        self.answers = {float(films[i]["mri"].sum()): films[i]["mel"] for i in range(len(films))}
        self.total = 0.0

    def encode(self, frames):
        self.total += float(frames.sum(dtype=torch.float64))
        return frames.flatten(1)

    def sequence(self, pooled):
        key = min(self.answers, key=lambda total: abs(total - self.total))
        self.total = 0.0
        return self.answers[key][None]


def test_a_model_that_knows_the_answer_is_as_good_as_the_copy(corpus):
    films = SequenceDataset(corpus / "data")
    synthesizer = Synthesizer(Knowing(films), Scaler.load(corpus / "data" / "scaler.json"), None)
    result = evaluate(
        corpus / "data", synthesizer, EvaluateConfig(players=1), truth=corpus / "phantom" / "truth"
    )
    means = result.means
    assert means["predicted"]["mel_all_db"] < 1e-3
    assert means["predicted"]["mcd_db"] == pytest.approx(means["copy"]["mcd_db"], rel=0.02)
    # Griffin-Lim keeps the formants of the mels; the mean knows none.
    assert means["predicted"]["f1_rmse_hz"] < 90
    assert means["predicted"]["f2_rmse_hz"] < 250
    assert means["mean"]["f2_rmse_hz"] > 400
    assert means["mean"]["mel_all_db"] > 8
    assert means["predicted"]["stoi"] > 0.6
    assert means["predicted"]["voicing_error"] < 0.35
    assert set(result.shown) == {films.meta.samples[0].id}
    assert result.notes[0].startswith("without a split, the mean and the reader")


def test_the_command_writes_a_page_with_players_that_play(corpus, tmp_path, capsys):
    torch.manual_seed(0)
    config = AcousticConfig(backbone="mobilenetv3_small_050", image_size=64, hidden=8)
    checkpoint.save(tmp_path / "best.pt", AcousticModel(config), Scaler.load(corpus / "data" / "scaler.json"))
    save_generator(tmp_path / "g_00000001", Generator(VocoderConfig(upsample_initial_channel=16)).eval())
    # As `train --split utterance` writes it: of windows, whose utterances are whole.
    parts = split(Meta.load(corpus / "data"), "utterance")
    parts.save(tmp_path / "split.json")
    parts = parts.utterances(Meta.load(corpus / "data"))
    arguments = ["evaluate", "--data", str(corpus / "data"), "--acoustic", str(tmp_path / "best.pt")]
    arguments += ["--vocoder", str(tmp_path / "g_00000001"), "--device", "cpu", "-o", str(tmp_path / "out")]
    assert main([*arguments, "--truth", str(corpus / "phantom" / "truth")]) == 0
    printed = capsys.readouterr().out
    assert "Speech read off the film has F1 within" in printed
    page = (tmp_path / "out" / "index.html").read_text()
    players = re.findall(r'src="data:audio/wav;base64,([^"]+)"', page)
    assert len(players) == 4 * len(parts.test)
    sound = tmp_path / "a.wav"
    sound.write_bytes(base64.b64decode(players[0]))
    assert info(sound).sample_rate == 11413
    rows = list(csv.DictReader((tmp_path / "out" / "metrics.csv").open()))
    assert {row["voice"] for row in rows} == {"predicted", "copy", "griffin-lim", "mean"}
    means = json.loads((tmp_path / "out" / "metrics.json").read_text())["means"]
    assert means["predicted"]["real_time_factor"] > 0
    # A split of the training is no obstacle to measuring another data set, and is not applied to it.
    stored = json.loads((tmp_path / "split.json").read_text())
    (tmp_path / "split.json").write_text(json.dumps(stored | {"data": "another"}))
    shutil.copytree(corpus / "data", tmp_path / "one")
    meta = Meta.load(corpus / "data")
    dataclasses.replace(meta, samples=meta.samples[:1]).save(tmp_path / "one")
    arguments[2] = str(tmp_path / "one")
    assert main([*arguments, "--no-griffin-lim"]) == 0
    assert "split.json is of another data set; every utterance of" in capsys.readouterr().err
    rows = list(csv.DictReader((tmp_path / "out" / "metrics.csv").open()))
    assert [row["voice"] for row in rows] == ["predicted", "copy", "mean"]


def test_a_film_of_another_rate_is_held_against_the_truth_of_its_own_times(tmp_path):
    config = PhantomConfig(speakers=1, utterances=1, fps=50.0, size=32)
    write_corpus(tmp_path / "phantom", config)
    # The sound begins 0.1 s after the film, which is said by an offset.
    wav = tmp_path / "phantom" / "audio" / "s0_000.wav"
    waveform, rate = load(wav)
    save(wav, waveform[:, round(0.1 * rate) :], rate)
    preprocess(
        tmp_path / "phantom" / "videos",
        tmp_path / "data",
        PreprocessConfig(image_size=32, audio_offset=0.1),
        audio_dir=tmp_path / "phantom" / "audio",
    )
    meta = Meta.load(tmp_path / "data")
    (sample,) = meta.samples
    mels = torch.from_numpy(np.load(tmp_path / "data" / "samples" / sample.id / "mel_db.npy")).T
    found = truth_of(tmp_path / "phantom" / "truth", sample, waveform[0], mels, meta.mel)
    (plan,) = plans(config)
    times = 0.1 + np.arange(sample.frames) / meta.mel.frame_rate
    outline = perform(plan, times).outline(plan.speaker)
    expected = resonances(outline.area, outline.lengths)
    error = np.abs(found.formants - expected)[found.clear]
    assert found.clear.sum() > 20
    # Between frames 20 ms apart a consonant moves F2 by up to 100 Hz.
    assert np.median(error) < 2
    assert error.max() < 60
    other = dataclasses.replace(sample, fps=25.0)
    with pytest.raises(FileError, match=r"s0_000.npz: found \d+ frames, expected those of the film"):
        truth_of(tmp_path / "phantom" / "truth", other, waveform[0], mels, meta.mel)


def test_what_does_not_fit_is_named(corpus, tmp_path):
    films = SequenceDataset(corpus / "data")
    scaled = Scaler.load(corpus / "data" / "scaler.json")
    synthesizer = Synthesizer(Knowing(films), scaled, None)
    # The baseline is that of the training part.
    parts = split(films.meta, "utterance", unit="utterances")
    parts.save(tmp_path / "parts.json")
    own = learn(corpus / "data", split=tmp_path / "parts.json", truth=corpus / "phantom" / "truth")
    heard = [scaled.denormalise(films[index]["mel"]) for index in parts.train]
    np.testing.assert_allclose(own.mel, torch.cat(heard).mean(0), atol=1e-3)
    split(films.meta, "random", unit="windows").save(tmp_path / "split.json")
    with pytest.raises(ConfigError, match=r"split: found one of single windows.*expected one by utterance"):
        evaluate(corpus / "data", synthesizer, split=tmp_path / "split.json")
    with pytest.raises(FileError, match=r"expected truth/<ID>.npz of a phantom"):
        evaluate(corpus / "data", synthesizer, truth=tmp_path)
