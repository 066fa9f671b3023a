import functools

import numpy as np
import pytest
import torch

from pitch import synth


@functools.cache
def _phrase():
    return synth.sung_phrase()


@pytest.fixture(scope="session")
def phrase():
    """The sung phrase with its exact f0."""
    return _phrase()


def _test_signals():
    """Seconds of 16 kHz audio that differ in all that matters to a pitch tracker, by name."""
    rate = 16000
    rng = np.random.default_rng(7)
    time = np.arange(rate) / rate
    glide = 110 * 2 ** (3 * time)  # A2 to A5 in a second
    phase = 2 * np.pi * np.cumsum(glide) / rate
    sweep = sum(np.sin(k * phase) / k for k in range(1, 6)) / 3
    bursts = np.sin(2 * np.pi * 330 * time) * (np.sin(2 * np.pi * 4 * time) > 0)
    sung = synth.sung_phrase(sample_rate=rate).waveform[rate : 2 * rate]
    return {
        "sung": sung,
        "sweep": sweep,
        "sine": 0.5 * np.sin(2 * np.pi * 440.0 * time),
        "bursts with digital silence": bursts,
        "noisy": 0.3 * sweep + 0.3 * rng.standard_normal(rate),
        "noise": 0.1 * rng.standard_normal(rate),
        "silence": np.zeros(rate),
    }


@pytest.fixture(scope="session")
def signals():
    return {name: torch.from_numpy(x).float()[None] for name, x in _test_signals().items()}


@pytest.fixture
def upstream(monkeypatch):
    """torchcrepe itself, its random dither off."""
    import torchcrepe

    monkeypatch.setattr(torchcrepe.convert, "dither", lambda cents: cents)
    # It keeps the weights, dithered, of its first call.
    monkeypatch.delattr(torchcrepe.decode.weighted_argmax, "weights", raising=False)
    return torchcrepe
