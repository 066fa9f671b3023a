import json
import math

import librosa
import numpy as np
import pytest
import torch

from audio_io.errors import ConfigError, FileError
from mri2speech.config import MelConfig
from mri2speech.features import Scaler, band_centres, mel_db, mel_log


def noise(samples=11413, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples)


def test_mel_equals_librosa_in_decibels():
    x = noise()
    emphasised = librosa.effects.preemphasis(x, coef=0.97, zi=np.zeros(1))
    power = librosa.feature.melspectrogram(y=emphasised, sr=11413, n_fft=2048, hop_length=420, n_mels=64)
    expected = 10 * np.log10(np.maximum(power, 1e-10))
    ours = mel_db(torch.from_numpy(x)).numpy()
    assert ours.shape == (64, 1 + len(x) // 420)
    assert np.abs(ours - expected).max() < 1e-6


def test_silence_is_the_floor_and_its_logarithm_is_hifigans():
    db = mel_db(torch.zeros(8400))
    assert torch.equal(db, torch.full_like(db, -100.0))
    assert mel_log(db)[0, 0].item() == pytest.approx(math.log(1e-5), abs=1e-5)


def test_a_tone_is_in_the_band_whose_centre_is_nearest():
    centres = band_centres()
    for hz in (300.0, 900.0, 2500.0):
        tone = torch.sin(2 * torch.pi * hz * torch.arange(11413) / 11413)
        band = int(mel_db(tone)[:, 10].argmax())
        assert abs(band - int((centres - hz).abs().argmin())) <= 1


def test_scaler_round_trip_and_its_mel(tmp_path):
    scaler = Scaler(-41.5, 17.25, MelConfig())
    scaler.save(tmp_path / "scaler.json")
    assert Scaler.load(tmp_path / "scaler.json", MelConfig()) == scaler
    x = torch.randn(64, 5)
    torch.testing.assert_close(scaler.denormalise(scaler.normalise(x)), x)
    with pytest.raises(FileError, match=r"scaler.json: found made with n_mels = 64, expected n_mels = 80"):
        Scaler.load(tmp_path / "scaler.json", MelConfig(n_mels=80))


@pytest.mark.parametrize(
    "text", ["", "{}", '{"mean": 1}', '{"mean": 0, "std": 0}', '{"mean": NaN, "std": 1}', "[]"]
)
def test_what_is_no_scaler_is_refused_by_name(tmp_path, text):
    path = tmp_path / "scaler.json"
    path.write_text(text)
    with pytest.raises(FileError, match=r"scaler.json: found not a scaler"):
        Scaler.load(path)
    with pytest.raises(FileError, match="no such file"):
        Scaler.load(tmp_path / "none.json")


def test_a_scaler_of_the_original_scripts_counts_as_made_with_the_defaults(tmp_path):
    path = tmp_path / "scaler.json"
    path.write_text(json.dumps({"mean": -40.0, "std": 15.0}))
    assert Scaler.load(path, MelConfig()).mel == MelConfig()


def test_settings_that_cannot_be():
    with pytest.raises(ConfigError, match="win_length"):
        MelConfig(win_length=4096)
    with pytest.raises(ConfigError, match="fmax"):
        MelConfig(fmax=8000.0)
    assert MelConfig().frame_rate == pytest.approx(27.174, abs=1e-3)
