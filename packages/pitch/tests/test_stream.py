import sys
import tracemalloc

import numpy as np
import pytest
import torch

import audio_io
from audio_io.errors import ConfigError
from pitch import Stream, TrackConfig, Tracker, demo


def tiny(**changes):
    return TrackConfig(model="tiny", **changes)


def run(stream, samples, block):
    """All frames of a signal that comes in blocks, joined."""
    parts = [stream.push(piece) for piece in samples.split(block, dim=-1)]
    parts.append(stream.finish())
    rows = ("times", "frequency", "confidence", "voiced")
    return {row: np.concatenate([getattr(part, row) for part in parts]) for row in rows}


@pytest.fixture(scope="module")
def recording():
    waveform, rate = audio_io.load(demo.recording())
    return waveform, rate


def test_the_stream_gives_the_track_of_the_recording(recording):
    waveform, rate = recording
    track = Tracker(tiny()).track(waveform, rate)
    live = run(Stream(tiny(), sample_rate=rate), waveform, 441)
    np.testing.assert_array_equal(live["times"], track.times)
    np.testing.assert_array_equal(live["voiced"], track.voiced)
    # Where nothing is sung the best path can change its mind after the lag.
    same = np.isclose(live["frequency"], track.frequency, rtol=1e-5)
    assert same[track.voiced].all()
    assert same.mean() > 0.97

    patient = run(Stream(tiny(), sample_rate=rate, lag=1000), waveform, 441)
    np.testing.assert_allclose(patient["frequency"], track.frequency, rtol=1e-5)
    np.testing.assert_allclose(patient["confidence"], track.confidence, atol=1e-5)


@pytest.mark.parametrize("decoder", ["argmax", "weighted_argmax"])
def test_without_a_path_nothing_can_differ(decoder, recording):
    waveform, rate = recording[0][:, : 2 * recording[1]], recording[1]
    track = Tracker(tiny(decoder=decoder)).track(waveform, rate)
    live = run(Stream(tiny(decoder=decoder), sample_rate=rate), waveform, 4410)
    np.testing.assert_allclose(live["frequency"], track.frequency, rtol=1e-4)
    np.testing.assert_allclose(live["confidence"], track.confidence, atol=1e-5)


def test_the_answer_does_not_depend_on_the_blocks(recording):
    waveform, rate = recording
    waveform = waveform[:, : rate // 2]
    config = tiny(threshold_low=0.3, min_voiced=0.03, min_unvoiced=0.02)
    stream = Stream(config, sample_rate=rate, lag=5)
    expected = run(stream, waveform, 10 * rate)
    assert expected["voiced"].any()
    for block in (1, 777):
        again = run(stream, waveform, block)
        np.testing.assert_array_equal(again["times"], expected["times"])
        np.testing.assert_allclose(again["frequency"], expected["frequency"], rtol=1e-5)
        np.testing.assert_array_equal(again["voiced"], expected["voiced"])


@pytest.mark.parametrize("rate", [7000, 16000, 44100, 48000])
@pytest.mark.parametrize(
    "changes", [{"decoder": "argmax"}, {}, {"decoder": "argmax", "min_voiced": 0.05, "hop_length": 80}]
)
def test_every_frame_comes_within_the_latency(rate, changes):
    config = tiny(**changes)
    stream = Stream(config, sample_rate=rate, lag=8)
    noise = torch.randn(rate // 2, generator=torch.Generator().manual_seed(0))
    hop = config.hop_length * rate / 16000
    delays, pushed, given = [], 0, 0
    for piece in noise.split(16):
        new = len(stream.push(piece))
        # Before this push the frames that it gave out were not to be had.
        delays += [pushed + len(piece) - (given + k) * hop for k in range(new)]
        pushed, given = pushed + len(piece), given + new
        assert pushed - given * hop < stream.latency + 16
    assert max(delays) <= stream.latency + 16
    # The bound is no larger than it has to be.
    if config.decoder == "argmax" and not config.min_voiced:
        assert max(delays) > stream.latency - hop
    assert stream.latency_ms == pytest.approx(1000 * stream.latency / rate)
    if rate == 16000 and "decoder" not in changes:
        assert stream.latency == 512 + 8 * 160


def test_a_tone_is_heard_within_the_latency_of_its_onset():
    stream = Stream(tiny(), sample_rate=16000)
    time = torch.arange(16000) / 16000
    onset = 8000
    tone = torch.where(time >= 0.5, 0.5 * torch.sin(2 * torch.pi * 440 * time), 0.0)
    for start in range(0, len(tone), 160):
        frames = stream.push(tone[start : start + 160])
        if frames.voiced.any():
            break
    # The first voiced frame is centred within a half window of the onset.
    assert abs(frames.times[frames.voiced][0] - 0.5) <= 0.032
    assert start + 160 - onset <= stream.latency + 512
    assert 1200 * abs(np.log2(frames.frequency[frames.voiced][-1] / 440)) < 30


def test_a_stream_starts_afresh_after_reset_and_after_finish(signals):
    stream = Stream(tiny(), lag=5)
    expected = run(stream, signals["sung"], 1600)
    stream.push(signals["sweep"])
    stream.reset()
    again = run(stream, signals["sung"], 1600)
    for row in expected:
        np.testing.assert_array_equal(again[row], expected[row])


def test_nothing_pushed_is_nothing_tracked():
    stream = Stream(tiny())
    assert len(stream.push(torch.zeros(0))) == 0
    assert len(stream.finish()) == 0
    assert len(stream.push(np.zeros(1, dtype=np.float64))) == 0
    assert len(stream.finish()) == 1


def test_bad_samples_are_refused_and_change_nothing(signals):
    stream, untouched = Stream(tiny()), Stream(tiny())
    bad = torch.zeros(500)
    bad[7] = float("nan")
    for samples, message in [
        (bad, "samples: found NaN or infinity"),
        (torch.zeros(1, 2, 3), r"samples: found shape \(1, 2, 3\)"),
    ]:
        with pytest.raises(ConfigError, match=message):
            stream.push(samples)
    after, expected = run(stream, signals["sung"], 4000), run(untouched, signals["sung"], 4000)
    np.testing.assert_array_equal(after["frequency"], expected["frequency"])
    with pytest.raises(ConfigError, match="channel: found 1, expected 0 to 0"):
        Stream(tiny(channel=1)).push(torch.zeros(10))
    with pytest.raises(ConfigError, match="lag: found -1, expected at least 0"):
        Stream(tiny(), lag=-1)
    with pytest.raises(ConfigError, match="sample_rate: found 80 Hz, expected above 100 Hz, twice fmin"):
        Stream(tiny(), sample_rate=80)


@pytest.mark.skipif(sys.platform == "win32", reason="allocators differ")
def test_memory_stays_constant(signals):
    stream = Stream(tiny(hop_length=1600), lag=3)
    second = signals["noise"].numpy()

    def push(seconds):
        for _ in range(seconds):
            stream.push(second)

    push(5)
    tracemalloc.start()
    push(5)
    before, _ = tracemalloc.get_traced_memory()
    push(60)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The torch tensors kept are the framer's and the decoder's; both are bounded by their lengths.
    assert after - before < 50_000
    assert len(stream._framer._buffer) < 1024 + 1600
    assert len(stream._decoder._waiting) <= 3
