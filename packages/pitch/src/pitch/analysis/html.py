"""The analysis as one web page that needs nothing but a browser: no network, no other file.

The recording is in it as MP3; of one longer than `EMBED_SECONDS` the page names the file by its path
relative to the page instead.
"""

import base64
import html
import math
import os
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

import audio_io
from audio_io.atomic import write_text
from pitch.analysis.figure import contour_midi
from pitch.analysis.report import Analysis, NoteReport, SongReport
from pitch.notes import midi_name
from pitch.result import Track

Floats = npt.NDArray[np.float64]

EMBED_SECONDS = 600.0  # about 10 MB
MP3_RATE = 44100  # Hz
ROW = 18  # pixels a semitone
PIXELS_PER_SECOND = 110.0
NARROWEST, WIDEST = 1100.0, 60000.0  # pixels; shorter recordings are drawn wider, longer ones denser
BLACK_KEYS = frozenset({1, 3, 6, 8, 10})


def save_page(
    path: str | Path, analysis: Analysis, track: Track, recording: str | Path, *, name: str
) -> None:
    """Write the page of one recording.

    Args:
        path: Where to write.
        analysis: From `analyze_track`.
        track: What was analysed.
        recording: The audio file.
        name: Of the recording, for the title.

    Raises:
        AudioError: If the recording cannot be read.
    """
    source = _audio_source(Path(recording), Path(path), track.duration)
    body = [
        f"<h1>{html.escape(name)}</h1>",
        f"<p>{html.escape(analysis.finding())}.</p>",
        f'<audio controls preload="auto" src="{source}">This browser plays no audio.</audio>',
        "<h2>Notes and pitch</h2>",
        f'<p class="soft">{_legend(analysis)} A note plays when clicked, or chosen with Tab and Enter.</p>',
        _roll(analysis, track),
        "<h2>The song in numbers</h2>",
        _song_table(analysis.song),
        "<h2>The notes in numbers</h2>",
        _note_table(analysis.notes),
    ]
    _write_page(path, f"{name}: singing analysis", body)


def save_index(path: str | Path, entries: Sequence[tuple[str, str, SongReport]]) -> None:
    """Write the page that compares several recordings.

    Args:
        path: Where to write.
        entries: Name, page relative to this one, and numbers of each.
    """
    heads = (
        "recording", "notes", "range", "A4 (Hz)", "off (cents)", "in tune", "drift (cents/min)",
        "vibrato (Hz)", "extent (± cents)",
    )  # fmt: skip
    rows = []
    for name, page, song in entries:
        reach = "" if song.lowest_name is None else f"{song.lowest_name} to {song.highest_name}"
        share = "" if song.in_tune_share is None else f"{song.in_tune_share:.0%}"
        link = f'<a href="{quote(os.fsencode(page))}">{html.escape(name)}</a>'
        numbers = (
            _number(song.absolute_deviation_cents, ".0f"), share, _number(song.drift_cents_per_min, "+.1f"),
            _number(song.vibrato_rate_hz, ".2f"), _number(song.vibrato_extent_cents, ".0f"),
        )  # fmt: skip
        rows.append((link, str(song.notes), reach, f"{song.tuning_hz:.1f}", *numbers))
    title = f"Singing analysis of {len(entries)} recordings"
    _write_page(path, title, [f"<h1>{title}</h1>", _table(heads, rows)])


def _write_page(path: str | Path, title: str, body: Sequence[str]) -> None:
    template = resources.files("pitch.analysis").joinpath("page.html").read_text(encoding="utf-8")
    write_text(path, Template(template).substitute(title=html.escape(title), body="\n".join(body)))


def _audio_source(recording: Path, page: Path, duration: float) -> str:
    if duration > EMBED_SECONDS:
        try:
            beside = Path(os.path.relpath(recording.resolve(), page.resolve().parent))
            return quote(os.fsencode(beside.as_posix()))
        except ValueError:  # another drive of Windows
            return recording.resolve().as_uri()
    waveform, rate = audio_io.load(recording, sample_rate=MP3_RATE, channels="mono")
    with tempfile.TemporaryDirectory() as folder:
        mp3 = Path(folder) / "audio.mp3"
        audio_io.save(mp3, waveform, rate)
        return "data:audio/mpeg;base64," + base64.b64encode(mp3.read_bytes()).decode("ascii")


