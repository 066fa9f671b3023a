"""The three layouts, and everything in them that does not fit together."""

import unicodedata

import pytest
import torch

import audio_io
from audio_io.errors import ConfigError
from genre.config import STEMS
from genre.labels import LabelError
from genre.layouts import read_corpus, track_of

LABELS = "label_name,label_id\nrock,9\nblues,0\njazz,10\n"


def sound(path, seconds=0.6):
    audio_io.save(path, torch.zeros(1, round(8000 * seconds)), 8000)


def stems(folder):
    for stem in (*STEMS, "mixture"):
        sound(folder / f"{stem}.wav")


def contest(root, suffix="csv", *, nested=True):
    """Two training and two test tracks, as the contest packs them."""
    delimiter = "\t" if suffix == "tsv" else ","
    inner = "train_sound_1/" if nested else ""
    sound(root / f"train_sound_1/{inner}train_0.au")
    sound(root / f"train_sound_2/{inner}train_1.au")
    for name in ("test_1.au", "test_0.au"):
        sound(root / f"test_sound_1/{name}")
    tables = {
        "train_master": "file_name,label_id\ntrain_0.au,9\ntrain_1.au,0\n",
        "label_master": LABELS,
        "sample_submit": "test_1.au,0\ntest_0.au,0\n",
    }
    for name, text in tables.items():
        (root / f"{name}.{suffix}").write_text(text.replace(",", delimiter))
    return root


@pytest.mark.parametrize(("suffix", "nested"), [("csv", True), ("tsv", False)])
def test_the_contest_is_read_nested_or_flat(suffix, nested, tmp_path):
    corpus = read_corpus(contest(tmp_path, suffix, nested=nested))
    assert [(track.id, track.label) for track in corpus.tracks] == [("train_0", "rock"), ("train_1", "blues")]
    # The outputs follow the numbers of the labels, not their alphabet.
    assert corpus.labels == ("blues", "rock", "jazz")
    assert corpus.label_ids == ("0", "9", "10")
    assert [track.id for track in corpus.test] == ["test_1", "test_0"]
    assert corpus.problems == ()
    assert corpus.sample_submit == tmp_path / f"sample_submit.{suffix}"


def test_every_mismatch_of_the_contest_is_listed_by_file(tmp_path):
    contest(tmp_path)
    sound(tmp_path / "train_sound_1/train_2.au")
    sound(tmp_path / "train_sound_1/train_3.au")
    sound(tmp_path / "train_sound_2/train_3.au")
    sound(tmp_path / "test_sound_1/test_9.au")
    (tmp_path / "train_master.csv").write_text(
        "\ufefffile_name,label_id\ntrain_0.au,9\ntrain_0.au,9\ntrain_1.au,0\ntrain_1.au,9\n"
        "train_3.au,77\ntrain_8.au,0\n"
    )
    (tmp_path / "sample_submit.csv").write_text("test_0.au,0\ntest_0.au,0\ntest_5.au,0\n")
    corpus = read_corpus(tmp_path)
    assert [track.id for track in corpus.tracks] == ["train_0"]
    assert [track.id for track in corpus.test] == ["test_0"]
    assert set(corpus.problems) == {
        "train_sound_2/train_3.au: a second train_3.au, train_sound_1/train_3.au is used",
        "train_master.csv, line 3: train_0.au: listed twice",
        "train_master.csv, line 5: train_1.au: labelled 'blues' and 'rock', so left out",
        "train_master.csv, line 6: train_3.au: unknown label_id '77', label_master.csv has 0, 9, 10",
        "train_master.csv, line 7: train_8.au: no such file in train_sound_*",
        "train_sound_1/train_2.au: not in train_master.csv",
        "sample_submit.csv, line 2: test_0.au: listed twice",
        "sample_submit.csv, line 3: test_5.au: no such file in test_sound_*",
        "test_sound_1/test_1.au: not in sample_submit.csv",
        "test_sound_1/test_9.au: not in sample_submit.csv",
    }


def test_folders_are_genres_and_a_folder_of_stems_is_one_track(tmp_path):
    sound(tmp_path / "blues/blues.00000.wav")
    sound(tmp_path / "blues/live/blues.00000.wav")
    stems(tmp_path / "rock/song")
    sound(tmp_path / "stray.wav")
    (tmp_path / "pop").mkdir()
    corpus = read_corpus(tmp_path)
    assert [(track.id, track.label) for track in corpus.tracks] == [
        ("blues__blues.00000", "blues"),
        ("blues__live__blues.00000", "blues"),
        ("rock__song", "rock"),
    ]
    assert corpus.tracks[2].path == tmp_path / "rock/song"
    assert corpus.problems == ("pop: a folder without sound", "stray.wav: in no genre's folder")


