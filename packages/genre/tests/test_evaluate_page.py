import json
import re
from dataclasses import replace

import numpy as np
import pytest

from audio_io.errors import ConfigError
from genre.evaluate.page import write_report
from genre.evaluate.result import Evaluation, HeldOut, Run, Split, as_written
from genre.evaluate.summary import compare_models, gap_sentence, headline

LABELS = ("blues", "jazz & soul", "演歌")


def split(by, wrong, copies):
    """Sixty tracks in three folds, the first of which are answered wrongly."""
    truth = np.arange(60) % 3
    tracks = tuple(HeldOut(f"<t{i}>", LABELS[k], f"artist {i // 6}", 1 + i % 3) for i, k in enumerate(truth))
    shares = np.full((60, 3), 0.1)
    answers = np.where(np.arange(60) < wrong, (truth + 1) % 3, truth)
    shares[np.arange(60), answers] += np.linspace(0.5, 0.7, 60)
    shares /= shares.sum(axis=1, keepdims=True)
    sharp = shares**2 / (shares**2).sum(axis=1, keepdims=True)
    return Split(
        by=by,
        labels=LABELS,
        tracks=tracks,
        seeds=(1, 2),
        raw=as_written(np.stack([sharp, sharp])),
        calibrated=as_written(np.stack([shares, shares])),
        runs=tuple(Run(fold, seed, 4, 0.9, 1.7) for fold in (1, 2, 3) for seed in (1, 2)),
        folds=5,
        copies=copies,
        known_artists=0.0 if by == "artist" else 1.0,
    )


EVALUATIONS = {
    "four stems": Evaluation(
        LABELS,
        {"artist": split("artist", 12, 0), "random": split("random", 3, 1)},
        duplicates=("a = b: the same samples",),
        problems=("x.wav: found nothing, expected a sound",),
    ),
    "mixture": Evaluation(LABELS, {"artist": split("artist", 27, None)}),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return folder, write_report(EVALUATIONS, folder, "Genres of <songs>").read_text(encoding="utf-8")


def test_the_page_says_what_was_found(report):
    _, page = report
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    for sentence in (
        "four stems: 80 % of 60 tracks by artists that the network had not heard",
        "Random folds: 1 pair of duplicates on both sides; 100 % of the tracks by an artist whom",
        "a = b: the same samples",
        "x.wav: found nothing, expected a sound",
        # Of the nine tracks, six are by one artist and three by another.
        "random folds give 95 % and folds by artist 80 %, 15.0 points more, perhaps by chance",
        "of the 60 tracks that both have answered, 9 are right only with random folds and 0 only with folds",
        "folds by artist: 15.0 points (95 % interval 0.0 to 45.0, bootstrap over 10 artists); p = 0.5 by",
        "Folds by artist: of the 60 tracks that both have answered, 15 are right only with four stems and",
        "bootstrap over 10 artists), macro-F1",
        "mean of the probabilities",
        "The networks (3 of 5 folds)",
        "Wrong answers, the most confident first (27)",
        "jazz &amp; soul",
        "&lt;t11&gt;",
    ):
        assert sentence in text
    assert text.index("pair of duplicates") < text.index("80 % of 60 tracks")
    # The most confident of the twelve errors is the last one.
    assert text.index("&lt;t11&gt;") < text.index("&lt;t0&gt;")


def test_without_artists_the_tracks_count_as_independent_and_it_is_said():
    def anonymous(name):
        splits = EVALUATIONS[name].splits
        tracks = {by: tuple(replace(t, artist=None) for t in part.tracks) for by, part in splits.items()}
        return Evaluation(LABELS, {by: replace(part, tracks=tracks[by]) for by, part in splits.items()})

    four, mixture = anonymous("four stems"), anonymous("mixture")
    assert "95 % interval 68.2 % to 88.2 %, by Wilson, as if tracks were independent" in headline("x", four)
    assert "15.0 points more, thanks to artists and duplicates" in gap_sentence("x", four)
    assert gap_sentence("x", four).endswith("only with folds by artist; McNemar p = 0.0039).")
    (found,) = compare_models({"four stems": four, "mixture": mixture})
    assert found.result.interval is None
    assert found.sentence.endswith("0 only with mixture; McNemar p = 6.1e-05.")


def test_the_page_needs_no_other_file(report):
    folder, page = report
    assert "<script" not in page
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)', page))
    assert not re.search(r"https?://|url\(|<link", page)
    names = {path.name for path in folder.glob("*.png")}
    parts = ("four_stems_artist", "four_stems_random", "mixture_artist")
    assert names == {"accuracy.png", "genres.png"} | {
        f"{kind}_{part}.png" for kind in ("confusion", "reliability") for part in parts
    }


def test_the_numbers_are_those_of_the_evaluations(report):
    folder, _ = report
    models = json.loads((folder / "report.json").read_text())["models"]
    found = models["four stems"]["splits"]["artist"]
    assert found["after_temperature"]["interval_over"] == "10 artists"
    (versus,) = json.loads((folder / "report.json").read_text())["comparisons"]
    assert versus["result"]["artists"] == 10
    assert versus["result"]["difference"] == 0.25
    assert versus["models"] == ["four stems", "mixture"]
    artist = EVALUATIONS["four stems"].splits["artist"]
    assert found["after_temperature"]["accuracy"] == artist.scores.accuracy == 0.8
    assert found["after_temperature"]["classes"][2]["label"] == "演歌"
    assert found["before_temperature"]["ece"] == artist.scores_before.ece
    assert found["fold_deviation"] == pytest.approx(np.std(list(found["folds"].values()), ddof=1))
    assert found["seeds"]["2"]["accuracy"] == 0.8
    assert models["mixture"]["splits"]["artist"]["wrong"] == 27


def test_names_of_models_are_no_formulas(tmp_path):
    assert write_report({"$a_$": EVALUATIONS["mixture"]}, tmp_path, "$b_$").is_file()


def test_nothing_is_no_report(tmp_path):
    with pytest.raises(ConfigError, match="evaluations: found nothing"):
        write_report({}, tmp_path, "Nothing")
