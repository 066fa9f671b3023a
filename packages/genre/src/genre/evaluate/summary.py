"""What evaluations come to, in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from genre.evaluate.figures import split_title
from genre.evaluate.metrics import Comparison, compare
from genre.evaluate.result import Evaluation, Split

_CHANCE = 0.05  # what a difference has to be rarer than by chance


def headline(name: str, evaluation: Evaluation) -> str:
    """The accuracy of the stricter way of splitting, and what it is of."""
    split = next(iter(evaluation.splits.values()))
    scores = split.scores
    low, high = scores.interval
    what = {
        "artist": "tracks by artists that the network had not heard",
        "random": "tracks that the network had not heard, though it may know their artists",
    }.get(split.by, "tracks")
    interval = f"95 % interval {_percent(low)} to {_percent(high)}, {_way(scores.interval_over)}"
    accuracy = f"{_percent(scores.accuracy)} of {scores.tracks} {what} ({interval})"
    return f"{name}: {accuracy}, macro-F1 {scores.macro_f1:.3f}."


def gap_sentence(name: str, evaluation: Evaluation) -> str | None:
    """By how much random folds overrate, if both ways of splitting are there."""
    artist, random = evaluation.splits.get("artist"), evaluation.splits.get("random")
    if artist is None or random is None:
        return None
    strict, loose = artist.scores.accuracy, random.scores.accuracy
    points = 100 * (loose - strict)
    text = f"{name}: random folds give {_percent(loose)} and folds by artist {_percent(strict)}"
    if points <= 0:
        return f"{text}; knowing the artists did not help here."
    found = compare(random.is_right, artist.is_right, artist.artists)
    known = "artists and duplicates" if random.copies else "artists"
    cause = (
        f"thanks to {known} that the network has heard" if found.p_value < _CHANCE else "perhaps by chance"
    )
    return f"{text}, {points:.1f} points more, {cause} ({_counts(found, 'random folds', 'folds by artist')})."


@dataclass(frozen=True)
class Versus:
    """Two models, compared.

    Attributes:
        by: The way of splitting.
        models: Their names.
        result: The first against the second.
    """

    by: str
    models: tuple[str, str]
    result: Comparison

    @property
    def sentence(self) -> str:
        """What was found."""
        return f"{_capital(split_title(self.by))}: {_counts(self.result, *self.models)}."


def compare_models(evaluations: Mapping[str, Evaluation]) -> list[Versus]:
    """Each model against the next one, on the tracks and by the ways of splitting that both have."""
    found = []
    for (first, one), (second, other) in pairwise(evaluations.items()):
        for by in one.splits:
            if by not in other.splits:
                continue
            result = compare(one.splits[by].is_right, other.splits[by].is_right, one.splits[by].artists)
            if result.tracks:
                found.append(Versus(by, (first, second), result))
    return found


def leakage_sentences(evaluation: Evaluation) -> list[str]:
    """What is in the corpus twice, and what of it the folds put on both sides."""
    if evaluation.duplicates is None:
        found = ["Duplicates were not looked for."]
    elif not evaluation.duplicates:
        found = ["No recording was found in the corpus twice."]
    else:
        found = [f"Pairs of recordings that are one, exactly or nearly: {len(evaluation.duplicates)}."]
    return found + [text for split in evaluation.splits.values() if (text := _both_sides(split))]


def _both_sides(split: Split) -> str | None:
    parts = []
    if split.copies is not None and split.folds > 1:
        pairs = "pair" if split.copies == 1 else "pairs"
        parts.append(f"{split.copies} {pairs} of duplicates on both sides")
    if split.known_artists is not None:
        parts.append(f"{_percent(split.known_artists)} of the tracks by an artist whom the network has heard")
    elif split.folds > 1:
        parts.append("no artist is known, so the scores may be those of artists rather than of genres")
    return f"{_capital(split_title(split.by))}: {'; '.join(parts)}." if parts else None


def _counts(found: Comparison, first: str, second: str) -> str:
    about = f"of the {found.tracks} tracks that both have answered"
    verb = "is" if found.first_only == 1 else "are"
    only = f"{found.first_only} {verb} right only with {first} and {found.second_only} only with {second}"
    if found.artists is None:
        return f"{about}, {only}; McNemar p = {found.p_value:.2g}"
    points = f"{100 * found.difference:.1f} points"
    if found.interval is not None:
        low, high = (100 * end for end in found.interval)
        points += f" (95 % interval {low:.1f} to {high:.1f}, bootstrap over {found.artists} artists)"
    return f"{about}, {only}: {points}; p = {found.p_value:.2g} by exchange within artists"


def _way(drawn: str) -> str:
    return "by Wilson, as if tracks were independent" if drawn == "tracks" else f"bootstrap over {drawn}"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
