import itertools

import numpy as np
import pytest
from sklearn import metrics as reference

from genre.evaluate.calibration import apply_temperature, calibration_error, fit_temperature, reliability
from genre.evaluate.metrics import artist_interval, compare, measure, wilson_interval


def draw(tracks, classes, seed, scale=2.0):
    """Logits, and truths drawn from their softmax: perfectly calibrated at temperature 1."""
    rng = np.random.default_rng(seed)
    logits = scale * rng.standard_normal((tracks, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (probabilities.cumsum(axis=1) < rng.random((tracks, 1))).sum(axis=1)
    return logits, probabilities, truth


def test_scores_are_those_of_scikit_learn():
    _, probabilities, truth = draw(500, 7, seed=0)
    labels = tuple("abcdefg")
    scores = measure(truth, probabilities, labels)
    answers = probabilities.argmax(axis=1)
    assert scores.accuracy == pytest.approx(reference.accuracy_score(truth, answers))
    assert scores.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(truth, answers))
    assert scores.macro_f1 == pytest.approx(reference.f1_score(truth, answers, average="macro"))
    assert scores.nll == pytest.approx(reference.log_loss(truth, probabilities))
    report = reference.classification_report(truth, answers, target_names=labels, output_dict=True)
    for entry in scores.classes:
        found = (entry.precision, entry.recall, entry.f1, entry.support)
        assert found == pytest.approx(tuple(report[entry.label].values()))
    assert np.array_equal(scores.confusion, reference.confusion_matrix(truth, answers))


def test_scores_by_hand():
    truth = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.3, 0.7, 0.0], [0.2, 0.8, 0.0]])
    scores = measure(truth, probabilities, ("a", "b", "c"))
    assert scores.confusion == ((1, 1, 0), (0, 2, 0), (0, 0, 0))
    # Means over the two genres that have tracks.
    assert (scores.accuracy, scores.balanced_accuracy) == (0.75, 0.75)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores.nll == pytest.approx(-np.log([0.9, 0.4, 0.7, 0.8]).mean())
    assert scores.brier == pytest.approx(2 * (0.1**2 + 0.6**2 + 0.3**2 + 0.2**2) / 4)
    # Each confidence has a bin of its own.
    assert scores.ece == pytest.approx((0.1 + 0.6 + 0.3 + 0.2) / 4)
    # 3 of 4 with z = 1.959964: (p + z²/2n ± z sqrt(p(1 - p)/n + z²/4n²)) / (1 + z²/n).
    assert scores.interval == pytest.approx((0.30064, 0.95441), abs=1e-5)


def test_an_interval_stays_within_its_bounds():
    low, high = wilson_interval(10, 10)
    assert high == pytest.approx(1.0)
    assert low == pytest.approx(10 / (10 + 1.959964**2), abs=1e-6)
    assert wilson_interval(0, 10)[0] == pytest.approx(0.0, abs=1e-12)


def test_the_calibration_error_of_calibrated_probabilities_is_that_of_chance():
    _, probabilities, truth = draw(200_000, 10, seed=1)
    assert calibration_error(reliability(truth, probabilities)) < 0.004
    squared = probabilities**2 / (probabilities**2).sum(axis=1, keepdims=True)
    assert calibration_error(reliability(truth, squared)) > 0.1


def test_bins_have_their_upper_end():
    probabilities = np.array([[1.0, 0.0], [0.8, 0.2], [0.5, 0.5]])
    bins = reliability(np.array([0, 1, 0]), probabilities, bins=5)
    assert [entry.count for entry in bins] == [0, 0, 1, 1, 1]
    assert (bins[3].low, bins[3].high, bins[3].confidence, bins[3].accuracy) == pytest.approx(
        (0.6, 0.8, 0.8, 0)
    )


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_recovered(temperature):
    logits, _, truth = draw(20_000, 10, seed=2)
    found = fit_temperature(list(temperature * logits[:, None]), truth)
    assert found == pytest.approx(temperature, rel=0.02)


