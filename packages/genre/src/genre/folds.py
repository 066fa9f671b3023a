"""Folds for cross-validation, random ones and ones that keep an artist's tracks together, and plain splits.

A classifier that was trained on an artist knows the artist's sound, so random folds overrate it (Flexer &
Schnitzer 2010, "Effects of album and artist filters in audio similarity computed for very large music
databases"). Both kinds are stratified: each genre has about its share in every fold.

For GTZAN two lists help. Its artists, which its files do not name, come from a table that the user supplies
(`read_artists`). Its replicas and other faults (Sturm 2013, arXiv 1306.1461) are left out by the
fault-filtered lists that torchaudio carries (`gtzan_fault_filtered`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from audio_io.errors import ConfigError
from genre.labels import LabelError, read_table
from genre.layouts import Corpus, Track

By = Literal["random", "artist"]
_SPLIT = 0  # tells the draws of a split from others of the same seed
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


def folds(
    tracks: Sequence[Track],
    k: int,
    by: str = "artist",
    seed: int = 0,
    *,
    together: Iterable[tuple[str, str]] = (),
) -> list[Fold]:
    """Indices of training and validation tracks of each fold, in increasing order.

    Args:
        tracks: With labels, and with artists if `by` is `artist`.
        k: Number of folds, at least 2.
        by: `random`, or `artist`: all tracks of an artist are on the same side.
        seed: Of the choice.
        together: Pairs of track ids that shall be on the same side as well, such as near duplicates (from
            `genre.leakage`).

    Raises:
        ConfigError: If a genre has fewer tracks (or artists) than there are folds, or an artist is missing.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if by not in get_args(By):
        raise ConfigError("by", repr(by), "one of " + ", ".join(get_args(By)))
    if k < 2:
        raise ConfigError("folds", k, "at least 2")
    if by == "artist" and (unknown := [track.id for track in tracks if not track.artist]):
        expected = "an artist for every track (column artist in tracks.csv), or by random"
        raise ConfigError("by", f"artist, and {unknown[0]} has none", expected)
    groups = _groups(tracks, together, by_artist=by == "artist")
    labels = [_label(track) for track in tracks]
    for label in sorted(set(labels)):
        members = {group for group, name in zip(groups, labels, strict=True) if name == label}
        if len(members) < k:
            what = "artists" if by == "artist" else "tracks"
            count = f"{len(members)} independent {what if len(members) != 1 else what[:-1]}"
            raise ConfigError("folds", f"{k}, and {label!r} has {count}", "at most that many")
    alone = len(set(groups)) == len(tracks)
    # Groups of one need no groups, and scikit-learn stratifies exactly then.
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(
        k, shuffle=True, random_state=seed % 2**32
    )
    return list(splitter.split(np.arange(len(tracks)), labels, None if alone else groups))


def split_tracks(
    tracks: Sequence[Track],
    share: float,
    seed: int,
    *,
    by_artist: bool = False,
    together: Iterable[tuple[str, str]] = (),
) -> tuple[list[Track], list[Track]]:
    """Training and validation tracks, each genre with its share in both.

    Each genre keeps at least one track (or artist) to learn from, and has one for validation where that
    leaves one; groups that several genres have in common may make its share another one.

    Args:
        tracks: With labels.
        share: Of the validation, above 0 and below 1, of the tracks (or artists) of a genre.
        seed: Of the choice.
        by_artist: Whether all tracks of an artist, of whatever genre, go to the same side; one without artist
            is its own.
        together: Pairs of track ids that shall be on the same side as well, such as duplicates.
    """
    groups = _groups(tracks, together, by_artist=by_artist)
    # Names, since the choice shall not depend on the order of the tracks.
    names: dict[int, str] = {}
    for track, group in zip(tracks, groups, strict=True):
        name = track.artist if by_artist and track.artist else f"\0{track.id}"
        names[group] = min(name, names.get(group, name))
    members: dict[str, set[str]] = {}
    for track, group in zip(tracks, groups, strict=True):
        members.setdefault(track.label or "", set()).add(names[group])
    rng = np.random.default_rng([seed, _SPLIT])
    orders = {}
    for label, present in sorted(members.items()):
        listed = sorted(present)
        orders[label] = [listed[index] for index in rng.permutation(len(listed))]
    chosen: set[str] = set()
    # Genres of few groups first: they have the least choice.
    for label in sorted(orders, key=lambda name: len(orders[name])):
        wanted = max(1, round(share * len(orders[label])))
        for name in orders[label]:
            if len(members[label] & chosen) >= wanted:
                break
            if all(len(present - chosen) > 1 for present in members.values() if name in present):
                chosen.add(name)
    sides = [names[group] in chosen for group in groups]
    training = [track for track, is_chosen in zip(tracks, sides, strict=True) if not is_chosen]
    return training, [track for track, is_chosen in zip(tracks, sides, strict=True) if is_chosen]


