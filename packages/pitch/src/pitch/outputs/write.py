"""From a track to the files that were asked for."""

from collections.abc import Mapping
from pathlib import Path

from pitch.notes import NoteConfig
from pitch.outputs.events import save_jams, save_midi, save_notes
from pitch.outputs.frames import save_npy, save_pitch_tier, save_pt
from pitch.plot import Truth, plot_track
from pitch.result import Track
from pitch.segmentation import segment_notes


def write_outputs(
    track: Track,
    paths: Mapping[str, Path],
    *,
    name: str,
    notes: NoteConfig | None = None,
    truth: Truth | None = None,
) -> None:
    """Write a track in several formats, each file whole or not at all.

    Args:
        track: What to write.
        paths: Where to, by the keys of `pitch.outputs.SUFFIXES`; not `json`, the record of a run.
        name: Of the recording, for the formats that hold a title.
        notes: How the track is cut into notes, for the formats that hold notes.
        truth: True pitch for the figures; see `plot_track`.
    """
    events = segment_notes(track, notes) if {"notes", "midi", "jams"} & set(paths) else []
    for output, path in paths.items():
        match output:
            case "csv":
                track.save_csv(path)
            case "npy":
                save_npy(path, track)
            case "pt":
                save_pt(path, track)
            case "pitchtier":
                save_pitch_tier(path, track)
            case "jams":
                save_jams(path, track, events, name=name)
            case "notes":
                save_notes(path, events)
            case "midi":
                save_midi(path, track, events, name=name)
            case "png" | "svg":
                plot_track(track, path, name=name, truth=truth)
            case _:
                raise ValueError(f"no writer of {output!r}")
