import numpy as np
import pytest
import torch

from audio_io.errors import ConfigError
from pitch import TrackConfig, Tracker
from pitch.engine import Engine
from pitch.evaluate import score


@pytest.mark.parametrize("engine", ["fast", "plain"])
def test_bfloat16_changes_posteriors_and_pitch_by_little(engine, phrase):
    waveform = torch.from_numpy(phrase.waveform)
    exact, rounded = (
        Tracker(TrackConfig(model="tiny", engine=engine, precision=precision)).track(
            waveform, phrase.sample_rate
        )
        for precision in ("float32", "bfloat16")
    )
    difference = np.abs(exact.overview.image() - rounded.overview.image()).max()
    assert 1e-4 < difference < 0.02
    sung = exact.voiced & (phrase.f0_at(exact.times) > 0)
    cents = np.abs(1200 * np.log2(rounded.frequency / exact.frequency))[sung]
    assert np.percentile(cents, 99) < 1
    scores = [score(t.frequency, t.voiced, phrase.f0_at(t.times)).median_cents for t in (exact, rounded)]
    assert scores[1] == pytest.approx(scores[0], abs=0.1)


def test_float16_is_refused_where_it_is_slow():
    with pytest.raises(ConfigError, match="precision: found 'float16' on cpu, expected float32 or bfloat16"):
        Tracker(TrackConfig(model="tiny", precision="float16"))


def test_only_the_plain_network_is_compiled():
    with pytest.raises(ConfigError, match="compile: found engine 'auto' on cpu, expected engine plain"):
        Tracker(TrackConfig(model="tiny", compile=True))


def test_a_compiled_network_sees_one_shape(monkeypatch):
    shapes = []

    def compile_(network, **_):
        def run(frames):
            shapes.append(tuple(frames.shape))
            return network(frames)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    frames = torch.randn(100, 1024, generator=torch.Generator().manual_seed(0))
    settings = {"model": "tiny", "engine": "plain", "batch_size": 40}
    compiled, plain = (Engine(TrackConfig(compile=on, **settings)) for on in (True, False))
    for part in frames.split(40):
        torch.testing.assert_close(compiled(part), plain(part), rtol=0, atol=1e-5)
    assert shapes == [(40, 1024)] * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_gpu_computes_in_every_precision_compiled_or_not(precision, is_compiled, phrase):
    waveform = torch.from_numpy(phrase.waveform)
    exact = Tracker(TrackConfig(model="tiny")).track(waveform, phrase.sample_rate)
    config = TrackConfig(model="tiny", precision=precision, compile=is_compiled)
    track = Tracker(config, device="cuda").track(waveform, phrase.sample_rate)
    cents = np.abs(1200 * np.log2(track.frequency / exact.frequency))[exact.voiced]
    assert np.percentile(cents, 99) < 3
