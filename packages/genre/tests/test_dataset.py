"""Spectrograms kept in memory, and what is varied in them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from genre.augment import Variation, colour
from genre.config import STEMS, AugmentConfig, FeatureConfig
from genre.dataset import Pictures
from genre.features import Statistics, mel_power, to_decibels
from genre.layouts import Track

FEATURES = FeatureConfig(sample_rate=8000, n_mels=16, n_fft=512, hop_length=256, duration=0.5, image="native")
PLAIN = AugmentConfig(
    augment_pitch_shift=False,
    augment_time_stretch=False,
    augment_time_shift=False,
    augment_add_noise=False,
    augment_time_masking=False,
    augment_frequency_masking=False,
)
TRACKS = [Track(name, path=None, label=name[0]) for name in ("a0", "a1", "b0")]


class Noise:
    """Stems of a second, another noise for each track; counts how often they are read."""

    def __init__(self):
        self.reads = 0

    def length(self, _):
        return 8000

    def read(self, track, start=0, length=None):
        self.reads += 1
        rng = np.random.default_rng([ord(letter) for letter in track.id])
        stems = 0.1 * rng.standard_normal((len(STEMS), 8000), dtype=np.float32)
        return stems[:, start : None if length is None else start + length]


def whole(name):
    return mel_power(torch.from_numpy(Noise().read(Track(name, path=None))), FEATURES)


def pictures(stems, augment):
    return Pictures(TRACKS, ("a", "b"), stems, FEATURES, Statistics(), augment=augment, seed=3)


@pytest.mark.parametrize("augment", [PLAIN, None])
def test_a_small_corpus_is_read_once(augment):
    stems = Noise()
    examples = pictures(stems, augment)
    for epoch in range(4):
        for index in range(len(TRACKS)):
            assert examples[epoch, index][0].shape == (4, 16, FEATURES.frames)
    assert stems.reads == len(TRACKS)


def test_what_needs_the_waveform_is_read_each_time(monkeypatch):
    for change in ("augment_pitch_shift", "augment_time_stretch", "augment_time_shift"):
        stems = Noise()
        examples = pictures(stems, replace(PLAIN, **{change: True}))
        [examples[epoch, 0] for epoch in range(3)]
        assert stems.reads == 3
    monkeypatch.setattr("genre.dataset._KEPT_BYTES", 1)
    stems = Noise()
    examples = pictures(stems, PLAIN)
    [examples[epoch, 0] for epoch in range(3)]
    assert stems.reads == 3


def test_windows_are_those_of_the_whole_spectrogram():
    examples = pictures(Noise(), PLAIN)
    power, starts = whole("a1"), set()
    for epoch in range(40):
        found, target = examples[epoch, 1]
        matches = [
            start
            for start in range(power.shape[-1] - FEATURES.frames + 1)
            if torch.equal(found, to_decibels(power[..., start : start + FEATURES.frames], "common"))
        ]
        assert len(matches) == 1
        assert target == 0
        starts.update(matches)
    assert min(starts) == 0
    assert max(starts) == power.shape[-1] - FEATURES.frames


def test_swapped_stems_come_from_the_genre():
    # A window as long as the track, so that a stem is told from those of other tracks.
    features = replace(FEATURES, duration=1.0)
    examples = Pictures(
        TRACKS, ("a", "b"), Noise(), features, Statistics(), augment=replace(PLAIN, swap_stems=0.5), seed=3
    )
    sources = {name: whole(name) for name in ("a0", "a1", "b0")}
    seen = set()
    for epoch in range(20):
        found = examples[epoch, 0][0]
        for combination in np.ndindex(2, 2, 2, 2):
            mixed = torch.stack([sources[f"a{choice}"][stem] for stem, choice in enumerate(combination)])
            if torch.equal(found, to_decibels(mixed, "common")):
                seen.add(combination)
                break
        else:
            pytest.fail("a stem of another genre")
    assert len(seen) > 4
    assert (0, 0, 0, 0) in seen


def test_levels_and_slope_are_changed_by_so_many_decibels():
    power = torch.rand(4, 16, 5) + 0.1
    changed = colour(power, Variation(levels=(3.0, 0.0, -6.0, 1.0), tilt=4.0))
    difference = 10 * torch.log10(changed / power)
    expected = torch.tensor([3.0, 0.0, -6.0, 1.0])[:, None] + torch.linspace(-4, 4, 16)
    torch.testing.assert_close(difference, expected[..., None].expand(4, 16, 5), atol=1e-4, rtol=0)
    assert colour(power, Variation()) is power

    config = replace(PLAIN, stem_level=5.0, tilt=3.0)
    same, plain = pictures(Noise(), config), pictures(Noise(), PLAIN)
    levels = []
    for epoch in range(200):
        change = same[epoch, 0][0].double() - plain[epoch, 0][0].double()
        levels.append(change.mean(dim=(1, 2)) - change.mean())
    # Four normal levels around their mean, but for what the common reference and the floor take.
    assert torch.stack(levels).std() == pytest.approx(5.0 * 0.75**0.5, rel=0.1)
