"""Folds hold every track once, keep artists whole, and stay stratified."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from audio_io.errors import ConfigError
from genre.config import GENRES as TEN
from genre.folds import folds, gtzan_fault_filtered, read_artists, split_tracks
from genre.labels import LabelError
from genre.layouts import Corpus, Track

GENRES = ("blues", "jazz", "rock")


def tracks_of(artists=6, songs=4):
    return [
        Track(f"{genre}-{artist}-{song}", Path(f"{genre}/{artist}-{song}.wav"), genre, f"{genre}{artist}")
        for genre in GENRES
        for artist in range(artists)
        for song in range(songs)
    ]


@pytest.mark.parametrize("by", ["random", "artist"])
def test_every_track_is_held_out_once_and_genres_keep_their_share(by):
    tracks = tracks_of()
    parts = folds(tracks, 3, by, seed=7)
    assert np.array_equal(np.sort(np.concatenate([held for _, held in parts])), np.arange(len(tracks)))
    for training, held in parts:
        assert np.array_equal(np.union1d(training, held), np.arange(len(tracks)))
        assert len(training) + len(held) == len(tracks)
        assert set(Counter(tracks[i].label for i in held).values()) == {8}


def test_artists_are_whole_in_artist_folds_only():
    tracks = tracks_of()

    def torn(by):
        return sum(
            len({tracks[i].artist for i in training} & {tracks[i].artist for i in held})
            for training, held in folds(tracks, 3, by)
        )

    assert torn("artist") == 0
    assert torn("random") > 20


def test_the_seed_decides():
    tracks = tracks_of()
    same = [held.tolist() for _, held in folds(tracks, 3, "artist", 1)]
    assert [held.tolist() for _, held in folds(tracks, 3, "artist", 1)] == same
    assert [held.tolist() for _, held in folds(tracks, 3, "artist", 2)] != same


@pytest.mark.parametrize("by", ["random", "artist"])
def test_near_duplicates_stay_together_through_others(by):
    tracks = tracks_of()
    chain = ["blues-0-0", "blues-1-1", "blues-2-2"]
    place = {track.id: index for index, track in enumerate(tracks)}
    together = [*pairwise(chain), ("blues-0-0", "somewhere else")]
    for seed in range(4):
        for _, held in folds(tracks, 3, by, seed, together=together):
            assert len({place[name] for name in chain} & set(held.tolist())) in {0, 3}


def test_the_split_is_stratified_and_may_keep_artists_apart():
    tracks = [Track(f"{g}{i}", Path(f"{g}{i}"), g, f"{g}{i // 5}") for g in "abc" for i in range(20)]
    training, validation = split_tracks(tracks, 0.1, seed=0)
    assert [sum(track.label == genre for track in validation) for genre in "abc"] == [2, 2, 2]
    assert len(training) + len(validation) == 60
    training, validation = split_tracks(tracks, 0.25, seed=0, by_artist=True)
    assert {track.artist for track in training}.isdisjoint(track.artist for track in validation)
    assert len(validation) == 15
    assert split_tracks(tracks, 0.1, seed=1)[1] != split_tracks(tracks, 0.1, seed=0)[1]
    chosen = {track.id for track in validation}
    assert {t.id for t in split_tracks(tracks[::-1], 0.25, seed=0, by_artist=True)[1]} == chosen


def test_a_split_keeps_artists_of_two_genres_and_copies_on_one_side():
    """Every fourth artist is in two genres, and each genre has a copy of a track of the next."""
    tracks = [
        Track(f"{g}{i}", Path(f"{g}{i}"), g, f"artist {i // 2}" if i % 8 < 2 else f"{g}{i // 2}")
        for g in "abc"
        for i in range(16)
    ]
    copies = [("a3", "b3"), ("b5", "c5")]
    artist = {track.id: track.artist for track in tracks}
    for seed in range(20):
        for by_artist in (True, False):
            sides = split_tracks(tracks, 0.25, seed, by_artist=by_artist, together=copies)
            first, second = ({track.id for track in side} for side in sides)
            assert len(first) + len(second) == 48
            for side in sides:
                assert {track.label for track in side} == set("abc")
            assert all((a in first) == (b in first) for a, b in copies)
            if by_artist:
                assert {artist[name] for name in first}.isdisjoint(artist[name] for name in second)


def test_a_split_leaves_every_genre_something_to_learn_from():
    tracks = [Track(f"{g}{i}", Path(f"{g}{i}"), g, f"{g}{i}") for g in "ab" for i in range(3)]
    tracks += [Track(f"c{i}", Path(f"c{i}"), "c", f"a{i}") for i in range(2)]  # by artists of a
    tracks.append(Track("d", Path("d"), "d", "alone"))
    for share in (0.1, 0.5, 0.9):
        for seed in range(10):
            training, validation = split_tracks(tracks, share, seed, by_artist=True)
            assert {track.label for track in training} == set("abcd")
            assert {track.label for track in validation} == set("abc")


def test_what_cannot_be_split_is_said():
    with pytest.raises(ConfigError, match="folds: found 7, and 'blues' has 6 independent artists"):
        folds(tracks_of(), 7, "artist")
    with pytest.raises(ConfigError, match="artist, and a has none"):
        folds([Track("a", Path("a.wav"), "blues")], 2, "artist")
    with pytest.raises(ConfigError, match="a without label"):
        folds([Track("a", Path("a.wav"))], 2, "random")
    with pytest.raises(ConfigError, match="folds: found 1, expected at least 2"):
        folds(tracks_of(), 1)
    with pytest.raises(ConfigError, match="one of random, artist"):
        folds(tracks_of(), 2, "album")


def gtzan(root):
    """GTZAN by its names; its files are not opened."""
    names = [(genre, f"{genre}.{index:05d}") for genre in TEN for index in range(100)]
    tracks = [Track(f"{genre}__{name}", root / genre / f"{name}.wav", genre) for genre, name in names]
    return Corpus(root, tuple(tracks), TEN)


def test_a_table_of_artists_names_tracks_by_path_or_name(tmp_path):
    table = tmp_path / "artists.csv"
    table.write_text("path,artist\nblues/blues.00000.wav,Hooker\nblues.00001,Hooker\njazz.00003.wav,Evans\n")
    artists = {t.path.stem: t.artist for t in read_artists(table, gtzan(tmp_path)).tracks if t.artist}
    assert artists == {"blues.00000": "Hooker", "blues.00001": "Hooker", "jazz.00003": "Evans"}
    table.write_text("path,artist\nblues.00001,A\nblues.00001,B\n")
    with pytest.raises(LabelError, match=r"two artists of blues.00001 \(line 3\)"):
        read_artists(table, gtzan(tmp_path))
    table.write_text("path,artist\nsalsa.00001,A\n")
    with pytest.raises(LabelError, match="no track of"):
        read_artists(table, gtzan(tmp_path))


def test_a_name_that_two_tracks_have_tells_nobody_s_artist(tmp_path):
    corpus = Corpus(
        tmp_path, tuple(Track(g, tmp_path / g / "01.wav", g) for g in ("blues", "jazz")), ("blues", "jazz")
    )
    table = tmp_path / "artists.csv"
    table.write_text("path,artist\n01,Hooker\njazz/01.wav,Evans\n")
    assert [track.artist for track in read_artists(table, corpus).tracks] == [None, "Evans"]


def test_any_seed_gives_folds():
    parts = [folds(tracks_of(), 2, "random", seed) for seed in (1, 2**32 + 1, -1)]
    assert np.array_equal(parts[0][0][1], parts[1][0][1])


def test_the_fault_filtered_parts_of_gtzan_share_no_track(tmp_path):
    parts = gtzan_fault_filtered(gtzan(tmp_path))
    names = [{track.path.stem for track in part.tracks} for part in parts]
    assert [len(part) for part in names] == [443, 197, 290]
    assert len(set.union(*names)) == 930
    with pytest.raises(LabelError, match="no track of GTZAN's filtered train list"):
        gtzan_fault_filtered(Corpus(tmp_path, (Track("a", Path("a.wav"), "blues"),), ("blues",)))
