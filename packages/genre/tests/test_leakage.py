"""True duplicates are found through gain, noise, cuts, resampling and MP3; different songs are not."""

import json
import shutil

import pytest
import torch

import audio_io
from genre.cli import main
from genre.corpus.config import DemoConfig
from genre.corpus.write import render_corpus
from genre.fingerprint import HOP, RATE, correlate, find_landmarks, find_matches
from genre.folds import folds
from genre.layouts import read_corpus
from genre.leakage import Leakage, Pair, find_leakage, torn

CONFIG = DemoConfig(artists=2, songs=2, duration=8.0)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """40 songs; those of an artist share grooves, instruments and production."""
    root = tmp_path_factory.mktemp("rendered")
    render_corpus(root, CONFIG)
    return root


@pytest.fixture(scope="module")
def songs(rendered):
    """The mixtures as plain files by genre, without stems."""
    root = rendered.parent / "songs"
    for track in read_corpus(rendered).tracks:
        target = root / track.label / f"{track.path.name}.flac"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(track.path / "mixture.flac", target)
    return root


def test_different_songs_are_no_duplicates(rendered):
    leakage = find_leakage(read_corpus(rendered))
    assert leakage == Leakage((), (), 40)


def noisy(waveform):
    noise = torch.randn(waveform.shape, generator=torch.Generator().manual_seed(0))
    return waveform + 0.1 * waveform.square().mean().sqrt() * noise  # 20 dB


def test_versions_of_a_song_are_found_and_nothing_else(songs, tmp_path):
    corpus = tmp_path / "corpus"
    shutil.copytree(songs, corpus)
    versions = {
        "blues/blues-00_00": ("louder.wav", lambda w: 0.2 * w),
        "classical/classical-01_00": ("noisy.wav", lambda w: 0.5 * noisy(w)),
        "country/country-00_01": ("cut.flac", lambda w: w[:, 31234 : 31234 + 5 * 22050]),
        "disco/disco-01_01": ("mp3.mp3", lambda w: w),
        "metal/metal-00_00": ("everything.mp3", lambda w: 0.3 * noisy(w)[:, 20001 : 20001 + 5 * 22050]),
    }
    for original, (name, change) in versions.items():
        waveform, rate = audio_io.load(corpus / f"{original}.flac")
        path = corpus / original.partition("/")[0] / name
        subtype = None if path.suffix == ".mp3" else "PCM_16"
        audio_io.save(path, change(waveform), rate, subtype=subtype)
    # Another rate, in another genre; and an exact copy in another container.
    waveform, rate = audio_io.load(corpus / "pop/pop-00_00.flac")
    audio_io.save(corpus / "rock/resampled.wav", 0.9 * audio_io.resample(waveform, rate, 44100), 44100)
    audio_io.save(corpus / "pop/copy.wav", waveform, rate, subtype="PCM_16")
    (corpus / "jazz/broken.wav").write_bytes(b"RIFF")

    leakage = find_leakage(read_corpus(corpus))
    expected = {frozenset({name.replace("/", "__"), f"{name.partition('/')[0]}__{version.partition('.')[0]}"})
                for name, (version, _) in versions.items()}  # fmt: skip
    expected |= {frozenset({"pop__pop-00_00", "pop__copy"}), frozenset({"pop__pop-00_00", "rock__resampled"})}
    expected |= {frozenset({"pop__copy", "rock__resampled"})}
    found = {frozenset({pair.first, pair.second}): pair for pair in leakage.pairs}
    assert set(found) == expected
    assert [pair.kind for pair in leakage.pairs].count("exact") == 1
    assert found[frozenset({"pop__pop-00_00", "pop__copy"})].kind == "exact"
    assert found[frozenset({"pop__pop-00_00", "rock__resampled"})].conflicts
    cut = found[frozenset({"country__country-00_01", "country__cut"})]
    assert abs(cut.offset) == pytest.approx(31234 / 22050, abs=2 * HOP / RATE)
    assert len(leakage.problems) == 1
    assert "broken.wav" in leakage.problems[0]


