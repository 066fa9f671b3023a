import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pitch import TrackConfig, Tracker
from pitch.evaluate import score
from pitch.loudness import a_weighted
from pitch.voicing import CALIBRATION, KNOTS, SILENT_DB, VoicingGate, level, voiced_probability

LOUD = 0.0


def decide(confidence, levels=None, **changes):
    gate = VoicingGate(TrackConfig(**changes))
    confidence = np.asarray(confidence, dtype=np.float32)
    levels = np.full(len(confidence), LOUD, dtype=np.float32) if levels is None else np.float32(levels)
    return np.concatenate([gate.push(confidence, levels), gate.finish()]).astype(int).tolist()


def test_voicing_begins_at_the_threshold_and_ends_below_the_lower_one():
    confidence = [0.4, 0.5, 0.4, 0.3, 0.29, 0.4, 0.5]
    assert decide(confidence, threshold_low=0.3) == [0, 1, 1, 1, 0, 0, 1]
    assert decide(confidence) == [0, 1, 0, 0, 0, 0, 1]


def test_the_decision_changes_only_to_what_lasts():
    confidence = [0, 1, 0, 1, 1, 1, 0, 1, 0, 0, 0, 1]
    assert decide(confidence, min_voiced=0.03) == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert decide(confidence, min_unvoiced=0.03) == [0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1]
    assert decide(confidence, min_voiced=0.02, min_unvoiced=0.02) == [0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0]


def test_silence_is_unvoiced_and_sets_the_hysteresis_back():
    confidence, levels = [1, 1, 0.4, 0.4, 1], [-60, -61, -10, -10, -10]
    assert decide(confidence, levels, threshold_low=0.3) == [1, 0, 0, 0, 1]
    for off in (None, -200.0):
        assert decide(confidence, levels, threshold_low=0.3, silence_db=off) == [1, 1, 1, 1, 1]


def reference(above, least):
    """Runs of the other state that are too short vanish, from left to right."""
    state, out, k = 0, [], 0
    while k < len(above):
        end = k
        while end < len(above) and above[end] == above[k]:
            end += 1
        if above[k] != state and end - k >= least[above[k]]:
            state = above[k]
        out += [state] * (end - k)
        k = end
    return out


@settings(max_examples=100, deadline=None)
@given(
    above=st.lists(st.integers(0, 1), max_size=60),
    least=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    cut=st.integers(0, 60),
)
def test_decisions_are_final_early_and_do_not_depend_on_the_pieces(above, least, cut):
    config = TrackConfig(min_unvoiced=least[0] / 100, min_voiced=least[1] / 100)
    gate = VoicingGate(config)
    confidence = np.array(above, dtype=np.float32)
    levels = np.zeros(len(above), dtype=np.float32)
    parts = [gate.push(confidence[:cut], levels[:cut])]
    assert len(confidence[:cut]) - len(parts[0]) <= gate.lookahead == max(*least, 1) - 1
    parts += [gate.push(confidence[cut:], levels[cut:]), gate.finish()]
    assert np.concatenate(parts).astype(int).tolist() == reference(above, least)


def test_the_level_is_the_a_weighted_rms():
    time = torch.arange(1024) / 16000
    # IEC 61672-1, table 3: A(1 kHz) = 0, A(125 Hz) = -16.1, A(4 kHz) = 1.0 dB.
    for frequency, weight in [(1000, 0.0), (125, -16.1), (4000, 1.0)]:
        tone = 0.5 * torch.sin(2 * torch.pi * frequency * time)
        assert level(tone[None])[0] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)) + weight, abs=0.1)
    assert level(torch.zeros(2, 1024)).tolist() == [SILENT_DB, SILENT_DB]


def test_the_level_of_noise_is_near_torchcrepes_loudness():
    noise = 0.01 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    ours = level(noise[0].unfold(0, 1024, 160))
    theirs = a_weighted(noise, 16000, 160, pad=False)[0]
    assert np.mean(ours - theirs.numpy()) == pytest.approx(-2.5, abs=0.5)


def test_the_gate_takes_away_what_only_the_network_hears(phrase):
    """A hum that nobody hears is a clear pitch to a network that normalises every frame."""
    waveform = np.where(phrase.f0 > 0, phrase.waveform, 0.0)
    time = np.arange(len(waveform)) / phrase.sample_rate
    hum = 3e-4 * sum(np.sin(2 * np.pi * 100 * k * time) / k for k in range(1, 6))
    samples = torch.from_numpy(waveform + hum)
    results = {}
    for gate in (None, -60.0):
        track = Tracker(TrackConfig(model="tiny", silence_db=gate)).track(samples, phrase.sample_rate)
        results[gate] = score(track.frequency, track.voiced, phrase.f0_at(track.times))
    assert results[None].voicing_false_alarm > 0.3
    assert results[-60.0].voicing_false_alarm < 0.15
    assert results[-60.0].voicing_recall == results[None].voicing_recall


def test_the_probability_is_calibrated_where_the_confidence_is_not():
    """On every second waveform of the fit's kind, with melodies and noise that the fit has not seen."""
    script = Path(__file__).parents[1] / "scripts/calibrate_voicing.py"
    specification = importlib.util.spec_from_file_location("calibrate_voicing", script)
    calibrate = importlib.util.module_from_spec(specification)
    # Its dataclass looks its module up by name.
    sys.modules["calibrate_voicing"] = calibrate
    specification.loader.exec_module(calibrate)
    tracker = Tracker(TrackConfig(model="tiny"))
    rows = []
    for _, waveform, phrase in itertools.islice(calibrate.material(2), 0, None, 2):
        track = tracker.track(torch.from_numpy(waveform), phrase.sample_rate)
        rows.append((track.confidence, track.probability, phrase.f0_at(track.times) > 0))
    confidence, probability, voiced = map(np.concatenate, zip(*rows, strict=True))
    error, _ = calibrate.calibration_error(probability, voiced)
    raw, _ = calibrate.calibration_error(confidence, voiced)
    print("expected calibration error", error, "of the confidence", raw)
    assert error < 0.06
    assert error < raw / 2


@pytest.mark.parametrize("model", [*CALIBRATION, "medium", None])
def test_the_probability_rises_with_the_confidence(model):
    probability = voiced_probability(np.linspace(0, 1, 101, dtype=np.float32), model)
    assert (np.diff(probability) >= 0).all()
    assert probability[0] < 0.2
    assert probability[-1] > 0.9
    assert len(KNOTS) == len(CALIBRATION.get(model, KNOTS))
