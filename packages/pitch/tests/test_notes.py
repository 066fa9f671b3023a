import dataclasses

import mido
import numpy as np
import pytest

from pitch import NoteConfig, analyze_track, demo, segment_notes, synth
from pitch.notes import note_name
from pitch.outputs.events import save_midi
from pitch.result import Overview, Track
from pitch.tracking import TrackConfig, Tracker


def track_of(midi, *, voiced=True, hop=0.01):
    """A track of the MIDI note numbers, one a frame."""
    midi = np.asarray(midi, dtype=np.float64)
    return Track(
        frequency=(440 * 2 ** ((midi - 69) / 12)).astype(np.float32),
        confidence=(np.zeros(len(midi)) + voiced).astype(np.float32),
        hop_seconds=hop,
        duration=len(midi) * hop,
        threshold=0.5,
        overview=Overview(),
    )


def sung_notes():
    """Onset, offset and MIDI number of each note of the shipped phrase."""
    ends = np.cumsum([note.seconds for note in synth.PHRASE])
    return [
        (end - note.seconds, end, note.pitch)
        for note, end in zip(synth.PHRASE, ends, strict=True)
        if note.pitch is not None
    ]


@pytest.mark.parametrize("model", ["tiny", "full"])
def test_the_shipped_phrase_has_exactly_its_notes(model):
    found = segment_notes(Tracker(TrackConfig(model=model)).track_file(demo.recording()))
    assert [round(note.midi) for note in found] == [pitch for _, _, pitch in sung_notes()]
    for note, (onset, offset, pitch) in zip(found, sung_notes(), strict=True):
        assert note.onset == pytest.approx(onset, abs=0.05)
        assert note.offset == pytest.approx(offset, abs=0.05)
        assert note.midi == pytest.approx(pitch, abs=0.15)
        assert 0.7 < note.confidence <= 1


@pytest.mark.parametrize("hop", [0.005, 0.01, 0.02])
@pytest.mark.parametrize("rate", [5.0, 6.0, 7.0])
def test_vibrato_of_a_semitone_to_either_side_is_one_note(rate, hop):
    time = np.arange(0, 3, hop)
    (note,) = segment_notes(track_of(60 + np.sin(2 * np.pi * rate * time + 1), hop=hop))
    assert note.midi == pytest.approx(60, abs=0.1)
    assert (note.onset, note.offset) == pytest.approx((0, 3), abs=hop)


def test_steps_and_gaps_part_notes_and_short_gaps_do_not():
    midi = np.repeat([60.0, 61.0, 61.0, 64.0, 64.0], [50, 40, 30, 30, 30])
    voiced = np.ones(180, dtype=bool)
    voiced[90:100] = False  # 100 ms: the same note again
    voiced[160:164] = False  # 40 ms: a consonant
    notes = segment_notes(track_of(midi, voiced=voiced))
    assert [round(note.midi) for note in notes] == [60, 61, 61, 64]
    assert [note.onset for note in notes] == pytest.approx([0.0, 0.495, 0.995, 1.195])
    assert [note.offset for note in notes] == pytest.approx([0.495, 0.895, 1.195, 1.795])
    apart = segment_notes(track_of(midi, voiced=voiced), NoteConfig(max_gap=0.0))
    assert [round(note.midi) for note in apart] == [60, 61, 61, 64, 64]


@pytest.mark.parametrize("hop", [0.005, 0.01, 0.02])
def test_a_step_is_placed_between_its_two_frames(hop):
    frames = round(0.5 / hop)
    notes = segment_notes(track_of(np.repeat([60.0, 64.0, 60.0, 67.0], frames), hop=hop))
    assert [note.onset / hop for note in notes[1:]] == pytest.approx([k * frames - 0.5 for k in (1, 2, 3)])


def test_octave_jumps_of_the_tracker_and_blips_are_no_notes():
    midi = np.full(100, 57.0)
    midi[40:43] = 69.0
    voiced = np.ones(100, dtype=bool)
    voiced[80:90], voiced[95:] = False, False  # leaves 50 ms of voice
    (note,) = segment_notes(track_of(midi, voiced=voiced))
    assert note.midi == pytest.approx(57.0, abs=1e-3)
    assert note.offset == pytest.approx(0.795)
    assert len(segment_notes(track_of(midi, voiced=voiced), NoteConfig(min_note=0.04))) == 2


def test_silence_has_no_notes():
    assert segment_notes(track_of(np.full(50, 60.0), voiced=False)) == []


def test_a_note_says_how_far_it_is_from_the_nearest():
    (note,) = segment_notes(track_of(np.full(50, 60.3)))
    assert note.name == "C4"
    assert note.cents == pytest.approx(30, abs=0.01)
    assert note_name(note.frequency) == "C4 +30 cents"


def test_notes_of_single_frames_keep_their_frame(tmp_path):
    # A frame every 100 ms: as long as the shortest note.
    notes = segment_notes(track_of([60, 72, 72, 65], hop=0.1))
    assert [note.name for note in notes] == ["C4", "C5", "F4"]
    gaps = track_of([60, 72, 72, 60, 72], voiced=np.array([True, False, False, True, True]), hop=0.1)
    for config in (NoteConfig(max_gap=1.0), NoteConfig(max_gap=1.0, change_cost=0.0, min_step=0.0)):
        assert all(np.isfinite(note.frequency) for note in segment_notes(gaps, config))


def test_a_note_in_the_last_frame_alone_can_be_analysed_and_played(tmp_path):
    # 3,200 samples: the last of three frames is centred on the end of the recording.
    voiced = np.array([False, False, True])
    track = dataclasses.replace(track_of([60, 60, 69], voiced=voiced, hop=0.1), duration=0.2)
    (note,) = analyze_track(track).notes
    assert (note.name, note.onset_s, note.offset_s) == ("A4", pytest.approx(0.15), 0.2)
    save_midi(tmp_path / "a.mid", track, segment_notes(track), name="a")
    played = [
        (message.type, message.note)
        for message in mido.MidiFile(tmp_path / "a.mid")
        if "note" in message.type
    ]
    assert played == [("note_on", 69), ("note_off", 69)]
