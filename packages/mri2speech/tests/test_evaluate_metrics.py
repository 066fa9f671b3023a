import numpy as np
import pytest
import scipy.signal

from audio_io.errors import ConfigError
from mri2speech.evaluate import metrics
from mri2speech.evaluate.formants import FormantConfig, formants
from mri2speech.evaluate.reader import FormantReader
from mri2speech.phantom.anatomy import speaker
from mri2speech.phantom.corpus import frame_times, speak
from mri2speech.phantom.gestures import compose, perform
from mri2speech.phantom.source import voice_strength
from mri2speech.phantom.tube import resonances

RATE = 11413


def mels(seed=0, frames=40):
    return np.random.default_rng(seed).normal(-50, 15, (64, frames))


def test_distortion_equals_a_loop_over_its_definition():
    x, y = mels(0), mels(1)
    total = 0.0
    for t in range(x.shape[1]):
        square = 0.0
        for k in range(1, 14):

            def coefficient(m, k=k, t=t):
                values = m[:, t] * np.log(10) / 20
                return sum(2 * values[n] * np.cos(np.pi * k * (n + 0.5) / 64) for n in range(64)) / 64

            square += (coefficient(x) - coefficient(y)) ** 2
        total += 10 / np.log(10) * np.sqrt(2 * square)
    assert metrics.mel_cepstral_distortion(x, y) == pytest.approx(total / x.shape[1], rel=1e-12)


def test_distortion_leaves_the_level_out_and_knows_a_cosine():
    x = mels()
    assert metrics.mel_cepstral_distortion(x + 6.0, x) == pytest.approx(0, abs=1e-9)
    # A cosine of 0.1 neper over the bands is a difference of 0.1 in one coefficient.
    wave = 0.1 * np.cos(np.pi * 3 * (np.arange(64) + 0.5) / 64) * 20 / np.log(10)
    expected = 10 / np.log(10) * np.sqrt(2) * 0.1
    assert metrics.mel_cepstral_distortion(x + wave[:, None], x) == pytest.approx(expected, rel=1e-9)


def test_warping_takes_out_a_stretched_time():
    x = mels()
    slow = np.repeat(x, 2, axis=1)
    assert metrics.mel_cepstral_distortion(slow, x, warp=True) == pytest.approx(0, abs=1e-9)
    assert metrics.mel_cepstral_distortion(np.roll(x, 1, 1), x) > 5
    assert metrics.mel_cepstral_distortion(np.roll(x, 1, 1), x, warp=True) < 2


def test_band_errors_are_those_of_their_bands():
    x = mels()
    y = x.copy()
    y[6:16] += 3.0
    found = metrics.band_errors(y, x)
    assert found == pytest.approx({"all": 3 * 10 / 64, "F0": 0, "F1": 3.0, "F2": 0, "F3": 0, "top": 0})


def test_errors_know_what_is_not_known():
    found = metrics.errors([100.0, np.nan, 300.0, 400.0], [110.0, 200.0, 270.0, np.nan])
    assert (found.count, found.median, found.mean) == (2, 20.0, 20.0)
    assert found.rmse == pytest.approx(np.sqrt((100 + 900) / 2))
    assert metrics.errors([np.nan], [1.0]).count == 0


def test_pitch_errors():
    found = metrics.pitch_errors([100.0, 0.0, 200.0, 0.0], [100.0, 0.0, 100.0, 90.0])
    assert found.voicing_error == 0.25
    assert found.rmse_cents == pytest.approx(1200 / np.sqrt(2))
    assert found.rmse_hz == pytest.approx(100 / np.sqrt(2))


