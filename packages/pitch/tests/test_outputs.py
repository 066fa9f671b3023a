import csv

import jams
import mido
import numpy as np
import parselmouth
import pytest
import torch
from PIL import Image

from audio_io.errors import ConfigError
from pitch import TrackConfig, Tracker, demo, segment_notes
from pitch.outputs import SUFFIXES, check_outputs
from pitch.outputs.write import write_outputs


@pytest.fixture(scope="module")
def track():
    return Tracker(TrackConfig(model="tiny")).track_file(demo.recording())


@pytest.fixture(scope="module")
def files(track, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    # A title that neither Latin-1 nor XML takes as it is.
    paths = {name: folder / f"песня & co{suffix}" for name, suffix in SUFFIXES.items() if name != "json"}
    write_outputs(track, paths, name="песня & co.flac")
    assert sorted(folder.iterdir()) == sorted(paths.values())
    return paths


def test_npy_has_the_numbers(track, files):
    array = np.load(files["npy"])
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, np.stack([track.times, track.frequency, track.confidence], axis=1))


def test_pt_has_the_numbers_and_needs_no_trust(track, files):
    tensors = torch.load(files["pt"], weights_only=True)
    assert {name: tensor.dtype for name, tensor in tensors.items()} == {
        "time": torch.float64,
        "frequency": torch.float32,
        "confidence": torch.float32,
        "voiced": torch.bool,
    }
    for name, expected in (("time", track.times), ("frequency", track.frequency), ("voiced", track.voiced)):
        np.testing.assert_array_equal(tensors[name].numpy(), expected)


def test_praat_reads_the_pitch_tier(track, files):
    tier = parselmouth.read(str(files["pitchtier"]))
    assert parselmouth.praat.call(tier, "Get number of points") == track.voiced.sum()
    assert parselmouth.praat.call(tier, "Get end time") == pytest.approx(track.duration)
    for number, frame in list(enumerate(np.flatnonzero(track.voiced), start=1))[::17]:
        time = parselmouth.praat.call(tier, "Get time from index", number)
        assert time == pytest.approx(track.times[frame], abs=1e-12)
        value = parselmouth.praat.call(tier, "Get value at index", number)
        assert value == pytest.approx(float(track.frequency[frame]), rel=1e-12)


def test_jams_is_valid_and_has_frames_and_notes(track, files):
    content = jams.load(str(files["jams"]), validate=True, strict=True)
    assert content.file_metadata.title == "песня & co.flac"
    (contour,) = content.search(namespace="pitch_contour")
    assert contour.validate(strict=True)
    times, values = contour.to_event_values()
    np.testing.assert_allclose(times, track.times, atol=1e-9)
    np.testing.assert_allclose([value["frequency"] for value in values], track.frequency)
    assert [value["voiced"] for value in values] == track.voiced.tolist()
    (sung,) = content.search(namespace="note_midi")
    intervals, midi = sung.to_interval_values()
    notes = segment_notes(track)
    np.testing.assert_allclose(intervals, [(note.onset, note.offset) for note in notes], atol=1e-9)
    np.testing.assert_allclose(midi, [note.midi for note in notes])


def played(path):
    """Onset, offset (s) and key of each note of a MIDI file, and the (time, cents) of its bends."""
    notes, bends, sounding, now = [], [], {}, 0.0
    for message in mido.MidiFile(path, charset="utf-8"):
        now += message.time
        if message.type == "note_on":
            sounding[message.note] = now
        elif message.type == "note_off":
            notes.append((sounding.pop(message.note), now, message.note))
        elif message.type == "pitchwheel":
            # Two semitones to either side.
            bends.append((now, sorted(sounding), message.pitch / 8192 * 200))
    assert not sounding
    return notes, bends, now


def test_midi_plays_the_notes_at_their_seconds_with_their_pitch(track, files):
    notes, bends, end = played(files["midi"])
    expected = segment_notes(track)
    assert [key for _, _, key in notes] == [round(note.midi) for note in expected]
    times = [(onset, offset) for onset, offset, _ in notes]
    np.testing.assert_allclose(times, [(note.onset, note.offset) for note in expected], atol=0.001)
    assert end == pytest.approx(track.duration, abs=0.001)
    # Key and bend together are the contour, to the 1 cent below which no bend is written.
    off = [
        100 * key + cents - 100 * (69 + 12 * np.log2(track.frequency[round(time / track.hop_seconds)] / 440))
        for time, keys, cents in bends
        for key in keys
        if abs(cents) < 190
    ]
    assert len(off) > 100
    assert np.abs(off).max() < 0.1


def test_the_table_of_notes_has_units_in_its_header(track, files):
    with files["notes"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:3] == ["onset_s", "offset_s", "frequency_hz"]
    for row, note in zip(rows, segment_notes(track), strict=True):
        assert float(row["onset_s"]) == pytest.approx(note.onset, abs=1e-4)
        assert float(row["midi"]) == pytest.approx(note.midi, abs=1e-4)
        assert row["name"] == note.name


def test_the_figure_is_there_in_both_formats(files):
    assert files["svg"].read_text(encoding="utf-8").count("<path") > 20
    with Image.open(files["png"]) as image:
        assert image.size == (1500, 750)


def test_a_recording_without_a_note_can_be_written_in_every_format(track, tmp_path):
    silent = Tracker(TrackConfig(model="tiny")).track(torch.zeros(8000), 16000)
    paths = {name: tmp_path / f"silent{suffix}" for name, suffix in SUFFIXES.items() if name != "json"}
    write_outputs(silent, paths, name="silent.wav")
    assert played(paths["midi"])[0] == []
    assert jams.load(str(paths["jams"])).search(namespace="note_midi")[0].data == []
    assert parselmouth.praat.call(parselmouth.read(str(paths["pitchtier"])), "Get number of points") == 0


def test_names_of_outputs_are_checked():
    assert check_outputs("png, csv,csv") == ("csv", "png")
    for bad in ("csv,wav", "", "csv,"):
        with pytest.raises(ConfigError, match="outputs: found '"):
            check_outputs(bad)