def test_the_temperature_minimises_the_likelihood_of_the_vote_over_windows():
    rng = np.random.default_rng(3)
    truth = rng.integers(4, size=60)
    tracks = [3 * rng.standard_normal((rng.integers(1, 5), 4)) + 2 * np.eye(4)[label] for label in truth]

    def loss(temperature):
        shares = np.stack([apply_temperature(windows, temperature) for windows in tracks])
        target = np.full((60, 4), 1 / 62 / 3)
        target[np.arange(60), truth] = 61 / 62
        return -(target * np.log(shares)).sum(axis=1).mean()

    found = fit_temperature(tracks, truth)
    assert all(loss(found) < loss(value) for value in np.geomspace(0.05, 20, 60))
    assert loss(found) < min(loss(0.995 * found), loss(1.005 * found))
    # A constant in a row, which logarithms of probabilities lack, changes nothing.
    shifted = [windows - windows.max() for windows in tracks]
    assert fit_temperature(shifted, truth) == pytest.approx(found, rel=1e-5)


def test_right_answers_alone_do_not_make_a_network_certain():
    truth = np.arange(30) % 3
    logits = [4 * np.eye(3)[[label]] for label in truth]
    share = apply_temperature(logits[0], fit_temperature(logits, truth))[0]
    # The optimum gives the target itself: 31 of 32.
    assert share == pytest.approx(31 / 32, abs=1e-4)


def test_answers_are_compared_by_the_exact_test_of_mcnemar():
    first = {f"t{i}": i < 16 for i in range(20)}
    second = {f"t{i}": i % 2 == 1 or i >= 18 for i in range(20)} | {"other": True}
    found = compare(first, second)
    assert (found.tracks, found.first_only, found.second_only) == (20, 8, 3)
    # Two-sided: twice the share of the 2^11 outcomes with at most 3 of 11.
    assert found.p_value == pytest.approx(2 * (1 + 11 + 55 + 165) / 2**11)
    assert (found.artists, found.interval) == (None, None)
    assert compare(first, first).p_value == 1.0


def test_with_artists_whole_artists_change_sides():
    # The sums of four artists are 6, 2, -1 and 0.
    answers = {"a": (6, 0), "b": (3, 1), "c": (0, 1), "d": (2, 2)}
    first, second, artists = {}, {}, {}
    for artist, (ahead, behind) in answers.items():
        for number in range(6):
            track = f"{artist}{number}"
            artists[track] = artist
            first[track], second[track] = number < ahead, number >= 6 - behind
    found = compare(first, second, artists)
    sums = [sum(first[t] - second[t] for t in artists if artists[t] == name) for name in answers]
    assert sums == [6, 2, -1, 0]
    assert (found.tracks, found.artists, found.difference) == (24, 4, pytest.approx(7 / 24))
    signs = itertools.product((-1, 1), repeat=4)
    totals = [abs(sum(sign * size for sign, size in zip(way, sums, strict=True))) for way in signs]
    assert found.p_value == sum(total >= 7 for total in totals) / 16
    assert found.interval[0] < 0 < found.difference < found.interval[1]
    assert compare(first, second).p_value < 0.5 * found.p_value  # as if the tracks were independent


def test_an_interval_over_artists_of_one_track_is_that_of_the_normal_distribution():
    right = np.arange(400) % 5 > 0
    low, high = artist_interval(right, [str(number) for number in range(400)])
    np.testing.assert_allclose((low, high), 0.8 + 1.96 * 0.02 * np.array([-1, 1]), atol=0.004)
    assert (low, high) == artist_interval(right, [str(number) for number in range(400)])


def test_artists_are_weighted_by_their_tracks():
    # Two artists of 1 and 9 tracks: a draw has 0 of 2, 9 of 10 or 18 of 18.
    low, high = artist_interval([False] + 9 * [True], ["a"] + 9 * ["b"])
    assert (low, high) == (0.0, 1.0)


def test_nothing_but_right_answers_leaves_an_interval_of_as_many_artists():
    artists = [str(number // 6) for number in range(60)]
    assert artist_interval(60 * [True], artists) == wilson_interval(10, 10)
    assert artist_interval(60 * [False], artists) == wilson_interval(0, 10)


def test_an_interval_over_artists_has_the_truth_where_one_over_tracks_has_not():
    rng = np.random.default_rng(5)
    artists = [str(number // 6) for number in range(120)]
    share, spread = 0.8, 2.0  # artists differ as a beta distribution does
    covered = np.zeros(2)
    for _ in range(300):
        chances = rng.beta(share * spread, (1 - share) * spread, 20).repeat(6)
        right = rng.random(120) < chances
        for way, (low, high) in enumerate(
            (artist_interval(right, artists), wilson_interval(int(right.sum()), 120))
        ):
            covered[way] += low <= share <= high
    # Nominally 0.95; a share of 300 has a standard deviation of 0.015.
    assert covered[0] / 300 > 0.9
    assert covered[1] / 300 < 0.83