def test_names_that_would_meet_in_one_cache_file_are_told_apart(tmp_path):
    for name in ("a.wav", "a.flac", "A.wav", "b.wav", "c__d.wav", "c/d.wav", "x" * 200 + ".wav"):
        sound(tmp_path / "jazz" / name)
    ids = [track.id for track in read_corpus(tmp_path).tracks]
    assert "jazz__b" in ids
    assert len({identifier.casefold() for identifier in ids}) == 7
    assert max(map(len, ids)) < 180


def test_the_table_joins_by_path_and_lists_its_faults(tmp_path):
    stems(tmp_path / "rock/one")
    sound(tmp_path / "音楽/歌.wav")
    sound(tmp_path / "extra.wav")
    (tmp_path / "tracks.csv").write_text(
        "artist;label;path\nAda;rock;rock/one/mixture.wav\n;j-pop;音楽/歌.wav\nBob;;extra.wav\nBob;pop;gone.wav\n",
        encoding="utf-8",
    )
    corpus = read_corpus(tmp_path)
    assert [(t.id, t.label, t.artist) for t in corpus.tracks] == [
        ("rock__one", "rock", "Ada"),
        ("音楽__歌", "j-pop", None),
    ]
    assert corpus.tracks[0].path == tmp_path / "rock/one"
    assert corpus.problems == (
        "tracks.csv, line 4: extra.wav: no label",
        "tracks.csv, line 5: gone.wav: no such file",
        "extra.wav: not in tracks.csv",
    )
    assert read_corpus(tmp_path / "tracks.csv") == corpus


def test_training_and_test_tracks_of_one_name_have_their_own_ids(tmp_path):
    contest(tmp_path)
    sound(tmp_path / "train_sound_1/test_0.au")
    with (tmp_path / "train_master.csv").open("a") as file:
        file.write("test_0.au,0\n")
    corpus = read_corpus(tmp_path)
    assert len({track.id for track in (*corpus.tracks, *corpus.test)}) == 5


def test_accents_match_whichever_way_they_are_written(tmp_path):
    contest(tmp_path)
    sound(tmp_path / "train_sound_1" / unicodedata.normalize("NFD", "é.au"))
    with (tmp_path / "train_master.csv").open("a", encoding="utf-8") as file:
        file.write(unicodedata.normalize("NFC", "é.au") + ",0\n")
    corpus = read_corpus(tmp_path)
    assert corpus.problems == ()
    assert corpus.tracks[-1].id == unicodedata.normalize("NFC", "é")


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        (
            "train_master.csv",
            b"name,label\n",
            "found the columns 'name', 'label', expected a column 'file_name'",
        ),
        ("train_master.csv", b"", "found an empty file, expected a column 'file_name'"),
        ("train_master.csv", b"\x83\x5c,1\n", "found bytes that are no UTF-8"),
        ("label_master.csv", b"label_name,label_id\na,1\nb,1\n", "found 'b' or '1' twice"),
        ("label_master.csv", b"label_name,label_id\na,\n", "found half a label in line 2"),
        ("label_master.csv", b"label_name,label_id\n", "found no label"),
        ("train_master.csv", b"file_name,label_id\nx.au,9\n", "found no track with a label"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(table, text, message, tmp_path):
    contest(tmp_path)
    (tmp_path / table).write_bytes(text)
    with pytest.raises(LabelError) as caught:
        read_corpus(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_songs_is_refused(tmp_path):
    with pytest.raises(LabelError, match="found no track with a label"):
        read_corpus(tmp_path)
    with pytest.raises(LabelError, match="found nothing, expected a folder of songs"):
        read_corpus(tmp_path / "gone")
    with pytest.raises(LabelError, match=r"found no train_master.csv or .tsv"):
        read_corpus(tmp_path, "contest")
    with pytest.raises(ConfigError, match="layout: found 'gtzan'"):
        read_corpus(tmp_path, "gtzan")


def test_a_track_outside_of_a_corpus_has_its_name(tmp_path):
    assert track_of(tmp_path / "a.b.wav").id == "a.b"
