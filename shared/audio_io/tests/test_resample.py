import math

import numpy as np
import pytest
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_io.errors import ConfigError
from audio_io.resampling import Resample, StreamResampler, resample, resample_in_graph, resampled_length

RATES = [(44100, 16000), (16000, 44100), (48000, 44100), (8000, 192_000), (44100, 22050), (44100, 44101)]


def noise(*shape, dtype=torch.float32, seed=0):
    return 0.2 * torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def sine(frequency, rate, seconds):
    return torch.sin(
        2 * math.pi * frequency * torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    )


@pytest.mark.parametrize(("orig", "new"), RATES)
@pytest.mark.parametrize("quality", ["HQ", "VHQ"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_soxr(orig, new, quality, dtype):
    waveform = noise(2, 3, 10_001, dtype=dtype)
    resampled = resample(waveform, orig, new, quality=quality)
    assert resampled.dtype == dtype
    assert resampled.shape == (2, 3, resampled_length(10_001, orig, new))
    reference = soxr.resample(waveform[1, 2].numpy(), orig, new, quality=quality)
    assert torch.equal(resampled[1, 2], torch.from_numpy(reference))


@pytest.mark.parametrize(("orig", "new"), RATES)
@pytest.mark.parametrize(("frequency", "tolerance"), [(0.05, 5e-7), (0.25, 1e-5), (0.45, 1.15e-3)])
def test_a_sine_stays_where_it_is(orig, new, frequency, tolerance):
    """soxr lets the gain fall by 0.01 dB (1.15e-3) towards the end of its pass band, at 0.457 of the rate.

    The frequency is in units of the lower rate; a Hann window of 1 s keeps the ends from ringing."""

    def tone(rate):
        return sine(frequency * min(orig, new), rate, 1.0) * torch.hann_window(rate, dtype=torch.float64)

    # Measured: 3e-7, 7e-6 and 7e-4 at most.
    torch.testing.assert_close(resample(tone(orig), orig, new), tone(new), rtol=0, atol=tolerance)


def test_what_cannot_be_kept_is_removed():
    resampled = resample(sine(9000, 44100, 1.0), 44100, 16000)
    assert resampled[800:-800].abs().max() < 1e-6


@settings(max_examples=40, deadline=None)
@given(length=st.integers(0, 500), orig=st.integers(1, 48000), new=st.integers(1, 48000))
def test_length(length, orig, new):
    # soxr itself refuses ratios that no sound needs.
    if not 1 / 100 < new / orig < 100:
        return
    assert resample(torch.zeros(1, length), orig, new).shape[1] == math.floor(length * new / orig + 0.5)


@settings(max_examples=30, deadline=None)
@given(
    rates=st.sampled_from([*RATES, (16000, 16000)]),
    sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=8),
    quality=st.sampled_from(["HQ", "VHQ"]),
    last=st.booleans(),
)
def test_stream_equals_one_shot(rates, sizes, quality, last):
    waveform = noise(2, sum(sizes), seed=sum(sizes))
    stream = StreamResampler(*rates, 2, quality=quality)
    blocks = waveform.split(sizes, dim=1)
    parts = [
        stream.process(block, last=last and index == len(blocks) - 1) for index, block in enumerate(blocks)
    ]
    if not last:
        parts.append(stream.flush())
    assert torch.equal(torch.cat(parts, dim=1), resample(waveform, *rates, quality=quality))


def test_equal_rates_and_empty():
    waveform = noise(2, 100)
    assert resample(waveform, 16000, 16000) is waveform
    assert resample(torch.zeros(2, 0), 44100, 16000).shape == (2, 0)
    assert resample(torch.zeros(0, 441), 44100, 16000).shape == (0, 160)
    assert resample(noise(441), 44100, 16000).shape == (160,)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: resample(noise(9), 0, 16000),
            "^orig_sample_rate: found 0, expected a whole number of Hz, at least 1$",
        ),
        (lambda: resample(noise(9), 8000, 16000.5), r"^sample_rate: found 16000\.5, expected a whole number"),
        (
            lambda: resample(noise(9), 8000, 16000, quality="LQ"),
            "^quality: found 'LQ', expected one of HQ, VHQ$",
        ),
        (
            lambda: resample(torch.zeros(9, dtype=torch.int16), 8000, 16000),
            r"^waveform: found samples of torch\.int16",
        ),
        (lambda: resample(torch.tensor(1.0), 8000, 16000), "^waveform: found a single number"),
        (
            lambda: resample(noise(9).requires_grad_(), 8000, 16000),
            "a tensor that requires a gradient.*resample_in_graph$",
        ),
        (
            lambda: StreamResampler(8000, 16000, 0),
            "^channels: found 0, expected a whole number of channels, at least 1$",
        ),
        (
            lambda: StreamResampler(8000, 16000, 2).process(noise(3, 9)),
            r"^block: found shape \[3, 9\] of torch\.float32, expected shape \[2, t\] of torch\.float32$",
        ),
        (lambda: resample_in_graph(noise(9), 8000, -1), "^sample_rate: found -1"),
        (lambda: Resample(-1, 8000), "^orig_sample_rate: found -1"),
        (
            lambda: Resample(8000, 16000)(noise(9, dtype=torch.float64)),
            r"^waveform: found torch\.float64 in a module of torch\.float32, expected torch\.float32, or the",
        ),
    ],
)
def test_arguments(call, text):
    with pytest.raises(ConfigError, match=text):
        call()


def test_rates_may_come_out_of_numpy():
    waveform = noise(2, 441)
    found = resample(waveform, np.int64(44100), np.int32(16000))
    assert torch.equal(found, resample(waveform, 44100, 16000))
    assert Resample(np.int64(44100), 16000)(waveform.float()).shape == (2, 160)
    with pytest.raises(ConfigError, match=r"sample_rate: found 16000\.5, expected a whole number of Hz"):
        resample(waveform, 44100, 16000.5)


@pytest.mark.parametrize(("orig", "new"), RATES[:5])
def test_in_graph_agrees_with_soxr_in_the_pass_band(orig, new):
    waveform = sine(0.2 * min(orig, new), orig, 0.25)[None]
    inside = resample_in_graph(waveform, orig, new)
    assert inside.shape[1] == math.ceil(waveform.shape[1] * new / orig)
    outside = resample(waveform, orig, new)
    inner = slice(new // 25, new // 5)
    torch.testing.assert_close(inside[:, inner], outside[:, inner], rtol=0, atol=1e-4)


def test_module_equals_function_and_follows_its_dtype():
    module = Resample(44100, 16000)
    waveform = noise(2, 3, 4410)
    # The module computes its filter in float64, the function in the dtype of the waveform: 2.3e-6.
    torch.testing.assert_close(module(waveform), resample_in_graph(waveform, 44100, 16000), rtol=0, atol=1e-5)
    assert module.double()(waveform.double()).dtype == torch.float64
    assert [name for name, _ in module.named_buffers()] == ["filter.kernel"]
    assert torch.equal(Resample(16000, 16000)(waveform), waveform)


def test_gradients_pass():
    waveform = noise(1, 20, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resample_in_graph(x, 3, 2), (waveform,))
    assert torch.autograd.gradcheck(Resample(3, 2).double(), (waveform,))


@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_a_stream_that_has_ended_takes_no_more(sample_rate):
    resampler = StreamResampler(44100, sample_rate, 1)
    resampler.process(torch.zeros(1, 100))
    resampler.flush()
    with pytest.raises(ConfigError, match="block: found samples after the last ones, expected a new"):
        resampler.process(torch.zeros(1, 100))
