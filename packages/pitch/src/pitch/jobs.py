"""Many recordings: what is to be written where, what is there already, which machine does what."""

import dataclasses
import glob
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import audio_io
from audio_io.atomic import fingerprint, write_json
from audio_io.errors import ConfigError
from audio_io.progress import Progress
from pitch.config import TrackConfig
from pitch.notes import NoteConfig
from pitch.outputs import DEFAULT_OUTPUTS, SUFFIXES, check_outputs
from pitch.outputs.write import write_outputs
from pitch.plot import Truth
from pitch.result import Track
from pitch.tracking import Tracker


@dataclass(frozen=True)
class Job:
    """One recording and where its results go.

    Attributes:
        recording: The audio file.
        stem: Output path without the suffixes, such as `.f0.csv`.
    """

    recording: Path
    stem: Path

    @property
    def name(self) -> str:
        """Name of the recording for people to read; what in it is no text stands as U+FFFD."""
        return os.fsencode(self.recording.name).decode("utf-8", "replace")

    def path(self, output: str) -> Path:
        """Where an output goes, by its name in `pitch.outputs.SUFFIXES`."""
        return self.beside(SUFFIXES[output])

    def beside(self, suffix: str) -> Path:
        """Path of the results with a suffix of its own."""
        return self.stem.with_name(self.stem.name + suffix)

    @property
    def record(self) -> Path:
        """Summary and settings; written last, so that its presence says the others are whole."""
        return self.path("json")


def plan_jobs(inputs: Sequence[str | Path], output_dir: str | Path) -> list[Job]:
    """The jobs for files, folders and patterns, in a stable order.

    The results of a file go straight into the output folder; those of a folder's files keep their place
    below it, and those of a pattern's below the folders that it names without a wildcard.

    Args:
        inputs: Audio files, folders that are searched for them, and patterns such as `songs/**/*.flac` that
            the shell has not expanded.
        output_dir: Where the results go.

    Raises:
        ConfigError: If a folder or pattern holds no audio, or two recordings would write the same file.
    """
    # Names that differ in case only are one file on Windows and macOS.
    jobs: dict[str, Job] = {}
    for entry in inputs:
        for recording, place in _recordings(str(entry)):
            job = Job(recording, Path(output_dir) / place.with_suffix(""))
            other = jobs.setdefault(str(job.stem).casefold(), job)
            if other.recording != recording:
                raise ConfigError(
                    "FILE",
                    f"{other.recording} and {recording}, which would both write {job.path('csv')}",
                    "names that differ before the suffix (or track them with separate --output-dir)",
                )
    return list(jobs.values())


def _recordings(entry: str) -> Iterator[tuple[Path, Path]]:
    """The recordings that an input stands for, each with its place below the output folder."""
    path = Path(entry)
    if path.is_dir():
        found, root, what = audio_io.walk(path), path, "folder with at least one"
    elif glob.has_magic(entry) and not path.exists():
        root, what = _fixed_part(path), "pattern that matches at least one"
        matches = sorted(set(glob.glob(entry, recursive=True)))  # noqa: PTH207 - Path.glob takes no full pattern
        found = [match for match in map(Path, matches) if _is_audio(match)]
    else:
        yield path, Path(path.name)
        return
    if not found:
        raise ConfigError("FILE", f"no audio file in {entry}", f"a {what}")
    for recording in found:
        yield recording, recording.relative_to(root)


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in audio_io.AUDIO_EXTENSIONS and path.is_file()


def _fixed_part(pattern: Path) -> Path:
    """The folders before the first wildcard."""
    parts = pattern.parts[:-1]
    fixed = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:fixed])


def take_shard(jobs: Sequence[Job], shard: str | None) -> list[Job]:
    """The part of the jobs that one of several machines does.

    Args:
        jobs: All of them, in the same order on every machine.
        shard: `I/N`, the I-th (from 1) of N parts; None for all.

    Raises:
        ConfigError: If the text is not of that form.
    """
    if shard is None:
        return list(jobs)
    number, slash, count = shard.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError("shard", repr(shard), "I/N with I from 1 to N, such as 2/4")
    return list(jobs[int(number) - 1 :: int(count)])


def is_done(
    job: Job,
    config: TrackConfig,
    weights: str,
    *,
    outputs: Sequence[str] = DEFAULT_OUTPUTS,
    notes: NoteConfig | None = None,
) -> bool:
    """Whether the outputs of a job are whole and were made from this recording with these settings.

    Args:
        job: From `plan_jobs`.
        config: The settings.
        weights: From `pitch.weights.weights_digest`.
        outputs: Which have to be there, by their names in `pitch.outputs.SUFFIXES`.
        notes: The settings of the notes.
    """
    try:
        expected = _fingerprint(job, config, notes, weights)
    except OSError:
        return False
    whole = _whole_outputs(job, expected)
    return whole is not None and set(outputs) - {"json"} <= whole


def run_job(
    job: Job,
    tracker: Tracker,
    *,
    outputs: Sequence[str] = DEFAULT_OUTPUTS,
    notes: NoteConfig | None = None,
    truth: Truth | None = None,
    progress: Progress | None = None,
) -> Track:
    """Track one recording and write its results, each file whole or not at all.

    Args:
        job: From `plan_jobs`.
        tracker: The loaded network.
        outputs: What to write, by the names in `pitch.outputs.SUFFIXES`; the record (`json`) is always
            written.
        notes: How the track is cut into notes, for the outputs that hold notes.
        truth: True pitch for the figure; see `plot_track`.
        progress: Advanced in seconds of audio.

    Raises:
        AudioError: If the recording cannot be used.
        ConfigError: If an output is unknown.
    """
    paths = {output: job.path(output) for output in check_outputs([*outputs, "json"]) if output != "json"}
    fingerprint_before = _fingerprint(job, tracker.config, notes, tracker.weights_digest)
    track = tracker.track_file(job.recording, progress=progress)
    earlier = _whole_outputs(job, fingerprint_before) or set()
    # From here to the end an older record would vouch for results of two runs.
    job.record.unlink(missing_ok=True)
    write_outputs(track, paths, name=job.name, notes=notes, truth=truth)
    write_json(
        job.record,
        {
            "recording": job.name,
            "summary": dataclasses.asdict(track.summary()),
            "settings": dataclasses.asdict(tracker.config),
            "outputs": sorted(earlier | set(paths)),
            "fingerprint": fingerprint_before,
        },
    )
    return track


def _whole_outputs(job: Job, expected: str) -> set[str] | None:
    """The outputs that are there and that the record vouches for; None if it is of another run."""
    try:
        record = json.loads(job.record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("fingerprint") != expected:
        return None
    recorded = record.get("outputs")
    names = recorded if isinstance(recorded, list) else []
    return {name for name in names if name in SUFFIXES and job.path(name).is_file()}


def _fingerprint(job: Job, config: TrackConfig, notes: NoteConfig | None, weights: str) -> str:
    status = job.recording.stat()
    # Neither changes the result.
    settings = {**dataclasses.asdict(config), "batch_size": None, "engine": None}
    note_settings = dataclasses.asdict(notes if notes is not None else NoteConfig())
    return fingerprint([settings, note_settings, weights, status.st_size, status.st_mtime_ns])
