import math

import mir_eval
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_io.errors import ConfigError
from pitch.evaluate import Tally, score
from pitch.evaluate.metrics import TOLERANCES_CENTS, at_times


def _random_melody(seed, frames):
    rng = np.random.default_rng(seed)
    truth = np.where(rng.random(frames) < 0.7, rng.uniform(80, 800, frames), 0.0)
    truth[:2] = (200.0, 0.0)
    octaves = rng.choice([-1, 0, 0, 0, 0, 0, 0, 1, 2], frames)
    estimate = np.where(truth > 0, truth, 300) * 2 ** (octaves + rng.normal(0, 40, frames) / 1200)
    return truth, estimate, rng.random(frames) < 0.6


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), frames=st.integers(2, 200), tolerance=st.sampled_from((50.0, 25.0, 10.0)))
@pytest.mark.filterwarnings("ignore:Estimated melody has no voiced frames")
def test_scores_are_those_of_mir_eval(seed, frames, tolerance):
    truth, estimate, voiced = _random_melody(seed, frames)
    found = score(estimate, voiced, truth, tolerance_cents=tolerance)
    arguments = (truth > 0, mir_eval.melody.hz2cents(truth), voiced, mir_eval.melody.hz2cents(estimate))
    options = {"cent_tolerance": tolerance}
    accuracy = mir_eval.melody.raw_pitch_accuracy(*arguments, **options)
    chroma = mir_eval.melody.raw_chroma_accuracy(*arguments, **options)
    recall, false_alarm = mir_eval.melody.voicing_measures(truth > 0, voiced)
    assert found.raw_pitch_accuracy == pytest.approx(accuracy)
    assert found.raw_chroma_accuracy == pytest.approx(chroma)
    assert found.octave_errors == pytest.approx(chroma - accuracy)
    assert found.overall_accuracy == pytest.approx(mir_eval.melody.overall_accuracy(*arguments, **options))
    assert found.voicing_recall == pytest.approx(recall)
    assert found.voicing_false_alarm == pytest.approx(false_alarm)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), hop=st.sampled_from((128 / 44100, 0.005, 0.01, 0.02)))
def test_estimates_reach_the_times_of_the_truth_as_in_mir_eval(seed, hop):
    rng = np.random.default_rng(seed)
    times, frequency = np.arange(60) * 0.01, rng.uniform(80, 800, 60)
    voiced = rng.random(60) < 0.6
    truth_times = np.arange(0, 0.59, hop)
    truth = rng.uniform(80, 800, len(truth_times))
    found, called = at_times(truth_times, times, frequency, voiced)
    _, _, reference_voiced, reference_cents = mir_eval.melody.to_cent_voicing(
        truth_times, truth, times, frequency, est_voicing=voiced.astype(float)
    )
    np.testing.assert_allclose(mir_eval.melody.hz2cents(found), reference_cents, atol=1e-6)
    np.testing.assert_array_equal(called, reference_voiced.astype(bool))


def test_the_error_in_cents_in_closed_form():
    truth = np.full(101, 440.0)
    estimate = truth * 2 ** (np.arange(101) / 1200)
    found = score(estimate, np.ones(101, dtype=bool), truth, tolerance_cents=50.5)
    assert found.median_cents == pytest.approx(50.0)
    assert found.percentile95_cents == pytest.approx(95.0)
    assert found.raw_pitch_accuracy == pytest.approx(51 / 101)
    assert math.isnan(found.voicing_false_alarm)


def test_tallies_of_parts_add_up_to_the_scores_of_the_whole():
    truth, estimate, voiced = _random_melody(3, 5000)
    parts = np.array_split(np.arange(5000), 7)
    total = sum((Tally.count(estimate[p], voiced[p], truth[p]) for p in parts), Tally.nothing())
    total = Tally.from_json(total.to_json())
    whole = score(estimate, voiced, truth)
    for name, value in vars(total.scores()).items():
        # Percentiles come from bins of 0.5 cents, beyond 200 cents of 10 cents.
        tolerance = {"median_cents": 0.5, "percentile95_cents": 10.0}.get(name, 1e-12)
        assert value == pytest.approx(getattr(whole, name), abs=tolerance), name
    for tolerance in TOLERANCES_CENTS:
        expected = score(estimate, voiced, truth, tolerance_cents=tolerance).raw_pitch_accuracy
        assert total.accuracy(tolerance) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("truth", "message"),
    [(np.zeros(3), "no voiced frame"), (np.ones(4), r"shape \(4,\), expected that of the estimate, \(3,\)")],
)
def test_a_truth_that_cannot_be_compared_is_refused(truth, message):
    with pytest.raises(ConfigError, match=message):
        score(np.full(3, 100.0), np.ones(3, dtype=bool), truth)


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_a_sung_frame_without_an_estimate_is_named(value):
    message = rf"^frequency: found {value} Hz in frame 1, which is truly voiced, expected a pitch there"
    with pytest.raises(ConfigError, match=message):
        score([440.0, value], [True, False], [440.0, 440.0])
    assert score([440.0, value], [True, False], [440.0, 0.0]).raw_pitch_accuracy == 1
