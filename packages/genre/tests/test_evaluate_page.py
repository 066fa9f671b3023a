import json
import re

import numpy as np
import pytest

from audio_io.errors import ConfigError
from genre.evaluate.page import write_report
from genre.evaluate.result import Evaluation, HeldOut, Run, Split, as_written

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
        "random folds give 95 % and folds by artist 80 %, 15.0 points more, thanks to artists and duplicates",
        "of the 60 tracks that both have answered, 9 are right only with random folds and 0 only with",
        "only with folds by artist; McNemar p = 0.0039",
        "Folds by artist: of the 60 tracks that both have answered, 15 are right only with four stems and",
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