def _legend(analysis: Analysis) -> str:
    tolerance = f"{analysis.config.tolerance:g}"
    return (
        f'<span class="flat"><b>Flat</b></span>, <span class="right"><b>within {tolerance} cents</b></span>, '
        f'<span class="sharp"><b>sharp</b></span>; the number is the deviation in cents, the line the pitch.'
    )


def _kind(note: NoteReport, tolerance: float) -> str:
    if abs(note.deviation_cents) <= tolerance:
        return "right"
    return "sharp" if note.deviation_cents > 0 else "flat"


def _roll(analysis: Analysis, track: Track) -> str:
    """The piano roll: names of the notes at the left, the rest scrolls."""
    midi = contour_midi(track, analysis.song.tuning_hz)
    targets = [note.target_midi for note in analysis.notes] or [60]
    low, high = min(targets) - 2, max(targets) + 3
    duration = max(track.duration, track.hop_seconds)
    scale = min(max(PIXELS_PER_SECOND, NARROWEST / duration), WIDEST / duration)
    width, height = track.duration * scale, (high - low + 1) * ROW + 18

    def top(value: float) -> float:
        return (high - value) * ROW

    rows, names = [], []
    for key in range(low, high + 1):
        if key % 12 in BLACK_KEYS:
            rows.append(f'<rect class="row" x="0" y="{top(key):g}" width="{width:.1f}" height="{ROW}"/>')
        else:
            names.append(f'<text x="4" y="{top(key) + 13:g}">{midi_name(key)}</text>')
    step = next((step for step in (1, 5, 10, 30) if step * scale >= 40), 60)
    ticks = [
        f'<line class="tick" x1="{second * scale:.1f}" x2="{second * scale:.1f}" y1="0" y2="{height - 18}"/>'
        f'<text x="{second * scale + 3:.1f}" y="{height - 4}">{second} s</text>'
        for second in range(0, int(track.duration) + 1, step)
    ]
    bars = []
    for note in analysis.notes:
        x, long = note.onset_s * scale, (note.offset_s - note.onset_s) * scale
        said = html.escape(_in_words(note), quote=True)
        bars.append(
            f'<g class="note {_kind(note, analysis.config.tolerance)}" tabindex="0" role="button" '
            f'data-onset="{note.onset_s:.3f}" aria-label="{said}"><title>{said}</title>'
            f'<rect x="{x:.1f}" y="{top(note.target_midi):g}" width="{long:.1f}" height="{ROW}" rx="2"/>'
            f'<text x="{x + 3:.1f}" y="{top(note.target_midi) - 4:g}">'
            f"{note.deviation_cents:+.0f}</text></g>"
        )
    curve = _curve(track.times * scale, (high - midi + 0.5) * ROW)
    return (
        f'<div class="roll"><svg width="38" height="{height}" aria-hidden="true">{"".join(names)}</svg>'
        f'<div tabindex="0" role="group" aria-label="piano roll" data-pixels-per-second="{scale:.6f}">'
        f'<svg width="{width:.0f}" height="{height}">{"".join(rows)}{"".join(ticks)}{"".join(bars)}'
        f'<path class="curve" d="{curve}"/>'
        f'<line class="playhead" x1="0" x2="0" y1="0" y2="{height}"/></svg></div></div>'
    )


def _curve(x: Floats, y: Floats) -> str:
    """SVG path through the points, lifted where y is NaN."""
    parts, drawing = [], False
    for horizontal, vertical in zip(x.tolist(), y.tolist(), strict=True):
        if math.isnan(vertical):
            drawing = False
            continue
        parts.append(f"{'L' if drawing else 'M'}{horizontal:.1f} {vertical:.1f}")
        drawing = True
    return "".join(parts)


