import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitch.notes import note_name
from pitch.result import Overview, Track


def make_track(frequency, confidence, threshold=0.5):
    overview = Overview()
    overview.add(np.zeros((len(frequency), 360), dtype=np.float32))
    return Track(
        frequency=np.asarray(frequency, dtype=np.float32),
        confidence=np.asarray(confidence, dtype=np.float32),
        hop_seconds=0.01,
        duration=len(frequency) * 0.01,
        threshold=threshold,
        overview=overview,
    )


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.integers(0, 40), min_size=1, max_size=12), seed=st.integers(0, 999))
def test_the_overview_pools_consecutive_frames_however_they_arrive(batches, seed):
    posteriors = np.random.default_rng(seed).random((sum(batches), 360), dtype=np.float32)
    overview = Overview(max_columns=8)
    start = 0
    for size in batches:
        overview.add(posteriors[start : start + size])
        start += size
    step = overview.frames_per_column
    expected = [posteriors[i : i + step].max(axis=0) for i in range(0, len(posteriors), step)]
    assert len(expected) <= 9
    np.testing.assert_array_equal(overview.image(), np.array(expected).reshape(-1, 360).T)


def test_a_short_recording_is_shown_frame_by_frame():
    overview = Overview()
    overview.add(np.ones((100, 360), dtype=np.float32))
    assert overview.image().shape == (360, 100)


def test_the_csv_begins_with_the_columns_of_crepe_and_keeps_the_numbers(tmp_path):
    track = make_track([220.0, 246.9417], [0.25, 1.0])
    track.save_csv(tmp_path / "new folder/a.csv")
    with (tmp_path / "new folder/a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["time", "frequency", "confidence", "voiced"],
        ["0.000000", "220.000", "0.250000", "0"],
        ["0.010000", "246.942", "1.000000", "1"],
    ]


def test_the_summary_speaks_of_the_voiced_frames_only():
    frequency = np.concatenate([np.full(50, 1900.0), np.linspace(200, 400, 101)])
    confidence = np.concatenate([np.full(50, 0.1), np.full(101, 0.9)])
    summary = make_track(frequency, confidence).summary()
    assert summary.lowest == pytest.approx(204.0)
    assert summary.median == pytest.approx(300.0)
    assert summary.highest == pytest.approx(396.0)
    assert summary.voiced_share == pytest.approx(101 / 151)
    assert summary.lines() == [
        "range   204.0 to 396.0 Hz (G♯3 -31 cents to G4 +18 cents)",
        "median  300.0 Hz (D4 +37 cents)",
        "voiced  67% of 151 frames",
    ]


def test_a_recording_without_pitch_says_so():
    summary = make_track([100.0, 100.0], [0.0, 0.4]).summary()
    assert summary.median is None
    assert summary.lines() == ["voiced  0% of 2 frames: no pitch found"]


def test_the_threshold_itself_is_voiced():
    assert make_track([1, 1, 1], [0.0999, 0.1, 0.2], threshold=0.1).voiced.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("frequency", "name"),
    [(27.5, "A0 +0 cents"), (261.6256, "C4 +0 cents"), (466.16, "A♯4 +0 cents"), (453.0, "A♯4 -50 cents")],
)
def test_note_names(frequency, name):
    assert note_name(frequency) == name
