"""Contours whose vibrato, intonation and drift are known exactly."""

import numpy as np
import pytest

from audio_io.errors import ConfigError
from pitch import AnalysisConfig, analyze_track
from pitch.analysis.intonation import drift, estimate_tuning, nearest_degree
from pitch.analysis.vibrato import measure_vibrato
from pitch.result import Overview, Track

NOISE_CENTS = 2.0  # of a tracker


def track_of(midi, *, voiced=True):
    """A track of the MIDI note numbers, one every 10 ms."""
    midi = np.asarray(midi, dtype=np.float64)
    return Track(
        frequency=(440 * 2 ** ((midi - 69) / 12)).astype(np.float32),
        confidence=(np.zeros(len(midi)) + voiced).astype(np.float32),
        hop_seconds=0.01,
        duration=len(midi) * 0.01,
        threshold=0.5,
        overview=Overview(),
    )


def vibrato_contour(rate, extent, onset, growth, seconds, *, hop=0.01, seed=0):
    """Times, and cents of a note whose vibrato grows from its onset on over a rising trend."""
    time = np.arange(0, seconds, hop)
    wave = extent * np.clip((time - onset) / growth, 0, 1) * np.sin(2 * np.pi * rate * time + 1)
    noise = NOISE_CENTS * np.random.default_rng(seed).standard_normal(len(time))
    return time, wave + 15 * time / seconds + noise


CASES = [
    (5.5, 45, 0.25, 0.2, 1.0, 0.01),
    (4.5, 60, 0.0, 0.02, 1.5, 0.01),
    (5.0, 30, 0.3, 0.1, 2.0, 0.005),
    (6.5, 100, 0.5, 0.4, 3.0, 0.01),
    (7.0, 20, 0.2, 0.2, 1.0, 0.01),
    (6.0, 50, 0.25, 0.2, 8.0, 0.02),
]


@pytest.mark.parametrize(("rate", "extent", "onset", "growth", "seconds", "hop"), CASES)
def test_vibrato_is_recovered(rate, extent, onset, growth, seconds, hop):
    time, cents = vibrato_contour(rate, extent, onset, growth, seconds, hop=hop)
    gap = (time > 0.6 * seconds) & (time < 0.6 * seconds + 0.05)
    vibrato, rest = measure_vibrato(time[~gap] + 7, cents[~gap])
    assert vibrato.rate == pytest.approx(rate, abs=0.1)
    assert vibrato.extent == pytest.approx(extent, abs=3)
    assert vibrato.onset == pytest.approx(onset, abs=0.06)
    assert vibrato.regularity > 0.95
    assert np.std(rest - 15 * time[~gap] / seconds) < 0.12 * extent + NOISE_CENTS


def test_a_wandering_rate_is_measured_and_called_irregular():
    time = np.arange(0, 5, 0.01)
    rate = 6 + 0.5 * np.sin(2 * np.pi * 0.4 * time)
    vibrato, _ = measure_vibrato(time, 50 * np.sin(2 * np.pi * np.cumsum(rate) * 0.01))
    assert vibrato.rate == pytest.approx(6.0, abs=0.1)
    assert vibrato.extent == pytest.approx(50, abs=3)
    # Half of 0.5 Hz squared is the variance of a sine.
    assert vibrato.rate_deviation == pytest.approx(0.5 / np.sqrt(2), abs=0.08)
    assert vibrato.regularity == pytest.approx(1 - vibrato.rate_deviation / vibrato.rate)


def test_noise_glides_and_short_notes_have_no_vibrato():
    rng = np.random.default_rng(1)
    time = np.arange(0, 2, 0.01)
    found = [
        measure_vibrato(time[:length], scale * rng.standard_normal(length))[0]
        for length in (60, 100, 200)
        for scale in (3, 30)
        for _ in range(10)
    ]
    assert found == [None] * 60
    assert measure_vibrato(time, 200 * np.tanh(3 * (time - 1)))[0] is None
    assert measure_vibrato(time, 300 * np.exp(-time / 0.06))[0] is None
    time, cents = vibrato_contour(5.5, 50, 0.0, 0.02, 0.3)  # 1.65 cycles
    assert measure_vibrato(time, cents)[0] is None


def melody(deviations, *, seconds=0.5, rest=0.1, base=60):
    """A note of `base` and up the major scale, again and again, each off by its cents; a rest between."""
    scale = (0, 2, 4, 5, 7, 9, 11, 12)
    midi, voiced = [], []
    for index, cents in enumerate(deviations):
        midi += [base + scale[index % 8] + cents / 100] * round((seconds + rest) * 100)
        voiced += [True] * round(seconds * 100) + [False] * round(rest * 100)
    return track_of(midi, voiced=np.array(voiced))


