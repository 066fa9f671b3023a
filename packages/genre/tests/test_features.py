import librosa
import numpy as np
import pytest
import torch

from genre.config import FeatureConfig
from genre.features import (
    FLOOR_DB,
    Statistics,
    StemMel,
    fit_frames,
    measure_statistics,
    mel_power,
    picture,
    resize,
)

SHORT = FeatureConfig(duration=3.0)


@pytest.fixture(scope="module")
def stems():
    """Chirps with noise, each stem 20 dB below the one before, `[4, N]`."""
    rng = np.random.default_rng(0)
    time = np.arange(3 * 22050) / 22050
    chirps = [np.sin(2 * np.pi * base * time * (1 + time)) for base in (110, 220, 440, 880)]
    level = 0.5 * 10.0 ** -np.arange(4)[:, None]
    return torch.from_numpy((level * (chirps + 0.01 * rng.standard_normal((4, time.size)))).astype("f4"))


def librosa_db(stems, **reference):
    power = [
        librosa.feature.melspectrogram(y=stem.numpy().astype("f8"), sr=22050, n_fft=2048, hop_length=512)
        for stem in stems
    ]
    return np.stack([librosa.power_to_db(stem, **reference) for stem in power]), np.stack(power)


def test_per_stem_features_are_those_of_librosa(stems):
    expected, _ = librosa_db(stems, ref=np.max)
    found = StemMel(FeatureConfig(reference="stem"))(stems[None])[0]
    assert found.shape == (4, 128, SHORT.frames)
    np.testing.assert_allclose(found, expected, atol=2e-3)  # dB, float32 against float64


def test_the_common_reference_keeps_the_balance_of_the_stems(stems):
    _, power = librosa_db(stems)
    expected = np.maximum(10 * np.log10(np.maximum(power, 1e-10) / power.max()), FLOOR_DB)
    found = StemMel(FeatureConfig(reference="common"))(stems[None])[0]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    peaks = found.amax(dim=(1, 2))
    assert peaks[0] == 0
    assert peaks[1] < -15
    assert peaks[2] < -35


@pytest.mark.parametrize("reference", ["stem", "common"])
def test_silence_is_quiet(stems, reference):
    mel = StemMel(FeatureConfig(reference=reference))
    silenced = stems.clone()
    silenced[1] = 0
    found = mel(silenced[None])[0]
    assert (found[1] == FLOOR_DB).all()
    assert found[0].max() == 0
    assert (mel(torch.zeros(1, 4, 22050)) == FLOOR_DB).all()


@pytest.mark.parametrize("semitones", [-2, -0.7, 1.3, 2])
def test_filters_are_warped_by_the_ratio(semitones):
    """A tone at f, shifted, has the bands of a tone at ratio f."""
    ratio, time = 2 ** (semitones / 12), torch.arange(22050, dtype=torch.float64) / 22050
    for frequency in (300.0, 1500.0, 6000.0):
        tone, shifted = (torch.sin(2 * torch.pi * f * time)[None] for f in (frequency, ratio * frequency))
        found, expected = mel_power(tone, SHORT, ratio=ratio), mel_power(shifted, SHORT)
        loudest = expected[0, :, 20].argmax()
        assert abs(int(found[0, :, 20].argmax()) - int(loudest)) <= 1
        # Between two bands the exact place matters; their sum does not.
        sums = [mel[0, loudest - 2 : loudest + 3, 20].sum().item() for mel in (found, expected)]
        assert sums[0] == pytest.approx(sums[1], rel=0.1)


def test_a_shift_down_leaves_the_top_empty():
    noise = torch.randn(1, 22050, generator=torch.Generator().manual_seed(0))
    found = mel_power(noise, SHORT, ratio=2 ** (-2 / 12))[0].mean(dim=1)
    centres = librosa.mel_frequencies(130, fmin=0, fmax=11025)
    empty = centres[2:] > 11025 * 2 ** (-2 / 12)
    assert (found.numpy() == 0).tolist() == empty.tolist()
    assert found.shape == (128,)


def test_short_windows_are_padded_with_the_least_of_each_stem(stems):
    db = StemMel(SHORT)(stems[None, :, :22050])
    padded = fit_frames(db, SHORT.frames)
    assert padded.shape[-1] == SHORT.frames
    assert torch.equal(padded[..., : db.shape[-1]], db)
    least = db.amin(dim=(2, 3))
    assert (padded[..., db.shape[-1] :] == least[:, :, None, None]).all()
    assert torch.equal(fit_frames(db, 10), db[..., :10])


def test_statistics_are_those_of_all_pictures_together():
    pictures = [torch.randn(4, 8, n) * 20 - torch.arange(4.0)[:, None, None] * 10 for n in (5, 9)]
    found = measure_statistics(iter(pictures))
    joined = torch.cat(pictures, dim=2).double().flatten(1)
    np.testing.assert_allclose(found.mean, joined.mean(dim=1), rtol=1e-6)
    np.testing.assert_allclose(found.std, joined.std(dim=1, correction=0), rtol=1e-6)
    constant = measure_statistics([torch.full((4, 8, 5), -80.0)])
    assert min(constant.std) > 0


def test_the_picture_is_standardised_and_resized(stems):
    db = StemMel(SHORT)(stems[None])
    statistics = measure_statistics(db)
    native = picture(db, statistics, FeatureConfig(duration=3.0, image="native"))
    assert native.shape == (1, 4, 128, SHORT.frames)
    np.testing.assert_allclose(native.mean(dim=(2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(native.std(dim=(2, 3), correction=0), 1, atol=1e-4)
    resized = picture(db, statistics, FeatureConfig(duration=3.0, image_size=96))
    assert resized.shape == (1, 4, 96, 96)
    np.testing.assert_allclose(resized.mean(dim=(2, 3)), 0, atol=0.02)


def test_resizing_is_antialiased():
    """Every fourth frame set: without antialiasing it is seen or not, depending on where the pixels fall."""
    comb = torch.zeros(1, 4, 128, 1280)
    comb[..., ::4] = 1
    resized = resize(comb, FeatureConfig(image_size=128))
    np.testing.assert_allclose(resized[..., 4:-4], 0.25, atol=0.02)


def test_statistics_default_to_no_change(stems):
    db = StemMel(SHORT)(stems[None])
    native = FeatureConfig(duration=3.0, image="native")
    assert torch.equal(picture(db, Statistics(), native), db)
