"""`pitch analyze`: vibrato, intonation and range of singing."""

import argparse
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from audio_io.settings import add_arguments, from_arguments
from pitch.analysis.config import AnalysisConfig
from pitch.commands.inputs import add_input_arguments, results, say, tracker_settings
from pitch.commands.parsers import Commands
from pitch.config import TrackConfig
from pitch.notes import NoteConfig

if TYPE_CHECKING:
    from audio_io.progress import Progress
    from pitch.analysis.report import Analysis
    from pitch.jobs import Job
    from pitch.tracking import Tracker

DESCRIPTION = """\
Analyse recordings of one voice: vibrato, intonation, stability, range.

For each one, three files are written to the output folder:
  NAME.analysis.html  a page to look at and listen to; it needs no network and no other file
  NAME.analysis.json  every number, of the song and of each note
  NAME.analysis.png   contour and notes, vibrato, deviations
With several, index.html compares them.
Without FILE, a sung phrase that ships with the package is analysed."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    analyze = commands.add_parser(
        "analyze",
        help="singing: vibrato, intonation, range, as a page, a table and a figure",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_input_arguments(analyze)
    add_arguments(analyze, AnalysisConfig, title="intonation")
    add_arguments(analyze, NoteConfig, title="notes")
    add_arguments(analyze, TrackConfig, title="tracking")
    analyze.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`pitch analyze`."""
    config, notes = from_arguments(AnalysisConfig, arguments), from_arguments(NoteConfig, arguments)
    tracking = from_arguments(TrackConfig, arguments)

    from pitch import demo, jobs
    from pitch.analysis.html import save_index
    from pitch.batch import run_batch

    settings = tracker_settings(arguments, tracking)
    planned = jobs.plan_jobs(arguments.files or [demo.recording()], arguments.output_dir)
    outcomes = run_batch(
        planned, functools.partial(_analyze, config=config, notes=notes), settings, workers=arguments.workers
    )
    stems = {str(job.recording): job for job in planned}
    output_dir = Path(arguments.output_dir)
    failed: list[str] = []
    done = {}
    for recording, analysis in results(outcomes, failed, alone=len(planned) == 1):
        job = stems[recording]
        done[recording] = analysis
        written = [str(path) for path in _paths(job)]
        if arguments.json:
            print(json.dumps({**analysis.to_json(recording), "written": written}), flush=True)
        else:
            lines = [job.name, *analysis.song.lines(), "wrote       " + ", ".join(written)]
            print("\n  ".join(lines), flush=True)
    if len(planned) > 1:
        pages = [(job, done[recording]) for recording, job in stems.items() if recording in done]
        entries = [
            (_below(job.stem, output_dir), _below(_paths(job)[0], output_dir), analysis.song)
            for job, analysis in pages
        ]
        save_index(output_dir / "index.html", entries)
        say(f"{output_dir / 'index.html'} compares {len(entries)} recordings")
    if failed:
        say(f"pitch: {len(failed)} of {len(planned)} recordings could not be analysed")
    return 2 if failed else 0


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _paths(job: "Job") -> tuple[Path, Path, Path]:
    return job.beside(".analysis.html"), job.beside(".analysis.json"), job.beside(".analysis.png")


def _analyze(
    job: "Job", tracker: "Tracker", progress: "Progress", *, config: AnalysisConfig, notes: NoteConfig
) -> "Analysis":
    from audio_io.atomic import write_json
    from pitch.analysis.figure import plot_analysis
    from pitch.analysis.html import save_page
    from pitch.analysis.report import analyze_track

    track = tracker.track_file(job.recording, progress=progress)
    analysis = analyze_track(track, config, notes)
    page, numbers, figure = _paths(job)
    save_page(page, analysis, track, job.recording, name=job.name)
    plot_analysis(analysis, track, figure, name=job.name)
    write_json(numbers, analysis.to_json(job.name))
    return analysis