def test_intelligibility_of_speech_and_of_noise():
    x = speak(compose(speaker(0), 1)).astype(float)
    noise = np.random.default_rng(0).normal(0, x.std(), len(x))
    for extended in (False, True):
        assert metrics.intelligibility(x, x, RATE, extended=extended) == pytest.approx(1.0, abs=1e-6)
        noisy = metrics.intelligibility(x + noise, x, RATE, extended=extended)
        assert metrics.intelligibility(noise, x, RATE, extended=extended) < noisy < 0.95


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: metrics.band_errors(mels(), mels(frames=41)), r"mel_db: found shape \[64, 40\]"),
        (lambda: metrics.mel_cepstral_distortion(mels() * np.nan, mels()), "finite numbers"),
        (lambda: metrics.pitch_errors([], []), "f0: found nothing"),
        (lambda: metrics.errors([1.0], [1.0, 2.0]), r"found: found shape \[1\], expected \[2\]"),
        (
            lambda: metrics.mel_cepstral_distortion(mels()[:9], mels(), warp=True),
            "found 9 bands, expected 64",
        ),
        (lambda: formants([np.nan, 1.0], RATE, [0.0]), "waveform: found"),
    ],
)
def test_what_cannot_be_measured_is_named(call, sentence):
    with pytest.raises(ConfigError, match=sentence):
        call()


@pytest.mark.parametrize("truth", [(500.0, 1500.0, 2500.0), (270.0, 2290.0, 3010.0), (730.0, 1090.0, 2440.0)])
def test_formants_of_a_filter_with_known_poles(truth):
    poles = [np.exp((-np.pi * 60 + 2j * np.pi * hz) / RATE) for hz in (*truth, 3500.0, 4500.0)]
    a = np.real(np.poly([*poles, *np.conj(poles)]))
    x = scipy.signal.lfilter([1.0], a, np.random.default_rng(0).normal(size=2 * RATE))
    found = formants(x, RATE, np.arange(0.3, 1.7, 0.05), config=FormantConfig(preemphasis=0.0, order=10))
    np.testing.assert_allclose(np.nanmedian(found, axis=0), truth, atol=12)


def test_formants_of_the_phantom_are_those_of_its_tube():
    wrong = []
    for number, index in ((0, 1), (1, 2), (5, 1)):
        plan = compose(speaker(number), index)
        times = frame_times(plan, RATE / 420)
        score = perform(plan, times)
        outline = score.outline(plan.speaker)
        # Vowels: nasals have resonances of the nose, and behind a closure there is next to nothing to see.
        clear = (voice_strength(score, outline.area, outline.port) > 0.25) & (score.articulators[:, 7] < 0.2)
        found = formants(speak(plan), RATE, times, clear)
        truth = resonances(outline.area, outline.lengths)
        assert np.isfinite(found[clear]).mean() > 0.97
        wrong.append((found - truth)[clear])
    rmse = np.sqrt(np.nanmean(np.concatenate(wrong) ** 2, axis=0))
    assert rmse[0] < 45
    assert rmse[1] < 70


def test_silence_has_no_formants():
    assert np.isnan(formants(np.zeros(RATE), RATE, [0.2, 0.5])).all()
    assert formants(np.zeros(RATE), RATE, []).shape == (0, 3)


def test_the_reader_finds_peaks_that_move_and_blur_and_ignores_the_level():
    rng = np.random.default_rng(0)
    log = rng.uniform(np.log([300, 800, 2200]), np.log([800, 2200, 3500]), (1500, 3))
    bands = np.linspace(np.log(200), np.log(5000), 64)

    def spectra(width):
        return 20 * np.exp(-(((bands - log[:, :, None]) / width) ** 2)).sum(axis=1)

    reader = FormantReader.fit(spectra(0.15)[:1000], np.exp(log[:1000]))
    for width, bar in ((0.15, 0.05), (0.2, 0.12)):
        found = reader.read(spectra(width)[1000:] + rng.normal(0, 20, (500, 1)))
        error = np.sqrt(((np.log(found) - log[1000:]) ** 2).mean(axis=0))
        assert error.max() < bar
    with pytest.raises(
        ConfigError, match="mels: found 10 frames, 10 formants, expected as many, at least 200"
    ):
        FormantReader.fit(spectra(0.15)[:10], np.exp(log[:10]))
