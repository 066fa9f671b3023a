"""Many recordings: what is to be written where, what is there already, which machine does what."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import audio_io
from audio_io.atomic import fingerprint, write_json
from audio_io.errors import ConfigError
from audio_io.progress import Progress
from pitch.config import TrackConfig
from pitch.plot import plot_track
from pitch.result import Track
from pitch.tracking import Tracker

Truth = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Job:
    """One recording and where its results go.

    Attributes:
        recording: The audio file.
        stem: Output path without the suffixes `.f0.csv`, `.f0.png` and `.f0.json`.
    """

    recording: Path
    stem: Path

    @property
    def csv(self) -> Path:
        """Time, frequency and confidence of each frame."""
        return self.stem.with_name(self.stem.name + ".f0.csv")

    @property
    def figure(self) -> Path:
        """The pitch figure."""
        return self.stem.with_name(self.stem.name + ".f0.png")

    @property
    def record(self) -> Path:
        """Summary and settings; written last, so that its presence says the others are whole."""
        return self.stem.with_name(self.stem.name + ".f0.json")


def plan_jobs(inputs: Sequence[str | Path], output_dir: str | Path) -> list[Job]:
    """The jobs for files and folders, in a stable order.

    The results of a file go straight into the output folder; those of a folder's files keep their place
    below it.

    Args:
        inputs: Audio files, and folders that are searched for them.
        output_dir: Where the results go.

    Raises:
        ConfigError: If a folder holds no audio, or two recordings would write the same file.
    """
    # Names that differ in case only are one file on Windows and macOS.
    jobs: dict[str, Job] = {}
    for entry in map(Path, inputs):
        recordings = list(audio_io.walk(entry)) if entry.is_dir() else [entry]
        if not recordings:
            raise ConfigError("FILE", f"no audio file in {entry}", "a folder with at least one")
        for recording in recordings:
            place = recording.relative_to(entry) if entry.is_dir() else Path(recording.name)
            job = Job(recording, Path(output_dir) / place.with_suffix(""))
            other = jobs.setdefault(str(job.stem).casefold(), job)
            if other.recording != recording:
                raise ConfigError(
                    "FILE",
                    f"{other.recording} and {recording}, which would both write {job.csv}",
                    "names that differ before the suffix (or track them with separate --output-dir)",
                )
    return list(jobs.values())


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


def is_done(job: Job, config: TrackConfig, weights: str, *, figure: bool = True) -> bool:
    """Whether the results of a job are whole and were made from this recording with these settings.

    Args:
        job: From `plan_jobs`.
        config: The settings.
        weights: From `pitch.weights.weights_digest`.
        figure: Whether the figure has to be there too.
    """
    try:
        record = json.loads(job.record.read_text(encoding="utf-8"))
        expected = _fingerprint(job, config, weights)
    except (OSError, ValueError):
        return False
    results = [job.csv, job.figure] if figure else [job.csv]
    return (
        isinstance(record, dict)
        and record.get("fingerprint") == expected
        and all(path.is_file() for path in results)
    )


def run_job(
    job: Job,
    tracker: Tracker,
    *,
    figure: bool = True,
    truth: Truth | None = None,
    progress: Progress | None = None,
) -> Track:
    """Track one recording and write its results, each file whole or not at all.

    Args:
        job: From `plan_jobs`.
        tracker: The loaded network.
        figure: Whether to draw the figure.
        truth: True pitch for the figure; see `plot_track`.
        progress: Advanced in seconds of audio.

    Raises:
        AudioError: If the recording cannot be used.
    """
    fingerprint_before = _fingerprint(job, tracker.config, tracker.weights_digest)
    track = tracker.track_file(job.recording, progress=progress)
    # From here to the end an older record would vouch for results of two runs.
    job.record.unlink(missing_ok=True)
    track.save_csv(job.csv)
    if figure:
        plot_track(track, job.figure, name=job.recording.name, truth=truth)
    write_json(
        job.record,
        {
            "recording": job.recording.name,
            "summary": dataclasses.asdict(track.summary()),
            "settings": dataclasses.asdict(tracker.config),
            "fingerprint": fingerprint_before,
        },
    )
    return track


def _fingerprint(job: Job, config: TrackConfig, weights: str) -> str:
    status = job.recording.stat()
    # Neither changes the result.
    settings = {**dataclasses.asdict(config), "batch_size": None, "engine": None}
    return fingerprint([settings, weights, status.st_size, status.st_mtime_ns])