def test_copies_between_training_and_test_are_said(songs, tmp_path, capsys):
    train, test = tmp_path / "train_sound_1", tmp_path / "test_sound_1"
    train.mkdir()
    test.mkdir()
    for index, genre in enumerate(("blues", "jazz", "rock")):
        shutil.copy(songs / genre / f"{genre}-00_00.flac", train / f"train_{index}.flac")
    shutil.copy(songs / "rock/rock-01_00.flac", test / "test_0.flac")
    waveform, rate = audio_io.load(train / "train_1.flac")
    audio_io.save(test / "test_1.flac", 0.5 * waveform[:, 10000:], rate, subtype="PCM_16")
    (tmp_path / "train_master.csv").write_text(
        "file_name,label_id\ntrain_0.flac,0\ntrain_1.flac,1\ntrain_2.flac,2\n"
    )
    (tmp_path / "label_master.csv").write_text("label_name,label_id\nblues,0\njazz,1\nrock,2\n")
    assert main(["leakage", str(tmp_path), "-o", str(tmp_path / "out.json")]) == 0
    said = capsys.readouterr().out
    assert "near: train_1 = test_1: the same recording" in said
    assert "5 recordings, 1 pairs of duplicates, 1 of them in train and test" in said
    assert "no folds by artist" in said
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [(p["first"], p["second"], p["parts"]) for p in written["pairs"]] == [
        ("train_1", "test_1", "train and test")
    ]


def test_folds_that_know_the_pairs_tear_none(rendered):
    tracks = read_corpus(rendered).tracks
    ids = [track.id for track in tracks]
    pairs = tuple(
        Pair(ids[4 * i], ids[4 * i + 2], "near", 0.9, 0.0, "train", ("a", "a")) for i in range(10)
    )  # of different artists
    leakage = Leakage(pairs, (), 40)
    before = torn(folds(tracks, 2, "random"), tracks, leakage)
    assert before.pairs > 0
    assert before.artists > 0.3
    after = torn(folds(tracks, 2, "random", together=leakage.together), tracks, leakage)
    assert after.pairs == 0
    by_artist = torn(folds(tracks, 2, "artist"), tracks, leakage)
    assert (by_artist.pairs, by_artist.artists) == (10, 0.0)
    # Of three folds the first alone is tested: what the other two tear apart was heard by its network.
    three = folds(tracks, 3, "random")
    tested = {tracks[int(i)].id for i in three[0][1]}
    expected = sum((a in tested) != (b in tested) for a, b in leakage.together)
    assert torn(three[:1], tracks, leakage).pairs == expected < torn(three, tracks, leakage).pairs


def test_noise_has_the_landmarks_and_the_correlation_of_its_cut_only():
    generator = torch.Generator().manual_seed(1)
    whole, other = torch.randn(2, 6 * RATE, generator=generator)
    cut = -0.5 * whole[2 * RATE + 37 : 5 * RATE]
    matches = find_matches(
        [find_landmarks(x) for x in (whole, cut, other)], least_share=0.1, least_overlap=2.0
    )
    assert [(m.first, m.second) for m in matches] == [(0, 1)]
    assert matches[0].offset == pytest.approx(2 + 37 / RATE, abs=2 * HOP / RATE)
    assert correlate(whole, cut, matches[0].offset) == pytest.approx(1, abs=1e-6)
    assert correlate(whole, other, 0.0) < 0.05
    assert find_landmarks(torch.zeros(100)).codes.size == 0


def test_blocks_do_not_change_what_matches(monkeypatch):
    generator = torch.Generator().manual_seed(2)
    whole = torch.randn(4, 4 * RATE, generator=generator)
    recordings = [find_landmarks(x) for x in (*whole, whole[0, 5000:], whole[2, :20000])]
    at_once = find_matches(recordings, least_share=0.0, least_overlap=0.0)
    monkeypatch.setattr("genre.fingerprint._BLOCK", 500)

    def key(match):
        return (match.first, match.second)

    in_blocks = find_matches(recordings, least_share=0.0, least_overlap=0.0)
    assert sorted(in_blocks, key=key) == sorted(at_once, key=key)
    assert {key(m) for m in at_once if m.share > 0.1} == {(0, 4), (2, 5)}