def test_deviations_are_recovered_against_a_given_tuning():
    deviations = [10.0, -20.0, 5.0, 30.0, 0.0, -5.0]
    analysis = analyze_track(melody(deviations), AnalysisConfig(tuning=440.0))
    assert [note.deviation_cents for note in analysis.notes] == pytest.approx(deviations, abs=0.05)
    song = analysis.song
    assert song.accuracy_cents == pytest.approx(np.mean(deviations), abs=0.2)
    assert song.precision_cents == pytest.approx(np.std(deviations), abs=0.2)
    assert song.absolute_deviation_cents == pytest.approx(np.mean(np.abs(deviations)), abs=0.2)
    assert song.in_tune_share == pytest.approx(5 / 6, abs=0.01)
    assert not song.tuning_is_estimated
    assert (song.lowest_name, song.highest_name) == ("C4", "A4")
    assert song.range_semitones == pytest.approx(9 - 0.15, abs=0.01)


def test_the_tuning_is_estimated_from_the_notes_also_across_the_quarter_tone():
    for tuning in (440.0, 442.0, 428.5, 451.0):
        shift = 1200 * np.log2(tuning / 440)
        analysis = analyze_track(melody(np.array([4.0, -4.0] * 4) + shift))
        assert analysis.song.tuning_hz == pytest.approx(tuning, abs=0.05)
        assert analysis.song.absolute_deviation_cents == pytest.approx(4.0, abs=0.1)
    assert estimate_tuning([], []) == 440.0


def test_the_scale_says_which_note_was_meant():
    track = track_of(np.full(80, 66.4))  # F♯4 and 40 cents
    tuned = {"tuning": 440.0}
    (chromatic,) = analyze_track(track, AnalysisConfig(**tuned)).notes
    assert (chromatic.name, round(chromatic.deviation_cents)) == ("F♯4", 40)
    (major,) = analyze_track(track, AnalysisConfig(scale="major", tonic="C", **tuned)).notes
    assert (major.name, round(major.deviation_cents)) == ("G4", -60)
    (other,) = analyze_track(track, AnalysisConfig(scale="major", tonic="Bb", **tuned)).notes
    assert other.name == "G4"
    assert AnalysisConfig(scale="major", tonic="D").degrees == {2, 4, 6, 7, 9, 11, 1}
    assert AnalysisConfig(scale="minor", tonic="Bb").degrees == {10, 0, 1, 3, 5, 6, 8}
    assert AnalysisConfig(tonic="F#", scale="minor_pentatonic").degrees == {6, 9, 11, 1, 4}
    assert nearest_degree(0.2, frozenset({11})) == -1


def test_drift_is_recovered_and_one_wrong_note_does_not_move_it():
    count = 60
    onsets = np.arange(count) * 0.6
    deviations = -12 * onsets / 60  # 12 cents a minute down
    deviations[30] += 45
    analysis = analyze_track(melody(deviations), AnalysisConfig(tuning=440.0))
    assert analysis.song.drift_cents_per_min == pytest.approx(-12, abs=0.3)
    assert analyze_track(melody(deviations[:10])).song.drift_cents_per_min is None
    assert drift([0, 60], [0, 5]) == pytest.approx(5)


def test_attack_and_stability_are_recovered_and_vibrato_is_none_of_them():
    time = np.arange(0, 2, 0.01)
    settling = -150 * np.exp(-time / 0.05)  # within 30 cents after 80 ms
    wave = np.where(time > 0.4, 40 * np.sin(2 * np.pi * 6 * time), 0)
    for contour, vibrato in ((settling, False), (settling + wave, True)):
        (note,) = analyze_track(track_of(60 + contour / 100), AnalysisConfig(tuning=440.0)).notes
        assert note.attack_s == pytest.approx(0.08, abs=0.011)
        assert note.attack_cents == pytest.approx(settling[:3].mean(), abs=5)
        assert note.stability_cents < 8
        assert abs(note.deviation_cents) < 2
        assert (note.vibrato is not None) == vibrato


def test_nothing_sung_is_nothing_measured():
    analysis = analyze_track(track_of(np.full(50, 60.0), voiced=False))
    assert analysis.notes == ()
    assert analysis.song.accuracy_cents is None
    assert analysis.song.lines() == ["notes       none found"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tuning": 44.0}, "tuning: found 44.0, expected from 380.0 to 500.0"),
        ({"scale": "mayor"}, "scale: found 'mayor', expected one of chromatic"),
        ({"tonic": "H"}, "tonic: found 'H', expected one of C"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        AnalysisConfig(**settings)
