"""Recordings that are in a corpus more than once, before they are on both sides of a split.

Exact copies have the same decoded samples, whatever container holds them. Near duplicates are cuts, louder or
noisy versions and lossy compressions of one recording; see `genre.fingerprint`. What was sped up, or played
again, is not found.
"""

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

import audio_io
from audio_io.atomic import write_json
from audio_io.errors import AudioError
from audio_io.progress import Progress
from genre.eda import load_sound, samples_digest
from genre.fingerprint import RATE, Landmarks, correlate, find_landmarks, find_matches
from genre.folds import Fold
from genre.layouts import Corpus, Track

# Of 300 rendered songs, different ones have at most 0.13 of their landmarks in common and correlate with 0.23
# at most; cut to 5 s with noise at 20 dB and as MP3, a song keeps 0.05 and correlates with 0.68 at least.
CANDIDATE_SHARE = 0.03
LEAST_CORRELATION = 0.45
LEAST_OVERLAP = 2.0  # s
_SILENT = 1e-3  # peak; silence of one length is no song twice
_KEPT = 16  # waveforms in memory


@dataclass(frozen=True)
class Pair:
    """Two recordings that are one.

    Attributes:
        first: Id of a track.
        second: Id of another.
        kind: Whether their samples are the same.
        correlation: Of the waveforms where they overlap, from 0 to 1.
        offset: Where the second begins in the first, in s.
        parts: Where they are: `train`, `test` or `train and test`.
        labels: Their genres, empty for a test track.
    """

    first: str
    second: str
    kind: Literal["exact", "near"]
    correlation: float
    offset: float
    parts: str
    labels: tuple[str, str]

    @property
    def conflicts(self) -> bool:
        """Whether one recording has two genres."""
        return all(self.labels) and self.labels[0] != self.labels[1]

    def sentence(self) -> str:
        """What was found, for the terminal."""
        about = f"the same recording, correlation {self.correlation:.2f} at {self.offset:+.2f} s"
        text = f"{self.first} = {self.second}: {'the same samples' if self.kind == 'exact' else about}"
        if self.conflicts:
            text += f", but different labels ({' and '.join(self.labels)})"
        return text + (f", in {self.parts}" if self.parts != "train" else "")


@dataclass(frozen=True)
class Leakage:
    """What is in a corpus more than once.

    Attributes:
        pairs: Recordings that are one, training tracks first.
        problems: Recordings that could not be read, a sentence each.
        recordings: How many were compared.
    """

    pairs: tuple[Pair, ...]
    problems: tuple[str, ...]
    recordings: int

    @property
    def together(self) -> list[tuple[str, str]]:
        """The pairs as `genre.folds.folds` takes them, to be kept on the same side."""
        return [(pair.first, pair.second) for pair in self.pairs]

    @property
    def across(self) -> list[Pair]:
        """Pairs of a training and a test track."""
        return [pair for pair in self.pairs if pair.parts == "train and test"]


@dataclass(frozen=True)
class Torn:
    """What some folds put on both sides.

    Attributes:
        pairs: Duplicates of which a fold trains on one and validates on the other.
        artists: Share of the validation tracks whose artist is in their training tracks, from 0 to 1; None if
            no artist is known.
    """

    pairs: int
    artists: float | None


def find_leakage(corpus: Corpus) -> Leakage:
    """Compare every recording of a corpus with every other; test tracks too.

    Args:
        corpus: From `genre.layouts.read_corpus`.
    """
    tracks: list[Track] = []
    digests: list[str] = []
    landmarks: list[Landmarks] = []
    problems: list[str] = []
    everything = (*corpus.tracks, *corpus.test)
    with Progress("fingerprint", len(everything), "tracks") as progress:
        for track in everything:
            try:
                waveform, rate = load_sound(track.path)
            except AudioError as error:
                problems.append(str(error))
            else:
                if waveform.abs().max() > _SILENT:
                    tracks.append(track)
                    digests.append(samples_digest(waveform, rate))
                    landmarks.append(find_landmarks(_mono(waveform, rate)))
            progress.advance(1)
    if not tracks:
        return Leakage((), tuple(problems), 0)
    in_test = {track.id for track in corpus.test}
    pairs = _exact(digests) | _near(tracks, landmarks, digests)
    found = []
    for (a, b), (correlation, offset) in sorted(pairs.items()):
        first, second = tracks[a], tracks[b]
        found.append(
            Pair(
                first=first.id,
                second=second.id,
                kind="exact" if digests[a] == digests[b] else "near",
                correlation=round(correlation, 4),
                offset=round(offset, 3),
                parts=_parts((first, second), in_test),
                labels=(first.label or "", second.label or ""),
            )
        )
    return Leakage(tuple(found), tuple(problems), len(tracks))


def torn(parts: Sequence[Fold], tracks: Sequence[Track], leakage: Leakage) -> Torn:
    """What folds put on both sides.

    Args:
        parts: From `genre.folds.folds`, all or some.
        tracks: Those that were folded.
        leakage: Of the same corpus.
    """
    apart: set[tuple[str, str]] = set()
    known = held_out = 0
    for training, held in parts:
        heard, tested = ({tracks[int(i)].id for i in part} for part in (training, held))
        apart.update(
            (a, b)
            for a, b in leakage.together
            if (a in heard and b in tested) or (a in tested and b in heard)
        )
        artists = {tracks[int(i)].artist for i in training}
        with_artist = [tracks[int(i)].artist for i in held if tracks[int(i)].artist]
        held_out += len(with_artist)
        known += sum(artist in artists for artist in with_artist)
    return Torn(len(apart), known / held_out if held_out else None)


def write_leakage(path: str | Path, leakage: Leakage, folds: dict[str, Torn]) -> None:
    """Everything as JSON.

    Args:
        path: Where.
        leakage: From `find_leakage`.
        folds: What folds put on both sides, by kind of folds.
    """
    content: dict[str, Any] = asdict(leakage)
    write_json(path, {**content, "folds": {by: asdict(result) for by, result in folds.items()}})


def _mono(waveform: Tensor, rate: int) -> Tensor:
    return audio_io.resample(waveform.mean(dim=0), rate, RATE)


Found = dict[tuple[int, int], tuple[float, float]]  # correlation and offset by places


def _exact(digests: list[str]) -> Found:
    """Each copy with the first of its kind."""
    first: dict[str, int] = {}
    places = [(first.setdefault(digest, index), index) for index, digest in enumerate(digests)]
    return {(a, b): (1.0, 0.0) for a, b in places if a != b}


def _near(tracks: list[Track], landmarks: list[Landmarks], digests: list[str]) -> Found:
    """Candidates by landmarks whose waveforms correlate."""

    @functools.lru_cache(_KEPT)
    def waveform(index: int) -> Tensor:
        return _mono(*load_sound(tracks[index].path))

    matches = find_matches(landmarks, least_share=CANDIDATE_SHARE, least_overlap=LEAST_OVERLAP)
    candidates = [m for m in matches if digests[m.first] != digests[m.second]]
    found: Found = {}
    with Progress("compare", len(candidates), "candidates") as progress:
        for match in candidates:
            correlation = correlate(waveform(match.first), waveform(match.second), match.offset)
            if correlation >= LEAST_CORRELATION:
                found[match.first, match.second] = correlation, match.offset
            progress.advance(1)
    return found


def _parts(tracks: tuple[Track, Track], in_test: set[str]) -> str:
    where = {"test" if track.id in in_test else "train" for track in tracks}
    return " and ".join(sorted(where, reverse=True))