def read_artists(path: str | Path, corpus: Corpus) -> Corpus:
    """The corpus with the artists of a table.

    Args:
        path: A table with the columns `path` and `artist`; the path is relative to the corpus, or the name of
            a file that occurs once in it, with or without its suffix (`blues.00000`).
        corpus: Its tracks that the table does not name keep the artist they have.

    Raises:
        LabelError: If the table cannot be read, names a track twice with different artists, or none at all.
    """
    table = Path(path)
    found: dict[str, str] = {}
    for row in read_table(table, ("path", "artist")):
        name, artist = row["path"].replace("\\", "/"), row["artist"]
        if not name or not artist:
            continue
        if found.setdefault(name, artist) != artist:
            raise LabelError(table, f"two artists of {name} (line {row.line})", "one artist for each track")
    names = Counter(name for track in corpus.tracks for name in {track.path.name, track.path.stem})
    artists = [_look_up(found, track, corpus.root, names) for track in corpus.tracks]
    tracks = tuple(
        replace(t, artist=artist or t.artist) for t, artist in zip(corpus.tracks, artists, strict=True)
    )
    if not any(artists):
        raise LabelError(table, f"no track of {corpus.root}", "paths or names of its files")
    return replace(corpus, tracks=tracks)


def gtzan_fault_filtered(corpus: Corpus) -> tuple[Corpus, Corpus, Corpus]:
    """Training, validation and test part of GTZAN without its faults: 443, 197 and 290 tracks.

    The lists are those of `torchaudio.datasets.gtzan`, from jordipons/sklearn-audio-transfer-learning.

    Args:
        corpus: GTZAN; tracks are known by the names of their files, such as `blues.00029.wav`.

    Raises:
        LabelError: If a part has no track in the corpus.
    """
    from torchaudio.datasets import gtzan

    parts = []
    for name in ("train", "valid", "test"):
        listed = set(getattr(gtzan, f"filtered_{name}"))
        tracks = tuple(track for track in corpus.tracks if track.path.stem in listed)
        if not tracks:
            raise LabelError(corpus.root, f"no track of GTZAN's filtered {name} list", "the files of GTZAN")
        parts.append(replace(corpus, tracks=tracks, test=()))
    return parts[0], parts[1], parts[2]


def _label(track: Track) -> str:
    if track.label is None:
        raise ConfigError("tracks", f"{track.id} without label", "tracks with labels")
    return track.label


def _groups(tracks: Sequence[Track], together: Iterable[tuple[str, str]], *, by_artist: bool) -> list[int]:
    """A number for each track, the same for those that belong together, directly or through others.

    Numbers are given in the order of the tracks.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    place = {track.id: index for index, track in enumerate(tracks)}
    edges = [(place[a], place[b]) for a, b in together if a in place and b in place]
    if by_artist:
        first: dict[str, int] = {}
        edges += [(i, first.setdefault(track.artist, i)) for i, track in enumerate(tracks) if track.artist]
    rows, columns = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    links = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(tracks), len(tracks)))
    groups: list[int] = connected_components(links, directed=False)[1].tolist()
    return groups


def _look_up(found: dict[str, str], track: Track, root: Path, count: Mapping[str, int]) -> str | None:
    path = track.path
    names = [name for name in (path.name, path.stem) if count[name] == 1]
    if path.is_relative_to(root):
        names.insert(0, path.relative_to(root).as_posix())
    return next((found[name] for name in names if name in found), None)
