"""`pitch track`: the pitch of recordings."""

import argparse
import dataclasses
import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audio_io.settings import add_arguments, from_arguments
from pitch.commands.inputs import add_input_arguments, results, say, tracker_settings
from pitch.commands.parsers import Commands
from pitch.config import TrackConfig
from pitch.notes import NoteConfig
from pitch.outputs import DEFAULT_OUTPUTS, check_outputs

if TYPE_CHECKING:
    from audio_io.progress import Progress
    from pitch.evaluate.metrics import PitchScores
    from pitch.jobs import Job
    from pitch.result import Summary
    from pitch.tracking import Tracker

DESCRIPTION = """\
Track the pitch of recordings of any length and format, at constant memory.

Outputs, by the names that --outputs takes:
  csv        NAME.f0.csv        time (s), frequency (Hz), confidence (0 to 1), voiced; a row a frame
  npy        NAME.f0.npy        the first three as a NumPy array, float64
  pt         NAME.f0.pt         the same as a dictionary of torch tensors
  pitchtier  NAME.f0.PitchTier  the voiced frames, for Praat
  jams       NAME.jams          frames and notes as JAMS annotations
  notes      NAME.notes.csv     notes: onset and offset (s), pitch (Hz, MIDI), deviation (cents)
  midi       NAME.notes.mid     notes whose pitch bend follows the contour
  png, svg   NAME.f0.png        posteriors, pitch and confidence as a figure
  json       NAME.f0.json       summary and settings; always written, since --resume reads it
Without FILE, a sung phrase that ships with the package is tracked and compared with its exact pitch."""


@dataclass(frozen=True)
class _Report:
    """What is printed about a recording."""

    name: str
    summary: "Summary"
    scores: "PitchScores | None"
    hop_seconds: float
    device: str
    written: list[str]

    def as_json(self, recording: str) -> str:
        scores = {} if self.scores is None else {"scores": dataclasses.asdict(self.scores)}
        summary = dataclasses.asdict(self.summary)
        return json.dumps({"recording": recording, **summary, **scores, "written": self.written})

    def as_text(self, config: TrackConfig) -> str:
        lines = [
            f"{self.name}: {self.summary.duration:.2f} s, a frame every {1000 * self.hop_seconds:g} ms "
            f"(model {config.model}, decoder {config.decoder}, {self.device})",
            *self.summary.lines(),
            *([] if self.scores is None else self.scores.lines()),
            "wrote   " + ", ".join(self.written),
        ]
        return "\n  ".join(lines)


def add_command(commands: Commands) -> None:
    """Add the parser."""
    track = commands.add_parser(
        "track",
        help="pitch of recordings: tables, notes, figures",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_input_arguments(track)
    track.add_argument(
        "--outputs",
        default=",".join(DEFAULT_OUTPUTS),
        metavar="NAMES",
        help="what to write, with commas between (default: %(default)s)",
    )
    track.add_argument(
        "--resume", action="store_true", help="skip recordings whose results are there and current"
    )
    track.add_argument(
        "--shard", metavar="I/N", help="do only the I-th of N equal parts (one part a machine)"
    )
    add_arguments(track, TrackConfig)
    add_arguments(track, NoteConfig, title="notes (outputs notes, midi and jams)")
    track.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`pitch track`."""
    outputs = check_outputs(arguments.outputs)
    config, notes = from_arguments(TrackConfig, arguments), from_arguments(NoteConfig, arguments)

    from pitch import demo, jobs
    from pitch.batch import run_batch
    from pitch.weights import weights_digest

    settings = tracker_settings(arguments, config)
    is_demo = not arguments.files
    planned = jobs.plan_jobs(arguments.files or [demo.recording()], arguments.output_dir)
    todo = jobs.take_shard(planned, arguments.shard)
    if arguments.resume:
        digest = weights_digest(config.model, arguments.weights)
        waiting = [job for job in todo if not jobs.is_done(job, config, digest, outputs=outputs, notes=notes)]
        say(f"{len(todo) - len(waiting)} of {len(todo)} recordings are done already")
        todo = waiting
    task = functools.partial(_track, outputs=outputs, notes=notes, is_demo=is_demo)
    outcomes = run_batch(todo, task, settings, workers=arguments.workers)
    failed: list[str] = []
    for recording, report in results(outcomes, failed, alone=len(planned) == 1):
        print(report.as_json(recording) if arguments.json else report.as_text(config), flush=True)
    if failed:
        say(f"pitch: {len(failed)} of {len(todo)} recordings could not be tracked")
    return 2 if failed else 0


def _track(
    job: "Job",
    tracker: "Tracker",
    progress: "Progress",
    *,
    outputs: tuple[str, ...],
    notes: NoteConfig,
    is_demo: bool,
) -> _Report:
    from pitch import demo, jobs
    from pitch.evaluate import score

    truth = demo.true_f0 if is_demo else None
    track = jobs.run_job(job, tracker, outputs=outputs, notes=notes, truth=truth, progress=progress)
    written = [*(output for output in outputs if output != "json"), "json"]
    return _Report(
        name=job.name,
        summary=track.summary(),
        scores=None if truth is None else score(track.frequency, track.voiced, truth(track.times)),
        hop_seconds=track.hop_seconds,
        device=str(tracker.device),
        written=[str(job.path(output)) for output in written],
    )
