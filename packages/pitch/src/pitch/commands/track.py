"""`pitch track`: the pitch of recordings."""

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from audio_io import cli
from audio_io.errors import FileError
from audio_io.progress import Progress
from audio_io.settings import add_arguments, from_arguments
from pitch.capacities import CAPACITIES
from pitch.commands.parsers import Commands
from pitch.config import TrackConfig

if TYPE_CHECKING:
    from pitch.jobs import Job
    from pitch.tracking import Tracker

DESCRIPTION = """\
Track the pitch of recordings of any length and format, at constant memory.

For each one, three files are written to the output folder:
  NAME.f0.csv   time (s), frequency (Hz), confidence (0 to 1), a row a frame
  NAME.f0.png   posteriors, pitch and confidence as a figure
  NAME.f0.json  summary and settings
Without FILE, a sung phrase that ships with the package is tracked and compared with its exact pitch."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    track = commands.add_parser(
        "track",
        help="pitch of recordings: CSV, figure and summary",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    track.add_argument("files", nargs="*", metavar="FILE", help="recordings, videos, or folders of them")
    track.add_argument(
        "-o", "--output-dir", default=".", metavar="DIR", help="where to write (default: here)"
    )
    track.add_argument("--no-figure", action="store_true", help="write no figure")
    track.add_argument(
        "--json", action="store_true", help="print one JSON object a recording instead of text"
    )
    track.add_argument(
        "--resume", action="store_true", help="skip recordings whose results are there and current"
    )
    track.add_argument(
        "--shard", metavar="I/N", help="do only the I-th of N equal parts (one part a machine)"
    )
    track.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    sizes = ", ".join(CAPACITIES)
    track.add_argument(
        "--weights", metavar="FILE", help=f"weights to use for the model ({sizes}) instead of its own"
    )
    add_arguments(track, TrackConfig)
    track.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`pitch track`."""
    from pitch import demo, jobs
    from pitch.tracking import Tracker
    from pitch.weights import weights_digest

    config = from_arguments(TrackConfig, arguments)
    device = cli.pick_device(arguments.device)
    is_demo = not arguments.files
    planned = jobs.plan_jobs(arguments.files or [demo.recording()], arguments.output_dir)
    todo = jobs.take_shard(planned, arguments.shard)
    if arguments.resume:
        digest = weights_digest(config.model, arguments.weights)
        figure = not arguments.no_figure
        waiting = [job for job in todo if not jobs.is_done(job, config, digest, figure=figure)]
        _say(f"{len(todo) - len(waiting)} of {len(todo)} recordings are done already")
        todo = waiting
    if not todo:
        return 0
    tracker = Tracker(config, device=device, weights=arguments.weights)
    failed = 0
    for job in todo:
        try:
            _track_one(job, tracker, arguments, is_demo=is_demo)
        except (FileError, OSError) as error:
            if len(planned) == 1 or (isinstance(error, OSError) and error.filename is None):
                raise
            # One bad file must not cost the others their results.
            failed += 1
            _say(f"pitch: error: {error}")
    if failed:
        _say(f"pitch: {failed} of {len(todo)} recordings could not be tracked")
    return 2 if failed else 0


def _track_one(job: "Job", tracker: "Tracker", arguments: argparse.Namespace, *, is_demo: bool) -> None:
    import audio_io
    from pitch import demo, jobs
    from pitch.evaluate import score

    with Progress(job.recording.name, audio_io.info(job.recording).duration, "s of audio") as progress:
        track = jobs.run_job(
            job,
            tracker,
            figure=not arguments.no_figure,
            truth=demo.true_f0 if is_demo else None,
            progress=progress,
        )
    summary = track.summary()
    scores = score(track.frequency, track.voiced, demo.true_f0(track.times)) if is_demo else None
    written = [job.csv, *([] if arguments.no_figure else [job.figure]), job.record]
    if arguments.json:
        report = {
            "recording": str(job.recording),
            **dataclasses.asdict(summary),
            **({} if scores is None else {"scores": dataclasses.asdict(scores)}),
            "written": [str(path) for path in written],
        }
        print(json.dumps(report), flush=True)
        return
    config = tracker.config
    hop_ms = 1000 * track.hop_seconds
    lines = [
        f"{job.recording.name}: {summary.duration:.2f} s, a frame every {hop_ms:g} ms "
        f"(model {config.model}, decoder {config.decoder}, {tracker.device})",
        *summary.lines(),
        *([] if scores is None else scores.lines()),
        "wrote   " + ", ".join(str(path) for path in written),
    ]
    print("\n  ".join(lines), flush=True)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
