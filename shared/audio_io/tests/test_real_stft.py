"""The STFT in real arithmetic against the complex one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from audio_io.errors import ConfigError
from audio_io.fourier import istft, stft
from audio_io.realdft import dft_tables, real_irfft, real_rfft
from audio_io.realstft import RealISTFT, RealSTFT, real_istft, real_stft

BARS = {torch.float64: 1e-10, torch.float32: 1e-5}


def relative_error(found, reference):
    assert found.shape == reference.shape
    return ((found - reference).abs().max() / reference.abs().max().clamp(min=1e-30)).item()


def noise(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", BARS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 7, 9, 16, 30, 97, 100, 255, 400, 1024, 1025, 2048, 4096])
def test_dft_equals_fft(n, dtype):
    x = noise(5, n, dtype=dtype)
    tables = {name: table.to(dtype) for name, table in dft_tables(n).items()}
    real, imag = real_rfft(x, tables)
    assert relative_error(torch.complex(real, imag), torch.fft.rfft(x)) < BARS[dtype]
    assert relative_error(real_irfft(real, imag, tables), x) < BARS[dtype]


def test_tables_of_a_power_of_two_are_small():
    assert (
        sum(table.numel() for table in dft_tables(4096).values()) < 25_000
    )  # 0.1 MB; a DFT matrix has 16.8 million


@settings(deadline=None, max_examples=60)
@given(
    st.integers(2, 80),
    st.data(),
    st.sampled_from(list(BARS)),
    st.booleans(),
    st.sampled_from(["constant", "reflect", "edge"]),
    st.booleans(),
)
def test_equals_complex_twin(n_fft, data, dtype, center, pad_mode, normalized):
    win_length = data.draw(st.integers(1, n_fft))
    hop_length = data.draw(st.integers(1, 2 * n_fft))
    length = data.draw(st.integers(n_fft, 300))
    x = noise(2, length, dtype=dtype)
    options = {"center": center, "pad_mode": pad_mode, "normalized": normalized, "window": "hamming"}
    reference = stft(x, n_fft, hop_length, win_length, **options)
    found = real_stft(x, n_fft, hop_length, win_length, **options)
    assert relative_error(torch.complex(*found), reference) < BARS[dtype]
    module = RealSTFT(n_fft, hop_length, win_length, **options).to(dtype)
    assert all(torch.equal(a, b) for a, b in zip(module(x), found, strict=True))


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 80), st.data(), st.sampled_from(list(BARS)), st.booleans(), st.booleans())
def test_inverse_equals_complex_twin_for_any_spectrum(n_fft, data, dtype, center, normalized):
    win_length = data.draw(st.integers(1, n_fft))
    hop_length = data.draw(st.integers(1, win_length))
    frames = data.draw(st.integers(2, 12))
    length = data.draw(st.one_of(st.none(), st.integers(1, 500)))
    real, imag = (noise(2, n_fft // 2 + 1, frames, dtype=dtype, seed=seed) for seed in (1, 2))
    options = {"center": center, "normalized": normalized, "window": "hamming"}
    reference = istft(torch.complex(real, imag), n_fft, hop_length, win_length, length=length, **options)
    found = real_istft(real, imag, n_fft, hop_length, win_length, length=length, **options)
    if reference.numel():
        assert relative_error(found, reference) < BARS[dtype]
    module = RealISTFT(n_fft, hop_length, win_length, length=length, **options).to(dtype)
    assert torch.equal(module(real, imag), found)


@settings(deadline=None, max_examples=40)
@given(st.integers(4, 96), st.data())
def test_reconstructs_perfectly(n_fft, data):
    win_length = data.draw(st.integers(2, n_fft))
    hop_length = data.draw(st.integers(1, win_length // 2))
    length = data.draw(st.integers(n_fft, 400))
    x = noise(3, length)
    back = real_istft(
        *real_stft(x, n_fft, hop_length, win_length), n_fft, hop_length, win_length, length=length
    )
    assert relative_error(back, x) < 1e-10


def test_float32_at_the_size_of_separation_models():
    x = noise(1, 2, 44100, dtype=torch.float32)
    real, imag = real_stft(x, 4096, 1024, pad_mode="reflect", normalized=True)
    exact = stft(x.double(), 4096, 1024, pad_mode="reflect", normalized=True)
    assert relative_error(torch.complex(real, imag).to(exact), exact) < 1e-5
    back = real_istft(real, imag, 4096, 1024, normalized=True, length=44100)
    assert relative_error(back, x) < 1e-5


class _NoComplex(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        outputs = result if isinstance(result, tuple | list) else [result]
        assert not any(isinstance(output, torch.Tensor) and output.is_complex() for output in outputs), func
        return result


def test_no_operation_is_complex_forward_or_backward():
    x = noise(2, 300).requires_grad_()
    with _NoComplex():
        back = real_istft(*real_stft(x, 64, 16), 64, 16, length=300)
        back.square().sum().backward()
    assert relative_error(x.grad, 2 * x.detach()) < 1e-10
    with pytest.raises(AssertionError, match="fft"), _NoComplex():
        stft(x, 64)


def test_gradients():
    x = noise(2, 30).requires_grad_()
    window = (1.2 + noise(7, seed=1).abs()).requires_grad_()
    for pad_mode in ("constant", "reflect", "edge"):
        assert torch.autograd.gradcheck(
            lambda x, w, pad_mode=pad_mode: real_stft(x, 9, 3, 7, window=w, pad_mode=pad_mode), (x, window)
        )
    parts = tuple(noise(5, 6, seed=seed).requires_grad_() for seed in (1, 2))
    assert torch.autograd.gradcheck(lambda r, i, w: real_istft(r, i, 9, 3, 7, window=w), (*parts, window))


def test_modules_follow_dtype_exactly_and_keep_no_state():
    module = RealSTFT(24, 6).double()
    assert not module.state_dict()
    exact = dft_tables(24)
    assert all(torch.equal(module.get_buffer(name), table) for name, table in exact.items())


@pytest.mark.parametrize("shape", [(300,), (2, 3, 4, 300), (0, 300)])
def test_leading_dimensions(shape):
    real, imag = real_stft(noise(*shape), 64, 16)
    assert real.shape == imag.shape == (*shape[:-1], 33, 19)
    assert real_istft(real, imag, 64, 16, length=300).shape == shape


def test_errors_are_those_of_the_complex_twin():
    with pytest.raises(ConfigError, match="length of x: found 20 samples, expected more than 32"):
        real_stft(torch.ones(20), 64, pad_mode="reflect")
    with pytest.raises(ConfigError, match="hop_length: found 99 samples, expected a hop"):
        RealISTFT(64, 99)
    with pytest.raises(ConfigError, match="n_fft: found 64 with a spectrum of 30 frequencies"):
        real_istft(torch.ones(30, 4), torch.ones(30, 4), 64)
