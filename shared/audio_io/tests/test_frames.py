"""Framing, overlap-add and chunked processing."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from audio_io.errors import ConfigError
from audio_io.frames import Frame, OverlapAdd, chunk_apply, frame, iter_chunks, overlap_add


def noise(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 100))
def test_frame_equals_librosa_and_is_a_view(frame_length, hop_length, extra):
    x = noise(2, frame_length + extra)
    found = frame(x, frame_length, hop_length)
    reference = librosa.util.frame(x.numpy(), frame_length=frame_length, hop_length=hop_length, axis=-1)
    np.testing.assert_array_equal(found.numpy(), np.swapaxes(reference, -1, -2))
    assert found.data_ptr() == x.data_ptr()
    assert torch.equal(Frame(frame_length, hop_length)(x), found)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(1, 40))
def test_overlap_add_equals_torch_fold(n_frames, frame_length, hop_length):
    frames = noise(3, n_frames, frame_length)
    length = (n_frames - 1) * hop_length + frame_length
    columns = frames.transpose(1, 2)
    reference = F.fold(columns, (1, length), (1, frame_length), stride=(1, hop_length)).reshape(3, length)
    torch.testing.assert_close(overlap_add(frames, hop_length), reference, rtol=0, atol=1e-13)
    assert torch.equal(OverlapAdd(hop_length)(frames), overlap_add(frames, hop_length))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 80))
def test_overlap_add_is_the_transpose_of_frame(frame_length, hop_length, extra):
    x = noise(frame_length + extra)
    frames = frame(x, frame_length, hop_length)
    y = noise(*frames.shape, seed=1)
    joined = overlap_add(y, hop_length)
    assert (frames * y).sum().item() == pytest.approx((x[: len(joined)] * joined).sum().item(), abs=1e-10)


def test_gradients_and_leading_dimensions():
    assert torch.autograd.gradcheck(lambda x: frame(x, 5, 2), noise(2, 3, 14).requires_grad_())
    assert torch.autograd.gradcheck(lambda x: overlap_add(x, 3), noise(2, 3, 4, 5).requires_grad_())
    assert overlap_add(noise(4, 5), 3).shape == (14,)
    assert overlap_add(noise(0, 4, 5), 3).shape == (0, 14)


@settings(deadline=None, max_examples=80)
@given(
    st.integers(1, 50),
    st.integers(1, 200),
    st.data(),
    st.sampled_from(["linear", "hann"]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_identity_comes_back_to_the_bit(chunk_length, length, data, fade, dtype):
    overlap = data.draw(st.integers(0, chunk_length // 2))
    x = noise(2, length, dtype=dtype)
    assert torch.equal(chunk_apply(lambda chunk: chunk, x, chunk_length, overlap, fade=fade), x)


def test_every_call_gets_a_full_chunk_and_no_more_calls_than_needed():
    starts = []

    def note(chunk):
        assert chunk.shape == (10,)
        starts.append(int(chunk[0]))
        return chunk

    for length, expected in [(1, [0]), (10, [0]), (11, [0, 6]), (16, [0, 6]), (17, [0, 6, 12])]:
        starts.clear()
        chunk_apply(note, torch.arange(float(length)), 10, 4)
        assert starts == expected


@pytest.mark.parametrize(
    ("fade", "weights"),
    [("linear", [0.125, 0.375, 0.625, 0.875]), ("hann", [0.03806023, 0.30865828, 0.69134172, 0.96193977])],
)
def test_cross_fade_between_chunks_that_disagree(fade, weights):
    # Each call answers with its own number: 0 throughout the first chunk, 1 throughout the second.
    calls = iter([0.0, 1.0])
    found = chunk_apply(
        lambda chunk: torch.full_like(chunk, next(calls)),
        torch.zeros(16, dtype=torch.float64),
        10,
        4,
        fade=fade,
    )
    expected = torch.tensor([0.0] * 6 + weights + [1.0] * 6, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


def test_fn_may_change_leading_dimensions():
    x = noise(2, 100)
    found = chunk_apply(lambda chunk: torch.stack([chunk, -chunk]), x, 30, 10)
    assert torch.equal(found, torch.stack([x, -x]))


def test_pieces_arrive_while_the_signal_is_processed():
    seen = []
    pieces = iter_chunks(lambda chunk: seen.append(1) or chunk, torch.arange(100.0), 10, 2)
    assert next(pieces).tolist() == list(range(8))
    assert len(seen) == 1


def test_chunks_pass_gradients():
    x = noise(17).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: chunk_apply(torch.tanh, x, 8, 3, fade="hann"), x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: frame(torch.ones(3), 4, 1),
            "frame_length: found 4, expected at most the signal's length, 3 samples",
        ),
        (lambda: frame(torch.ones(3), 2, 0), "hop_length: found 0, expected at least 1 sample"),
        (lambda: frame(torch.ones(3), 0, 1), "frame_length: found 0, expected at least 1 sample"),
        (lambda: overlap_add(torch.ones(3, 3), 0), "hop_length: found 0, expected at least 1 sample"),
        (
            lambda: chunk_apply(torch.neg, torch.ones(9), 4, 3),
            r"overlap: found 3, expected 0 to 2 samples \(half of chunk_length\)",
        ),
        (
            lambda: chunk_apply(torch.neg, torch.ones(0), 4, 1),
            "length of x: found 0, expected at least 1 sample",
        ),
        (
            lambda: chunk_apply(lambda chunk: chunk[1:], torch.ones(9), 4, 1),
            "fn: found 3 samples out, expected 4, as many as went in",
        ),
        (
            lambda: chunk_apply(torch.neg, torch.ones(9), 4, 1, fade="cubic"),
            "fade: found 'cubic', expected linear or hann",
        ),
    ],
)
def test_errors_name_the_setting(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
