import math

import mir_eval
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_io.errors import ConfigError
from pitch.evaluate import score


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), frames=st.integers(2, 200))
@pytest.mark.filterwarnings("ignore:Estimated melody has no voiced frames")
def test_scores_are_those_of_mir_eval(seed, frames):
    rng = np.random.default_rng(seed)
    truth = np.where(rng.random(frames) < 0.7, rng.uniform(80, 800, frames), 0.0)
    truth[:2] = (200.0, 0.0)
    estimate = np.where(truth > 0, truth, 300) * 2 ** (rng.normal(0, 60, frames) / 1200)
    voiced = rng.random(frames) < 0.6

    found = score(estimate, voiced, truth)
    reference_cents = mir_eval.melody.hz2cents(truth)
    estimate_cents = mir_eval.melody.hz2cents(estimate)
    accuracy = mir_eval.melody.raw_pitch_accuracy(truth > 0, reference_cents, voiced, estimate_cents)
    recall, false_alarm = mir_eval.melody.voicing_measures(truth > 0, voiced)
    assert found.raw_pitch_accuracy == pytest.approx(accuracy)
    assert found.voicing_recall == pytest.approx(recall)
    assert found.voicing_false_alarm == pytest.approx(false_alarm)


def test_the_error_in_cents_in_closed_form():
    truth = np.full(101, 440.0)
    estimate = truth * 2 ** (np.arange(101) / 1200)
    found = score(estimate, np.ones(101, dtype=bool), truth, tolerance_cents=50.5)
    assert found.median_cents == pytest.approx(50.0)
    assert found.percentile95_cents == pytest.approx(95.0)
    assert found.raw_pitch_accuracy == pytest.approx(51 / 101)
    assert math.isnan(found.voicing_false_alarm)


@pytest.mark.parametrize(
    ("truth", "message"),
    [(np.zeros(3), "no voiced frame"), (np.ones(4), r"shape \(4,\), expected that of the estimate, \(3,\)")],
)
def test_a_truth_that_cannot_be_compared_is_refused(truth, message):
    with pytest.raises(ConfigError, match=message):
        score(np.full(3, 100.0), np.ones(3, dtype=bool), truth)
