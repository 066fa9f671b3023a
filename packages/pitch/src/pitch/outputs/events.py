"""Formats with notes: CSV, MIDI, and JAMS, which holds the frames too."""

import json
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import mido
import numpy as np

from audio_io.atomic import atomic_path, write_text
from pitch.notes import NoteEvent, frequency_to_midi
from pitch.result import Track

NOTES_HEADER = "onset_s,offset_s,frequency_hz,midi,deviation_cents,confidence,name"

# At 120 beats a minute and 500 ticks a beat, a tick is a millisecond.
TEMPO = 500_000  # µs a beat
TICKS_PER_BEAT = 500
VELOCITY = 80  # of every note: a pitch track does not know how loud it was
BEND_SEMITONES = 2  # to either side, the range of General MIDI
BEND_STEPS = 8192  # for that range
LEAST_BEND = 1.0  # cents; smaller changes are not written

JAMS_VERSION = "0.3.4"


def save_notes(path: str | Path, notes: Sequence[NoteEvent]) -> None:
    """Write notes as CSV, a row a note; the header names the columns and their units."""
    rows = [
        f"{note.onset:.4f},{note.offset:.4f},{note.frequency:.3f},{note.midi:.4f},{note.cents:.2f},"
        f"{note.confidence:.4f},{note.name}"
        for note in notes
    ]
    write_text(path, "\n".join([NOTES_HEADER, *rows]) + "\n")


def save_midi(path: str | Path, track: Track, notes: Sequence[NoteEvent], *, name: str) -> None:
    """Write notes as a MIDI file whose pitch bend follows the contour, times exact to a millisecond.

    A note is the nearest key; the bend, ±2 semitones, has the intonation, vibrato and glides. All notes have
    the same velocity, since a pitch track does not know how loud they were.

    Args:
        path: Where to write.
        track: The contour.
        notes: From `pitch.segment_notes`.
        name: Of the recording; the title of the track in the file.
    """
    file = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_BEAT, charset="utf-8")
    events = mido.MidiTrack()
    file.tracks.append(events)
    events.append(mido.MetaMessage("track_name", name=name))
    events.append(mido.MetaMessage("set_tempo", tempo=TEMPO))
    # Registered parameter 0 is the range of the bend.
    for control, value in ((101, 0), (100, 0), (6, BEND_SEMITONES), (38, 0), (101, 127), (100, 127)):
        events.append(mido.Message("control_change", control=control, value=value))
    now = 0
    for tick, kind, values in _midi_events(track, notes):
        events.append(mido.Message(kind, time=tick - now, **values))
        now = tick
    events.append(mido.MetaMessage("end_of_track", time=max(0, round(1000 * track.duration) - now)))
    with atomic_path(path) as temporary:
        file.save(temporary)


def _midi_events(track: Track, notes: Sequence[NoteEvent]) -> Iterator[tuple[int, str, dict[str, int]]]:
    """Tick, type and values of the messages, in the order of time."""
    times, voiced = track.times, track.voiced
    for note in notes:
        key = round(note.midi)
        start, end = round(1000 * note.onset), round(1000 * note.offset)
        frames = np.flatnonzero((times >= note.onset) & (times <= note.offset) & voiced)
        written = None
        for frame in frames:
            cents = 100 * (frequency_to_midi(float(track.frequency[frame])) - key)
            if written is None or abs(cents - written) >= LEAST_BEND:
                bend = round(cents / (100 * BEND_SEMITONES) * BEND_STEPS)
                # The bend of the first frame is there before the note sounds.
                tick = start if written is None else min(max(start, round(1000 * times[frame])), end)
                yield tick, "pitchwheel", {"pitch": min(max(bend, -BEND_STEPS), BEND_STEPS - 1)}
                if written is None:
                    yield start, "note_on", {"note": key, "velocity": VELOCITY}
                written = cents
        yield end, "note_off", {"note": key, "velocity": 0}


def save_jams(path: str | Path, track: Track, notes: Sequence[NoteEvent], *, name: str) -> None:
    """Write a JAMS file with two annotations: `pitch_contour` (frames) and `note_midi` (notes).

    Args:
        path: Where to write.
        track: The frames; those without voice keep their frequency and are marked `voiced: false`.
        notes: From `pitch.segment_notes`.
        name: Of the recording; the title in the file.

    Reference:
        Humphrey et al., "JAMS: A JSON Annotated Music Specification for Reproducible MIR Research", ISMIR
        2014.
    """
    frames = [
        {"index": 0, "frequency": float(frequency), "voiced": bool(voiced)}
        for frequency, voiced in zip(track.frequency, track.voiced, strict=True)
    ]
    contour = {
        "time": track.times.tolist(),
        "duration": [0.0] * len(frames),
        "value": frames,
        "confidence": [float(value) for value in track.confidence],
    }
    observations = [
        {"time": note.onset, "duration": note.duration, "value": note.midi, "confidence": note.confidence}
        for note in notes
    ]
    content = {
        "annotations": [
            _annotation("pitch_contour", contour, track.duration),
            _annotation("note_midi", observations, track.duration),
        ],
        "file_metadata": {
            "title": name,
            "artist": "",
            "release": "",
            "duration": track.duration,
            "identifiers": {},
            "jams_version": JAMS_VERSION,
        },
        "sandbox": {},
    }
    write_text(path, json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")


def _annotation(namespace: str, data: Any, duration: float) -> dict[str, Any]:  # noqa: ANN401 - either of JAMS's two forms of data
    return {
        "namespace": namespace,
        "data": data,
        "time": 0.0,
        "duration": duration,
        "annotation_metadata": {
            "annotation_tools": f"pitch {metadata.version('pitch')}",
            "data_source": "program",
        },
        "sandbox": {},
    }
