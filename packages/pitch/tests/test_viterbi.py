import librosa
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pitch.viterbi import MAX_PENDING, ViterbiDecoder, viterbi_path


def reference(probabilities, reach=11):
    """librosa's decoder with the transition matrix of crepe/core.py."""
    states = np.arange(360)
    transition = np.maximum(reach + 1 - abs(states[:, None] - states[None, :]), 0)
    return librosa.sequence.viterbi(probabilities.T, transition / transition.sum(axis=1, keepdims=True))


def probabilities(seed, frames, sharpness):
    logits = sharpness * np.random.default_rng(seed).random((frames, 360))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    frames=st.integers(1, 120),
    sharpness=st.sampled_from([0.0, 0.1, 1.0, 10.0, 60.0]),
    pieces=st.lists(st.integers(0, 50), max_size=6),
    reach=st.sampled_from([1, 11, 150, 359]),
)
@example(seed=0, frames=92, sharpness=60.0, pieces=[], reach=11)
@example(seed=0, frames=60, sharpness=10.0, pieces=[7, 0, 30], reach=1)
def test_the_path_is_librosas_however_the_frames_arrive(seed, frames, sharpness, pieces, reach):
    sequence = probabilities(seed, frames, sharpness)
    expected = reference(sequence, reach)
    # librosa gives impossible steps the probability of the smallest float instead of 0; posteriors as sharp
    # as these can make even that pay. CREPE's cannot: they differ by a factor of e in torchcrepe's form, of
    # 1,000 in ours.
    assume(np.abs(np.diff(expected)).max(initial=0) <= reach)
    assert np.array_equal(viterbi_path(sequence, reach=reach), expected)

    decoder = ViterbiDecoder(reach=reach)
    cuts = np.minimum(np.cumsum(pieces), frames).astype(int)
    parts = [decoder.push(part) for part in np.split(sequence, cuts)]
    assert np.array_equal(np.concatenate([*parts, decoder.finish()]), expected)


def test_a_decoder_can_be_used_again_after_it_finished():
    sequence = probabilities(1, 40, 10.0)
    decoder = ViterbiDecoder()
    first = np.concatenate([decoder.push(sequence), decoder.finish()])
    second = np.concatenate([decoder.push(sequence), decoder.finish()])
    assert np.array_equal(first, second)


def test_what_is_held_back_stays_bounded_even_if_the_paths_never_meet():
    nothing_known = np.full((1000, 360), 1 / 360, dtype=np.float32)
    decoder = ViterbiDecoder(lag=300)
    pushed = given_out = 0
    for part in np.split(nothing_known, 20):
        given_out += len(decoder.push(part))
        pushed += len(part)
        assert pushed - given_out <= 300
    rest = decoder.finish()
    assert given_out + len(rest) == 1000
    assert len(rest) <= 300
    assert MAX_PENDING * 720 < 5e6  # bytes of back-pointers


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    sharpness=st.sampled_from([1.0, 10.0, 60.0]),
    lag=st.integers(0, 12),
    cut=st.integers(0, 40),
)
def test_what_the_lag_decides_lies_on_the_path_that_is_best_by_then(seed, sharpness, lag, cut):
    sequence = probabilities(seed, 40, sharpness)
    expected = [viterbi_path(sequence[: t + lag + 1])[t] for t in range(40)]
    decoder = ViterbiDecoder(lag=lag)
    parts = [decoder.push(sequence[:cut])]
    assert cut - len(parts[0]) <= lag
    parts += [decoder.push(sequence[cut:]), decoder.finish()]
    assert np.concatenate(parts).tolist() == expected


@pytest.mark.parametrize("frames", [0, 1])
def test_the_shortest_sequences(frames):
    decoder = ViterbiDecoder()
    parts = [decoder.push(probabilities(0, frames, 10.0)), decoder.finish()]
    assert len(np.concatenate(parts)) == frames
