"""Mel scale, filters and spectrograms, dB and pre-emphasis, against librosa and closed forms."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import audio_io.mel
from audio_io.decibels import (
    AmplitudeToDb,
    PowerToDb,
    amplitude_to_db,
    db_to_amplitude,
    db_to_power,
    power_to_db,
)
from audio_io.emphasis import Deemphasis, Preemphasis, deemphasis, preemphasis
from audio_io.errors import ConfigError
from audio_io.mel import MelSpectrogram, hz_to_mel, mel_filters, mel_to_hz, melspectrogram

BARS = {torch.float64: 1e-10, torch.float32: 1e-5}


def relative_error(found, reference):
    found, reference = torch.as_tensor(found), torch.as_tensor(reference)
    assert found.shape == reference.shape
    return ((found - reference).abs().max() / reference.abs().max().clamp(min=1e-30)).item()


def noise(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("htk", [True, False])
def test_mel_scale_equals_librosa_and_inverts(htk):
    hz = torch.linspace(0, 12000, 1001, dtype=torch.float64)
    mel = hz_to_mel(hz, htk=htk)
    assert relative_error(mel, librosa.hz_to_mel(hz.numpy(), htk=htk)) < 1e-14
    assert relative_error(mel_to_hz(mel, htk=htk), hz) < 1e-13
    assert hz_to_mel(440.0, htk=htk).item() == pytest.approx(librosa.hz_to_mel(440.0, htk=htk), rel=1e-14)


@pytest.mark.parametrize(
    "arguments",
    [
        {"sample_rate": 22050, "n_fft": 2048},
        {"sample_rate": 11413, "n_fft": 2048, "n_mels": 64},
        {"sample_rate": 16000, "n_fft": 1023, "n_mels": 40, "fmin": 20.5, "fmax": 7600},
        {"sample_rate": 44100, "n_fft": 4096, "n_mels": 1},
    ],
)
@pytest.mark.parametrize("htk", [True, False])
@pytest.mark.parametrize("norm", ["slaney", None])
def test_filters_equal_librosa(arguments, htk, norm):
    found = mel_filters(**arguments, htk=htk, norm=norm)
    rest = {name: value for name, value in arguments.items() if name != "sample_rate"}
    reference = librosa.filters.mel(sr=arguments["sample_rate"], **rest, htk=htk, norm=norm, dtype=np.float64)
    assert found.dtype == torch.float64
    assert relative_error(found, reference) < 1e-10


def test_slaney_filters_have_unit_area_and_plain_ones_add_up_to_one():
    hz_per_bin = 16000 / 16384
    area = mel_filters(16000, 16384, 40).sum(1) * hz_per_bin
    torch.testing.assert_close(area, torch.ones_like(area), rtol=1e-3, atol=0)
    plain = mel_filters(16000, 512, 20, norm=None)
    centres = mel_to_hz(torch.linspace(0, hz_to_mel(8000.0).item(), 22, dtype=torch.float64))[[1, -2]]
    low, high = (int(c / 31.25) for c in centres)
    torch.testing.assert_close(plain.sum(0)[low + 1 : high], torch.ones(high - low - 1, dtype=torch.float64))


def test_empty_filters_are_announced():
    with pytest.warns(
        UserWarning, match=r"\d+ of 128 mel filters are empty: use a larger n_fft \(256\) or fewer bands"
    ):
        mel_filters(22050, 256, 128)


@pytest.mark.parametrize("dtype", BARS)
@pytest.mark.parametrize("power", [1.0, 2.0, 1.5])
@pytest.mark.parametrize(
    ("sample_rate", "options", "bank"),
    [
        (22050, {}, {}),
        (11413, {"hop_length": 420}, {"n_mels": 64}),
        (
            16000,
            {"n_fft": 401, "hop_length": 160, "win_length": 320, "pad_mode": "reflect", "window": "hamming"},
            {"n_mels": 23, "fmin": 20, "fmax": 7600, "htk": True, "norm": None},
        ),
        (8000, {"n_fft": 512, "hop_length": 100, "center": False}, {"n_mels": 5}),
    ],
)
def test_melspectrogram_equals_librosa(sample_rate, options, bank, power, dtype):
    x = noise(2, 1, 70000, dtype=dtype)
    found = melspectrogram(x, sample_rate, **options, **bank, power=power)
    spectrum = librosa.stft(x.numpy(), **{"n_fft": 2048, "hop_length": 512} | options)
    # librosa.feature.melspectrogram has float32 filters, so the float64 reference is put together here.
    filters = librosa.filters.mel(sr=sample_rate, n_fft=options.get("n_fft", 2048), **bank, dtype=np.float64)
    assert relative_error(found, filters @ np.abs(spectrum) ** power) < BARS[dtype]
    module = MelSpectrogram(sample_rate, **options, **bank, power=power).to(dtype)
    assert torch.equal(module(x), found)


def test_defaults_are_those_of_librosa():
    x = noise(30000, dtype=torch.float32)
    assert (
        relative_error(melspectrogram(x, 22050), librosa.feature.melspectrogram(y=x.numpy(), sr=22050)) < 1e-5
    )


@pytest.mark.filterwarnings("ignore:.*mel filters are empty")
@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9000), st.integers(1, 130), st.sampled_from([1.0, 2.0]))
def test_chunks_leave_no_seam(rows, length, n_mels, power):
    # Batches of short signals share a chunk, long signals take several.
    x = noise(rows, length)
    options = {"n_fft": 32, "hop_length": 16, "n_mels": n_mels, "power": power, "norm": None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_io.mel, "_CHUNK_SAMPLES", 32 * 7)
        found = melspectrogram(x, 8000, **options)
    window = torch.hann_window(32, dtype=torch.float64)
    magnitude = torch.stft(x, 32, 16, window=window, pad_mode="constant", return_complex=True)
    filters = mel_filters(8000, 32, n_mels, norm=None)
    assert relative_error(found, filters @ magnitude.abs() ** power) < 1e-10
    assert found.is_contiguous()


def test_mel_gradients():
    x = noise(2, 60).requires_grad_()
    options = {"n_fft": 16, "hop_length": 5, "n_mels": 3}
    for power in (1.0, 2.0, 1.5):
        assert torch.autograd.gradcheck(lambda x, p=power: melspectrogram(x, 100, **options, power=p), x)
    silence = torch.zeros(60, dtype=torch.float64, requires_grad=True)
    melspectrogram(silence, 100, **options, power=1.0).sum().backward()
    assert silence.grad.isfinite().all()


def test_mel_module_follows_dtype_exactly_and_keeps_no_state():
    module = MelSpectrogram(16000, n_fft=512, n_mels=20)
    assert not module.state_dict()
    x = noise(3000)
    assert torch.equal(module.double()(x), melspectrogram(x, 16000, n_fft=512, n_mels=20))
    assert module(noise(0, 3000)).shape == (0, 20, 6)


@pytest.mark.parametrize("dtype", BARS)
@pytest.mark.parametrize("top_db", [None, 30.0, 80.0])
@pytest.mark.parametrize("ref", [1.0, 0.01, "max"])
def test_decibels_equal_librosa(ref, top_db, dtype):
    power = noise(20, 30, dtype=dtype).square() * 10 ** noise(20, 30, dtype=dtype)
    power[0, :5] = 0
    # np.max of the dB is the dB of np.max, so one reference function serves both; tolerance in dB.
    options = {"ref": np.max if ref == "max" else ref, "top_db": top_db}
    tolerance = {"rtol": 0, "atol": 1e-10 if dtype == torch.float64 else 2e-5}
    found = power_to_db(power, ref=ref, top_db=top_db)
    np.testing.assert_allclose(found.numpy(), librosa.power_to_db(power.numpy(), **options), **tolerance)
    assert torch.equal(PowerToDb(ref=ref, top_db=top_db)(power), found)
    amplitude = -power.sqrt()
    found = amplitude_to_db(amplitude, ref=ref, top_db=top_db)
    reference = librosa.amplitude_to_db(amplitude.abs().numpy(), **options)
    np.testing.assert_allclose(found.numpy(), reference, **tolerance)
    assert torch.equal(AmplitudeToDb(ref=ref, top_db=top_db)(amplitude), found)


def test_an_example_does_not_depend_on_its_batch():
    quiet, loud = noise(4, 5).square(), 1e9 * noise(4, 5, seed=1).square()
    batch = power_to_db(torch.stack([quiet, loud]), ref="max")
    torch.testing.assert_close(batch[0], power_to_db(quiet, ref="max"))
    torch.testing.assert_close(batch[1], power_to_db(loud, ref="max"))


def test_decibels_invert():
    power = noise(5, 6).square() + 1e-3
    torch.testing.assert_close(db_to_power(power_to_db(power, ref=0.3), ref=0.3), power)
    torch.testing.assert_close(db_to_amplitude(amplitude_to_db(power, ref=0.3), ref=0.3), power)
    assert db_to_power(torch.tensor(10.0)).item() == pytest.approx(10)
    assert db_to_amplitude(torch.tensor(20.0)).item() == pytest.approx(10)


def test_decibel_gradients():
    power = (noise(2, 3, 4).square() + 0.1).requires_grad_()
    for ref in (1.0, "max"):
        for top_db in (None, 5.0):
            assert torch.autograd.gradcheck(lambda p, r=ref, t=top_db: power_to_db(p, ref=r, top_db=t), power)
            assert torch.autograd.gradcheck(
                lambda p, r=ref, t=top_db: amplitude_to_db(p, ref=r, top_db=t), power
            )
    assert torch.autograd.gradcheck(db_to_power, power)
    assert torch.autograd.gradcheck(db_to_amplitude, power)
    silence = torch.zeros(3, 4, requires_grad=True)
    power_to_db(silence).sum().backward()
    amplitude_to_db(silence).sum().backward()
    assert silence.grad.isfinite().all()


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 70000), st.floats(0, 0.999), st.sampled_from(["librosa", "zero"]))
def test_emphasis_inverts_at_any_length(length, coef, start):
    x = noise(length)
    assert relative_error(deemphasis(preemphasis(x, coef, start=start), coef, start=start), x) < 1e-10


@pytest.mark.parametrize("dtype", BARS)
@pytest.mark.parametrize("length", [2, 127, 128, 129, 20000])
@pytest.mark.parametrize("coef", [0.97, 0.5])
def test_emphasis_equals_librosa(length, coef, dtype):
    x = noise(2, length, dtype=dtype)
    exact = x.double().numpy()
    reference = librosa.effects.preemphasis(exact, coef=coef)
    assert relative_error(preemphasis(x, coef).double(), reference) < BARS[dtype]
    assert torch.equal(Preemphasis(coef)(x), preemphasis(x, coef))
    assert (
        relative_error(deemphasis(x, coef).double(), librosa.effects.deemphasis(exact, coef=coef))
        < BARS[dtype]
    )
    assert torch.equal(Deemphasis(coef)(x), deemphasis(x, coef))
    plain = librosa.effects.preemphasis(exact, coef=coef, zi=np.zeros((2, 1)))
    assert relative_error(preemphasis(x, coef, start="zero").double(), plain) < BARS[dtype]


def test_emphasis_gradients():
    x = noise(2, 9).requires_grad_()
    for start in ("librosa", "zero"):
        assert torch.autograd.gradcheck(lambda x, s=start: preemphasis(x, start=s), x)
        assert torch.autograd.gradcheck(lambda x, s=start: deemphasis(x, start=s), x)
    assert torch.autograd.gradcheck(deemphasis, noise(300, seed=1).requires_grad_())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mel_filters(16000, 512, 0), "n_mels: found 0, expected at least 1"),
        (
            lambda: mel_filters(16000, 512, fmax=9000),
            "fmin, fmax: found 0, 9000 Hz, expected 0 <= fmin < fmax <= 8000 Hz",
        ),
        (lambda: mel_filters(16000, 512, 20, norm="l1"), "norm: found 'l1', expected 'slaney' or None"),
        (lambda: melspectrogram(torch.ones(9000), 22050, power=0), "power: found 0, expected above 0"),
        (
            lambda: melspectrogram(torch.ones(500), 22050, pad_mode="reflect"),
            "length of x: found 500 samples, expected more than 1024",
        ),
        (lambda: power_to_db(torch.ones(3), ref=0), "ref: found 0, expected a number above 0, or 'max'"),
        (lambda: power_to_db(torch.ones(3), amin=0), "amin: found 0, expected above 0"),
        (lambda: AmplitudeToDb(top_db=-1), "top_db: found -1, expected at least 0 dB, or None"),
        (lambda: preemphasis(torch.ones(1)), "length of x: found 1 samples, expected at least 2"),
        (lambda: deemphasis(torch.ones(9), 1.0), "coef: found 1.0, expected 0 to below 1"),
        (lambda: preemphasis(torch.ones(9), start="htk"), "start: found 'htk', expected librosa or zero"),
    ],
)
def test_errors_name_the_setting(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
