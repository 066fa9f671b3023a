"""The rendered corpus is exact, the same for the same seed, and sounds as its notes say."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import audio_io
from genre.cli import main
from genre.config import GENRES, STEMS
from genre.corpus.compose import Note, Part, compose, make_artist
from genre.corpus.config import DemoConfig
from genre.corpus.render import Renderer
from genre.corpus.styles import STYLES
from genre.corpus.write import render_corpus
from genre.layouts import read_corpus

CONFIG = DemoConfig(artists=1, songs=2, duration=3.0)
RATE = CONFIG.sample_rate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("rendered")
    render_corpus(root, CONFIG)
    return root


def load(folder, name):
    waveform, rate = audio_io.load(folder / f"{name}.flac")
    assert rate == RATE
    return waveform


def test_the_corpus_is_read_with_labels_and_artists(folder):
    corpus = read_corpus(folder)
    assert corpus.problems == ()
    assert corpus.labels == GENRES
    assert len(corpus.tracks) == 20
    assert {track.artist for track in corpus.tracks} == {f"{genre}-00" for genre in GENRES}
    assert all(track.path.is_dir() and track.path.parent.name == track.label for track in corpus.tracks)


def test_the_mixture_is_the_sum_of_the_stems_bit_for_bit(folder):
    for track in read_corpus(folder).tracks:
        stems = torch.stack([load(track.path, stem) for stem in STEMS])
        mixture = load(track.path, "mixture")
        assert mixture.shape == (1, 3 * RATE)
        torch.testing.assert_close(stems.sum(dim=0), mixture, rtol=0, atol=0)
        assert max(stems.abs().max(), mixture.abs().max()) == pytest.approx(0.9, abs=2e-4)


def test_songs_differ_and_a_seed_gives_the_same_again(folder, tmp_path):
    renderer = Renderer(RATE)
    seen = set()
    for track in read_corpus(folder).tracks[::5]:
        artist = make_artist(CONFIG, track.label, 0)
        number = int(track.path.name[-2:])
        rng = np.random.default_rng([CONFIG.seed, GENRES.index(track.label), 0, number])
        stems = renderer.song(compose(CONFIG, artist, rng), artist, 3 * RATE, rng)
        stored = torch.cat([load(track.path, stem) for stem in STEMS])
        np.testing.assert_array_equal(stems, (stored * 2**15).numpy())
        seen.add(stems.tobytes())
    assert len(seen) == 4
    other = DemoConfig(seed=1, artists=1, songs=2, duration=3.0)
    assert make_artist(other, "jazz", 0) != make_artist(CONFIG, "jazz", 0)


def test_every_artist_keeps_to_the_same_instruments():
    config = DemoConfig(duration=8.0)
    for genre in GENRES:
        artists = [make_artist(config, genre, index) for index in range(10)]
        assert len({(a.kit, a.bass_program, a.comp_programs, a.voice_program) for a in artists}) > 2
        song = compose(config, artists[0], np.random.default_rng(5))
        vocals, drums, bass, other = song.parts
        assert vocals[0].program in STYLES[genre].voice_programs
        assert (drums[0].program, bass[0].program) == (artists[0].kit, artists[0].bass_program)
        assert tuple(part.program for part in other) == artists[0].comp_programs
        notes = [note for part in (*vocals, *bass, *other) for note in part.notes]
        assert min(note.start for note in notes) < 2
        assert max(note.start for note in notes) > 6
        assert all(27 <= note.key <= 100 and 1 <= note.velocity <= 127 for note in notes)


def test_a_disco_kick_sounds_on_every_quarter():
    config = DemoConfig(duration=8.0)
    artist = make_artist(config, "disco", 3)
    drums = compose(config, artist, np.random.default_rng(1)).parts[1][0]
    kicks = np.array([note.start for note in drums.notes if note.key == 36])
    quarters = np.diff(np.sort(kicks))
    assert quarters.min() > 60 / 130 - 0.02
    assert quarters.max() < 60 / 110 + 0.02


def test_a_note_sounds_at_its_time_and_pitch_and_leaves_nothing_behind():
    renderer = Renderer(RATE)
    flute = Part(73, (Note(0.5, 1.0, 69, 100),))
    first = renderer.play((flute,), 2 * RATE)
    assert not first[: RATE // 2].any()
    spectrum = np.abs(np.fft.rfft(first[RATE // 2 : 3 * RATE // 2] * np.hanning(RATE)))
    assert np.argmax(spectrum[200:800]) + 200 == pytest.approx(440, abs=4)
    assert np.array_equal(renderer.play((flute,), 2 * RATE), first)
    assert not renderer.play((Part(73, ()),), RATE).any()


def test_what_is_there_is_kept_and_other_settings_are_refused(tmp_path, capsys):
    options = ["--artists", "1", "--songs", "1", "--duration", "1", "--container", "wav"]
    assert main(["corpus", "-o", str(tmp_path / "c"), *options]) == 0
    assert "10 songs of 10 genres by 10 artists" in capsys.readouterr().out
    song = tmp_path / "c/jazz/jazz-00_00"
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "c").rglob("*.wav")}
    before = audio_io.load(song / "bass.wav")[0]
    (song / "bass.wav").unlink()
    assert main(["corpus", "-o", str(tmp_path / "c"), *options]) == 0
    assert torch.equal(audio_io.load(song / "bass.wav")[0], before)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items() if path.parent != song)
    assert main(["corpus", "-o", str(tmp_path / "c"), *options, "--seed", "3"]) == 2
    assert "found a rendered corpus of other settings, expected the same settings" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    assert main(["corpus", "-o", str(tmp_path / "mine")]) == 2
    assert "something other than a rendered corpus" in capsys.readouterr().err


def test_rendering_plays_no_sound_device():
    code = (
        "import sys\nfrom genre.corpus.render import Renderer\nRenderer(22050)\n"
        "assert 'pyaudio' not in sys.modules and 'pretty_midi' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
