import numpy as np
import pytest

import pitch
from audio_io.errors import ConfigError
from pitch.evaluate import generated_set, score_network
from pitch.evaluate.contours import make_clip

RATE = 16000


def _voiced_stretches(f0):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (f0 > 0).astype(int), [0]])))
    return zip(edges[::2], edges[1::2], strict=True)


def _harmonic_share(waveform, f0, cents):
    """Share of a tone's energy that lies on multiples of its f0, moved by some cents."""
    phase = 2 * np.pi * np.cumsum(f0 * 2 ** (cents / 1200)) / RATE
    numbers = np.arange(1, int(7600 / f0.min()) + 1)
    share = np.abs(np.exp(-1j * numbers[:, None] * phase) @ waveform) ** 2
    return 2 * share.sum() / len(waveform) / np.sum(waveform**2)


def test_the_f0_of_harmonic_sounds_is_exact():
    clip = make_clip("harmonic", 4.0, np.random.default_rng(1))
    found = {cents: [] for cents in (0, 5, -5)}
    for start, end in _voiced_stretches(clip.f0):
        inner = slice(start + 300, end - 300)  # without the fades
        for cents, shares in found.items():
            shares.append(_harmonic_share(clip.waveform[inner], clip.f0[inner], cents))
    # What is left is the noise floor, and partials that fade out at the upper limit.
    assert np.median(found[0]) > 0.99
    assert np.mean(np.array(found[0]) > np.maximum(found[5], found[-5])) == 1.0


def test_the_level_over_the_noise_is_as_labelled():
    examples = {example.name: example for example in generated_set(seconds=2, clips=3)}
    for number, noise in enumerate(("white", "pink", "babble"), 1):
        clean = examples[f"speech-{number}-clean"]
        voiced = np.repeat(clean.truth().frequency > 0, RATE // 100)
        for level in (20, 10, 0):
            mixed = examples[f"speech-{number}-{noise}-{level}dB"]
            rest = mixed.sound() - clean.sound()
            ratio = np.mean(clean.sound()[voiced] ** 2) / np.mean(rest**2)
            # Labels are given every 10 ms: their edges are not those of the samples.
            assert 10 * np.log10(ratio) == pytest.approx(level, abs=0.5)
            assert mixed.groups == {"family": "speech", "snr": f"{level} dB", "noise": noise}


def test_the_set_is_reproducible_and_covers_all_registers():
    first, again, other = (generated_set(seconds=1, clips=1, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first[5].sound(), again[5].sound())
    assert not np.array_equal(first[5].sound(), other[5].sound())
    harmonic = generated_set(levels=(None,), families=("harmonic",), clips=4)
    f0 = np.concatenate([example.truth().frequency for example in harmonic])
    voiced = f0[f0 > 0]
    assert 32 <= voiced.min() < 45
    assert 1200 < voiced.max() <= 1900.001
    assert 0.1 < np.mean(f0 == 0) < 0.4
    assert all(np.mean(part) > 0.2 for part in (voiced < 130, voiced > 500))


def test_networks_do_better_on_cleaner_sounds_and_keep_their_mode():
    network = pitch.load_model("tiny").train()
    scores = score_network(network, generated_set(seconds=2, clips=1, levels=(None, 0.0)))
    assert network.training
    accuracy = scores.accuracies()
    assert accuracy["snr/clean"] > 0.85
    assert accuracy["snr/clean"] - accuracy["snr/0 dB"] > 0.05
    assert scores.groups["family"]["sung"].percentile(50) < 10
    pairs = scores.by_family_and_level
    assert sum(tally.voiced for tally in pairs.values()) == scores.total.voiced
    assert set(pairs) == {(f, s) for f in ("harmonic", "sung", "speech") for s in ("clean", "0 dB")}


@pytest.mark.parametrize("settings", [{"seconds": 0.5}, {"seconds": float("nan")}, {"clips": 0}])
def test_sizes_that_make_no_set_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        generated_set(**settings)