def _in_words(note: NoteReport) -> str:
    side = "sharp" if note.deviation_cents > 0 else "flat"
    text = f"{note.name}, {note.onset_s:.2f} to {note.offset_s:.2f} s, "
    text += f"{abs(note.deviation_cents):.0f} cents {side}"
    if note.vibrato is not None:
        text += f", vibrato {note.vibrato.rate_hz:.1f} Hz ±{note.vibrato.extent_cents:.0f} cents"
    return text


def _song_table(song: SongReport) -> str:
    rows = [
        ("Tuning, A4", f"{song.tuning_hz:.1f} Hz", "estimated" if song.tuning_is_estimated else "given"),
        ("Accuracy", _number(song.accuracy_cents, "+.1f", "cents"), "mean deviation of the notes"),
        ("Precision", _number(song.precision_cents, ".1f", "cents"), "standard deviation of it"),
        ("Absolute deviation", _number(song.absolute_deviation_cents, ".1f", "cents"), "mean"),
        (
            "In tune",
            _number(None if song.in_tune_share is None else 100 * song.in_tune_share, ".0f", "%"),
            f"of the sung time, within {song.tolerance_cents:g} cents",
        ),
        (
            "Drift",
            _number(song.drift_cents_per_min, "+.1f", "cents/min"),
            "median slope; needs 4 notes over 20 s",
        ),
        (
            "Stability",
            _number(song.stability_cents, ".1f", "cents"),
            "within a note, without vibrato; median",
        ),
        ("Attack", _number(song.attack_s, ".3f", "s"), "until within 30 cents; median"),
        ("Vibrato rate", _number(song.vibrato_rate_hz, ".2f", "Hz"), "mean of the notes that have it"),
        ("Vibrato extent", _number(song.vibrato_extent_cents, ".1f", "cents"), "half peak to peak"),
        ("Vibrato regularity", _number(song.vibrato_regularity, ".2f"), "1 is a clockwork"),
        ("Vibrato onset", _number(song.vibrato_onset_delay_s, ".2f", "s"), "after the onset of the note"),
        (
            "Range",
            _span(song.lowest_name, song.highest_name),
            _number(song.range_semitones, ".1f", "semitones"),
        ),
        (
            "Tessitura",
            _span(_number(song.tessitura_low_hz, ".0f"), _number(song.tessitura_high_hz, ".0f", "Hz")),
            "middle 80 % of the sung time",
        ),
    ]
    return _table(("measure", "value", "meaning"), rows, kind="words")


def _span(low: str | None, high: str | None) -> str:
    return f"{low} to {high}" if low and high else ""


def _note_table(notes: Sequence[NoteReport]) -> str:
    heads = (
        "plays from", "note", "length (s)", "pitch (Hz)", "deviation (cents)", "attack (s)",
        "stability (cents)", "vibrato (Hz)", "extent (± cents)", "begins after (s)",
    )  # fmt: skip
    rows = []
    for note in notes:
        vibrato = note.vibrato
        rows.append(
            (
                f'<button type="button" aria-label="play {html.escape(_in_words(note), quote=True)}">'
                f"{note.onset_s:.2f} s</button>",
                note.name,
                f"{note.offset_s - note.onset_s:.2f}",
                f"{note.pitch_hz:.1f}",
                f"{note.deviation_cents:+.0f}",
                f"{note.attack_s:.2f}",
                f"{note.stability_cents:.0f}",
                *(
                    ("", "", "")
                    if vibrato is None
                    else (
                        f"{vibrato.rate_hz:.2f}",
                        f"{vibrato.extent_cents:.0f}",
                        f"{vibrato.onset_delay_s:.2f}",
                    )
                ),
            )
        )
    marks = [f' data-onset="{note.onset_s:.3f}" data-offset="{note.offset_s:.3f}"' for note in notes]
    return _table(heads, rows, marks)


def _table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    marks: Sequence[str] | None = None,
    *,
    kind: str = "numbers",
) -> str:
    marks = marks if marks is not None else [""] * len(rows)
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "\n".join(
        f"<tr{mark}>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
        for mark, row in zip(marks, rows, strict=True)
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}} {unit}".rstrip()
