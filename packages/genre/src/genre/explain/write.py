"""Explanations of recordings as files: figures, `explain.json` and one web page."""

import base64
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

import audio_io
from audio_io.atomic import write_json
from audio_io.errors import AudioError
from audio_io.progress import Progress
from genre.explain.figures import TimeAxis, draw_summary, draw_track
from genre.explain.page import write_page
from genre.explain.report import Entry, Report, as_json
from genre.explain.summary import summarise
from genre.explain.track import Explainer
from genre.layouts import track_of
from genre.outputs import claimed_folder

EMBED_SECONDS = 600.0  # of sound in one page; about 5 MB
SUMMARY_FIGURE, NUMBERS = "summary.png", "explain.json"
_SOUND_RATE = 22050  # MP3 knows few


def write_report(
    explainer: Explainer, recordings: Sequence[Path], folder: str | Path, *, figures: bool = True
) -> Report:
    """Explain recordings and write `index.html`, `explain.json` and the figures.

    Interrupted, it writes the report of what has been explained until then, and stops all the same. Where
    nothing could be explained, nothing is written.

    Args:
        explainer: With the network and the settings.
        recordings: Sound files and folders of stems.
        folder: Where to write.
        figures: Whether each recording has a figure and its sound in the page.

    Raises:
        WeightsNotFoundError: If Demucs is needed and its weights cannot be had.
        FileError: If the folder holds what another command has written.
        OSError: If a file cannot be written; it carries its name.
    """
    with claimed_folder(folder, "genre explain", NUMBERS) as place:
        return _write_report(explainer, recordings, place, figures=figures)


def _write_report(explainer: Explainer, recordings: Sequence[Path], place: Path, *, figures: bool) -> Report:
    entries: list[Entry] = []
    errors: list[AudioError] = []
    interrupted: KeyboardInterrupt | None = None
    with Progress("explain", len(recordings), "recordings") as progress:
        try:
            for outcome in _explained(explainer, recordings, place, figures=figures):
                if isinstance(outcome, Entry):
                    entries.append(outcome)
                else:
                    errors.append(outcome)
                progress.advance(1)
        except KeyboardInterrupt as error:
            interrupted = error
    summary = summarise([entry.explanation for entry in entries]) if entries else None
    report = Report(tuple(entries), tuple(errors), summary, place / "index.html")
    if summary is not None:
        draw_summary(place / SUMMARY_FIGURE, summary)
        write_json(place / NUMBERS, as_json(report, explainer))
        write_page(report, place / SUMMARY_FIGURE, explainer.config)
    if interrupted is not None:
        raise interrupted
    return report


def _explained(
    explainer: Explainer, recordings: Sequence[Path], folder: Path, *, figures: bool
) -> Iterator[Entry | AudioError]:
    names = {Path(SUMMARY_FIGURE).stem}
    rate = explainer.predictor.checkpoint.features.sample_rate
    embedded = 0.0
    for path in recordings:
        try:
            stems = explainer.predictor.read_stems(path)
        except AudioError as error:
            yield error
            continue
        entry = Entry(path, explainer.explain_stems(stems))
        if figures:
            embedded += stems.shape[-1] / rate
            sound = _sound(stems, rate) if embedded <= EMBED_SECONDS else ""
            target = folder / f"{_unused(track_of(path).id, names)}.png"
            entry = replace(entry, figure=target, axis=_draw(target, entry, stems, explainer), sound=sound)
        yield entry


def _draw(target: Path, entry: Entry, stems: Tensor, explainer: Explainer) -> TimeAxis:
    features = explainer.predictor.checkpoint.features
    title = f"{entry.path.name}: {entry.explanation.finding().partition(':')[0]}"
    return draw_track(target, title, entry.explanation, stems, explainer.cells(), features)


def _unused(name: str, names: set[str]) -> str:
    candidate, number = name, 1
    # Some file systems take a and A for the same.
    while candidate.casefold() in names:
        number += 1
        candidate = f"{name}-{number}"
    names.add(candidate.casefold())
    return candidate


def _sound(stems: Tensor, sample_rate: int) -> str:
    mixture = stems.sum(dim=0)
    mixture = mixture / mixture.abs().max().clamp(min=1)  # MP3 is cut off at full scale
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mixture.mp3"
        audio_io.save(file, audio_io.resample(mixture, sample_rate, _SOUND_RATE), _SOUND_RATE)
        return "data:audio/mpeg;base64," + base64.b64encode(file.read_bytes()).decode("ascii")
