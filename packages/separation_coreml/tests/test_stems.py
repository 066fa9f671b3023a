import numpy as np
import pytest
import torch

import audio_io
from audio_io.errors import ConfigError
from separation_coreml.cli import main
from separation_coreml.stems.render import mix, render, render_folder
from separation_coreml.stems.song import STEMS, compose
from separation_coreml.stems.sounds import SAMPLE_RATE


@pytest.fixture(scope="module")
def song():
    return render(6.0, 3)


def centroid(stem):
    power = np.abs(np.fft.rfft(stem.sum(axis=0))) ** 2
    return (power * np.fft.rfftfreq(stem.shape[1], 1 / SAMPLE_RATE)).sum() / power.sum()


def test_a_seed_is_a_song_and_another_seed_another(song):
    again, other = render(6.0, 3), render(6.0, 4)
    assert tuple(song) == STEMS
    for name in STEMS:
        assert song[name].dtype == np.float32
        assert song[name].shape == (2, 6 * SAMPLE_RATE)
        assert np.array_equal(song[name], again[name])
        assert not np.array_equal(song[name], other[name])


def test_every_stem_sounds_as_loud_as_the_others_and_nothing_clips(song):
    levels = {name: 20 * np.log10(stem.std()) for name, stem in song.items()}
    assert max(levels.values()) - min(levels.values()) <= 6.1  # ±3 dB are drawn
    assert all(np.abs(stem).max() < 1 for stem in song.values())
    assert np.abs(mix(song)).max() < 1


def test_parts_are_where_they_belong(song):
    assert centroid(song["bass"]) < 300 < centroid(song["vocals"]) < 3000
    assert centroid(song["bass"]) < centroid(song["other"])
    # Drums are short: most of their energy lies in few moments.
    envelope = (song["drums"] ** 2).sum(axis=0)[: 600 * 441].reshape(600, -1).sum(axis=1)
    assert np.sort(envelope)[-150:].sum() > 0.8 * envelope.sum()


def test_the_bass_plays_the_roots_of_the_chords():
    song = compose(6.0, 3)
    stem = render(6.0, 3)["bass"][0].astype(np.float64)
    first = stem[: round(song.bar / 8 * 0.5 * SAMPLE_RATE)]
    spectrum = np.abs(np.fft.rfft(first * np.hanning(first.size), 1 << 18))
    frequency = np.fft.rfftfreq(1 << 18, 1 / SAMPLE_RATE)
    below = frequency < 110
    root = 440 * 2 ** ((song.pitch(song.chord(0)[0], 1) - 69) / 12)
    assert abs(frequency[below][spectrum[below].argmax()] - root) < 2


def test_a_folder_holds_songs_whose_mixture_is_the_sum_to_the_bit(tmp_path):
    assert main(["render-stems", "-o", str(tmp_path), "--songs", "2", "--seconds", "1.5", "--seed", "7"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["song-0007", "song-0008"]
    for folder in tmp_path.iterdir():
        mixture, rate = audio_io.load(folder / "mixture.wav")
        total = torch.zeros_like(mixture)
        for name in STEMS:
            total += audio_io.load(folder / f"{name}.wav")[0]
        assert rate == SAMPLE_RATE
        assert torch.equal(mixture, total)
        assert mixture.std() > 0.01
    stem, _ = audio_io.load(tmp_path / "song-0008" / "vocals.wav")
    assert np.array_equal(stem.numpy(), render(1.5, 8)["vocals"])


def test_an_interrupted_run_goes_on(tmp_path):
    places = render_folder(tmp_path, songs=2, seconds=1.0)
    kept, lost = places[0] / "drums.wav", places[1] / "mixture.wav"
    before, samples = kept.stat().st_mtime_ns, audio_io.load(lost)[0]
    lost.unlink()
    render_folder(tmp_path, songs=2, seconds=1.0)
    assert kept.stat().st_mtime_ns == before
    assert torch.equal(audio_io.load(lost)[0], samples)
    (places[0] / "bass.wav").unlink()
    render_folder(tmp_path, songs=1, seconds=1.0)
    assert audio_io.info(places[0] / "bass.wav").frames == SAMPLE_RATE
    # Songs of another length are other songs.
    render_folder(tmp_path, songs=1, seconds=0.5)
    assert audio_io.info(kept).frames == SAMPLE_RATE // 2


@pytest.mark.parametrize(
    ("seconds", "seed", "field"), [(0.0, 0, "seconds"), (float("nan"), 0, "seconds"), (1, -1, "seed")]
)
def test_values_out_of_range_are_refused(seconds, seed, field):
    with pytest.raises(ConfigError) as caught:
        render(seconds, seed)
    assert caught.value.field == field


def test_the_command_refuses_in_a_sentence(tmp_path, capsys):
    assert main(["render-stems", "-o", str(tmp_path), "--songs", "0"]) == 2
    assert "songs: found 0, expected at least 1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
