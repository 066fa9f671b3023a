"""STFT and inverse against librosa, torch and closed forms."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import get_window

from audio_io.decibels import power_to_db
from audio_io.emphasis import deemphasis, preemphasis
from audio_io.errors import ConfigError
from audio_io.fourier import ISTFT, STFT, istft, stft
from audio_io.mel import MelSpectrogram, melspectrogram
from audio_io.realstft import RealISTFT, RealSTFT, real_stft
from audio_io.windows import frame_window, make_window

# Those of the README, relative to the largest value.
BARS = {torch.float64: 1e-10, torch.float32: 1e-5}
TORCH_PAD = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


def relative_error(found, reference):
    found, reference = torch.as_tensor(found), torch.as_tensor(reference)
    assert found.shape == reference.shape
    return ((found - reference).abs().max() / reference.abs().max().clamp(min=1e-30)).item()


def noise(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


@st.composite
def transforms(draw, invertible=False):
    n_fft = draw(st.integers(3, 96))
    win_length = draw(st.integers(2, n_fft))
    hop_length = draw(st.integers(1, max(win_length // 2, 1) if invertible else 2 * win_length))
    length = draw(st.integers(n_fft, 400))
    return {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length}, length


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "boxcar"])
@pytest.mark.parametrize("length", [1, 2, 5, 64])
@pytest.mark.parametrize("periodic", [True, False])
def test_windows_equal_scipy(name, length, periodic):
    found = make_window(name, length, periodic=periodic).numpy()
    np.testing.assert_allclose(found, get_window(name, length, fftbins=periodic), rtol=0, atol=1e-15)


@pytest.mark.parametrize(("win_length", "n_fft"), [(4, 4), (3, 8), (4, 9), (5, 8)])
def test_short_window_is_centred_as_in_librosa(win_length, n_fft):
    expected = librosa.util.pad_center(get_window("hamming", win_length), size=n_fft)
    np.testing.assert_allclose(frame_window("hamming", win_length, n_fft).numpy(), expected, atol=1e-15)


@pytest.mark.parametrize("dtype", BARS)
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize(
    ("n_fft", "hop_length", "win_length"),
    [(512, None, None), (400, 160, 320), (2048, 420, 2048), (255, 100, 200), (64, 150, 64)],
)
def test_equals_librosa(n_fft, hop_length, win_length, pad_mode, center, dtype):
    x = noise(2, 3, 5000, dtype=dtype)
    found = stft(x, n_fft, hop_length, win_length, center=center, pad_mode=pad_mode)
    reference = librosa.stft(
        x.numpy(),
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        center=center,
        pad_mode=pad_mode,
    )
    assert relative_error(found, reference) < BARS[dtype]


@settings(deadline=None, max_examples=60)
@given(
    transforms(),
    st.sampled_from(list(BARS)),
    st.booleans(),
    st.sampled_from(list(TORCH_PAD)),
    st.sampled_from(["hann", "hamming", "blackman", "boxcar"]),
    st.booleans(),
)
def test_equals_torch(transform, dtype, center, pad_mode, window, normalized):
    arguments, length = transform
    x = noise(2, length, dtype=dtype)
    tensor = torch.from_numpy(get_window(window, arguments["win_length"])).to(dtype)
    reference = torch.stft(
        x,
        **arguments,
        window=tensor,
        center=center,
        pad_mode=TORCH_PAD[pad_mode],
        normalized=normalized,
        return_complex=True,
    )
    options = {"center": center, "pad_mode": pad_mode, "normalized": normalized}
    assert relative_error(stft(x, **arguments, window=window, **options), reference) < BARS[dtype]
    assert relative_error(stft(x, **arguments, window=tensor, **options), reference) < BARS[dtype]
    module = STFT(**arguments, window=window, **options).to(dtype)
    assert relative_error(module(x), reference) < BARS[dtype]


@settings(deadline=None, max_examples=60)
@given(transforms(invertible=True), st.sampled_from(["constant", "reflect", "edge"]), st.booleans())
def test_reconstructs_perfectly_in_float64(transform, pad_mode, normalized):
    arguments, length = transform
    x = noise(2, length)
    spectrum = stft(x, **arguments, pad_mode=pad_mode, normalized=normalized)
    back = istft(spectrum, **arguments, normalized=normalized, length=length)
    assert relative_error(back, x) < 1e-10
    assert torch.equal(ISTFT(**arguments, normalized=normalized).double()(spectrum, length=length), back)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 64), st.integers(2, 8), st.integers(0, 60))
def test_reconstructs_in_float32_to_1e5_at_quarter_overlap_or_more(hop_length, overlap, extra):
    # At least four windows over every sample: the last ones are divided by no less than 0.2.
    n_fft = hop_length * (overlap + 2)
    x = noise(n_fft * 3 + extra, dtype=torch.float32)
    back = istft(stft(x, n_fft, hop_length), n_fft, hop_length, length=x.shape[-1])
    assert relative_error(back, x) < 1e-5


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("length", [None, 3000, 3900, 5000])
@pytest.mark.parametrize(("n_fft", "hop_length"), [(512, 128), (255, 100)])
def test_inverse_of_any_spectrum_equals_librosa(n_fft, hop_length, length, center):
    real, imag = noise(2, n_fft // 2 + 1, 30, seed=1), noise(2, n_fft // 2 + 1, 30, seed=2)
    spectrum = torch.complex(real, imag)
    options = {"n_fft": n_fft, "hop_length": hop_length, "center": center, "length": length}
    found, reference = (
        istft(spectrum, **options),
        torch.from_numpy(librosa.istft(spectrum.numpy(), **options)),
    )
    assert found.shape == reference.shape
    # librosa leaves out frames that begin beyond `length`; without `center` its edges divide by almost zero.
    edge = n_fft if length else (0 if center else 3)
    stop = found.shape[-1] if length is None and center else min(found.shape[-1], 29 * hop_length) - edge
    assert relative_error(found[..., edge:stop], reference[..., edge:stop]) < 1e-10


def test_inverse_without_center_leaves_only_the_unseen_sample_at_zero():
    x = noise(1000)
    back = istft(stft(x, 100, 25, center=False), 100, 25, center=False)
    assert back[0] == 0
    assert relative_error(back[1:], x[1:]) < 1e-10


def test_length_beyond_the_frames_is_zeros():
    x = noise(400)
    back = istft(stft(x, 64), 64, length=1000)
    assert relative_error(back[:400], x) < 1e-10
    assert not back[500:].any()


def test_sinusoid_at_a_bin_centre():
    # A cosine of amplitude a at bin b: |X[b]| = a sum(w) / 2, and half of it in each neighbour (Hann).
    n_fft, bin_, amplitude = 256, 20, 0.7
    x = amplitude * torch.cos(2 * torch.pi * bin_ / n_fft * torch.arange(4096, dtype=torch.float64))
    magnitude = stft(x, n_fft, 64, center=False).abs()
    expected = torch.zeros(n_fft // 2 + 1, 1, dtype=torch.float64)
    expected[bin_ - 1 : bin_ + 2, 0] = (
        amplitude * n_fft / 4 * torch.tensor([0.5, 1.0, 0.5], dtype=torch.float64)
    )
    torch.testing.assert_close(magnitude, expected.expand_as(magnitude), rtol=0, atol=1e-10)


@pytest.mark.parametrize("n_fft", [64, 63])
def test_parseval(n_fft):
    # Frames side by side under a boxcar: the signal has the energy of its orthonormal two-sided spectrum.
    x = noise(n_fft * 10)
    spectrum = stft(x, n_fft, n_fft, window="boxcar", center=False, normalized=True)
    weight = torch.full((n_fft // 2 + 1, 1), 2.0, dtype=torch.float64)
    weight[0] = 1
    if n_fft % 2 == 0:
        weight[-1] = 1
    assert (weight * spectrum.abs().square()).sum().item() == pytest.approx(
        x.square().sum().item(), rel=1e-12
    )


def test_is_linear_and_a_shift_by_a_hop_moves_one_frame():
    x, y = noise(3000, seed=1), noise(3000, seed=2)
    assert relative_error(stft(2 * x - 3 * y, 128, 32), 2 * stft(x, 128, 32) - 3 * stft(y, 128, 32)) < 1e-12
    moved = torch.cat([noise(32, seed=3), x])
    assert relative_error(stft(moved, 128, 32, center=False)[:, 1:], stft(x, 128, 32, center=False)) < 1e-14


def test_gradients():
    x = noise(2, 30).requires_grad_()
    window = (1.2 + noise(7, seed=1).abs()).requires_grad_()
    for pad_mode in ("constant", "reflect", "edge"):
        assert torch.autograd.gradcheck(
            lambda x, w, pad_mode=pad_mode: stft(x, 9, 3, 7, window=w, pad_mode=pad_mode), (x, window)
        )
    spectrum = torch.complex(noise(5, 6, seed=1), noise(5, 6, seed=2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, w: istft(s, 9, 3, 7, window=w), (spectrum, window))


def test_modules_follow_dtype_exactly_and_keep_no_state():
    module = STFT(64, 16)
    assert module.window.dtype == torch.float32
    assert not module.state_dict()
    module = module.half().double()
    assert torch.equal(module.window, make_window("hann", 64))
    assert torch.equal(ISTFT(64, 16).double().window, make_window("hann", 64))
    assert module.to("meta").window.is_meta


@pytest.mark.parametrize("shape", [(300,), (1, 300), (2, 3, 4, 300), (0, 300), (2, 0, 300)])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge"])
def test_leading_dimensions(shape, pad_mode):
    x = noise(*shape)
    spectrum = stft(x, 64, 16, pad_mode=pad_mode)
    assert spectrum.shape == (*shape[:-1], 33, 19)
    assert istft(spectrum, 64, 16, length=300).shape == shape
    if x.numel():
        assert torch.equal(
            spectrum.reshape(-1, 33, 19)[0], stft(x.reshape(-1, 300)[0], 64, 16, pad_mode=pad_mode)
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: stft(torch.ones(32), 64, pad_mode="reflect"),
            r"length of x: found 32 samples, expected more than 32 \(n_fft // 2\) for pad_mode 'reflect'",
        ),
        (
            lambda: stft(torch.ones(63), 64, center=False),
            "length of x: found 63 samples, expected at least 64",
        ),
        (lambda: stft(torch.tensor(1.0), 64), r"x: found a single number, expected shape \[..., T\]"),
        (lambda: stft(torch.ones(0), 64), "length of x: found 0 samples, expected at least 1"),
        (
            lambda: stft(torch.ones(99), 64, win_length=65),
            r"win_length: found 65, expected 1 to 64 samples \(n_fft\)",
        ),
        (lambda: stft(torch.ones(99), 64, 0), "hop_length: found 0, expected at least 1 sample"),
        (lambda: stft(torch.ones(99), 0), "n_fft: found 0, expected at least 1 sample"),
        (
            lambda: stft(torch.ones(99), 64, window="hanning"),
            "window: found 'hanning', expected one of hann, hamming",
        ),
        (
            lambda: stft(torch.ones(99), 64, window=torch.ones(3)),
            r"window: found a tensor of shape \[3\], expected shape",
        ),
        (
            lambda: stft(torch.ones(99), 64, pad_mode="wrap"),
            "pad_mode: found 'wrap', expected one of constant, reflect, edge",
        ),
        (
            lambda: istft(torch.ones(33, 5) + 0j, 64, 65),
            r"hop_length: found 65 samples, expected a hop at which windows of 64 samples leave no gap",
        ),
        (
            lambda: ISTFT(64, 64),
            "hop_length: found 64 samples, expected a hop at which windows of 64 samples",
        ),
        (
            lambda: istft(torch.ones(32, 5) + 0j, 64),
            "n_fft: found 64 with a spectrum of 32 frequencies, expected 33",
        ),
    ],
)
def test_errors_name_the_setting(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


def test_boxcar_frames_side_by_side_are_invertible():
    x = noise(640)
    options = {"window": "boxcar", "center": False}
    assert relative_error(istft(stft(x, 64, 64, **options), 64, 64, **options), x) < 1e-12


@pytest.mark.parametrize("dtype", [torch.int16, torch.int64, torch.complex64])
def test_integers_are_refused_not_misread(dtype):
    x = torch.ones(4096, dtype=dtype)
    message = f"x: found samples of {dtype}, expected floating-point samples"
    for transform in (lambda: stft(x, 512), lambda: STFT(512)(x), lambda: real_stft(x, 512)):
        with pytest.raises(ConfigError, match=message):
            transform()
    for transform in (lambda: melspectrogram(x, 16000), lambda: preemphasis(x), lambda: deemphasis(x)):
        with pytest.raises(ConfigError, match=message):
            transform()


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_in_a_sentence_where_torch_has_no_transform(dtype):
    x = noise(4096).to(dtype)
    message = f"^x: found {dtype} on cpu, expected float32 or float64; audio_io.realstft"
    modules = (STFT(512).to(dtype), MelSpectrogram(16000).to(dtype))
    for transform in (lambda x: stft(x, 512), lambda x: melspectrogram(x, 16000), *modules):
        with pytest.raises(ConfigError, match=message):
            transform(x)
    spectrum = torch.ones(257, 5, dtype=torch.complex32)
    with pytest.raises(ConfigError, match=r"^spectrum: found torch.complex32 on cpu"):
        istft(spectrum, 512)
    # What that sentence names works; in a float32 module half precision is widened.
    assert real_stft(x, 512)[0].dtype == dtype
    assert MelSpectrogram(16000)(x).dtype == torch.float32


def test_a_module_takes_no_more_precision_than_its_tables_have():
    x = noise(4096)
    assert x.dtype == torch.float64
    message = r"found torch.float64 in a module of torch.float32, expected torch.float32, or the module as "
    for module in (STFT(512), RealSTFT(512), MelSpectrogram(16000)):
        with pytest.raises(ConfigError, match=f"^x: {message}"):
            module(x)
        module.double()(x)
    real, imag = real_stft(x, 512)
    with pytest.raises(ConfigError, match=f"^real: {message}"):
        RealISTFT(512)(real, imag)
    with pytest.raises(ConfigError, match=r"^spectrum: found torch.complex128 in a module of torch.float32"):
        ISTFT(512)(torch.complex(real, imag))
    with pytest.raises(ConfigError, match=r"^x: found torch.float32 in a module of torch.float16"):
        MelSpectrogram(16000).half()(x.float())


def test_a_module_made_in_inference_mode_can_be_trained_through():
    with torch.inference_mode():
        module = MelSpectrogram(16000)
    x = noise(4096).float().requires_grad_()
    module(x).sum().backward()
    assert x.grad.abs().max() > 0


def test_tables_are_made_on_the_cpu_whatever_the_default_device():
    with torch.device("meta"):
        module = MelSpectrogram(16000)
        RealSTFT(512)
    assert module.window.device.type == "cpu"


def test_silence_in_half_precision_is_finite():
    for ref in (1.0, "max"):
        assert power_to_db(torch.zeros(2, 2).half(), ref=ref).isfinite().all()
    assert power_to_db(torch.tensor([[1.0, 0.0]]).half(), top_db=None).isfinite().all()
    assert power_to_db(torch.zeros(2, 80, 0)).shape == (2, 80, 0)
    with pytest.raises(ConfigError, match="a number above 0, or 'max'"):
        power_to_db(torch.ones(2, 2), ref=np.max)
