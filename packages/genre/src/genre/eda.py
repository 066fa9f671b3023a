"""What is in a corpus before anything is trained on it: measures of every recording, and what looks wrong."""

import csv
import hashlib
import io
import math
import statistics
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

import audio_io
from audio_io.atomic import write_text
from audio_io.errors import AudioError
from audio_io.progress import Progress
from genre.layouts import MIXTURE, Corpus, Track, stem_file
from genre.separate import LEAST_SECONDS, ReadyStems, check_level

SILENT_DB = -60.0  # peak below which a recording counts as silent
SHORT_SHARE = 0.5  # of the median duration, below which a recording counts as short

Kind = Literal["broken", "short", "silent", "duplicate", "mismatch"]


@dataclass(frozen=True)
class Measurement:
    """One recording.

    Attributes:
        track: Its id.
        path: Relative to the corpus.
        label: Its genre; empty for a test track.
        part: `train` or `test`.
        seconds: Duration.
        sample_rate: Of the file, in Hz.
        channels: Of the file.
        peak_db: Greatest magnitude, in dB of full scale.
        rms_db: Level of all channels together, in dB of full scale.
        digest: Of the decoded samples and their rate: the same for every lossless copy.
        problem: Why it cannot be used; empty if it can. The numbers are 0 then.
    """

    track: str
    path: str
    label: str
    part: str
    seconds: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    peak_db: float = 0.0
    rms_db: float = 0.0
    digest: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that should be looked at before training.

    Attributes:
        kind: What it is.
        sentence: Which recordings, and what about them.
    """

    kind: Kind
    sentence: str


@dataclass(frozen=True)
class Survey:
    """A corpus in numbers.

    Attributes:
        corpus: Which one.
        measurements: Of every recording, the training tracks first.
        findings: What should be looked at.
    """

    corpus: Corpus
    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...]

    def usable(self, label: str) -> list[Measurement]:
        """Training recordings of a genre that can be used."""
        return [m for m in self.measurements if m.part == "train" and m.label == label and not m.problem]

    def counts(self) -> dict[str, int]:
        """Usable training recordings of each genre."""
        return {label: len(self.usable(label)) for label in self.corpus.labels}


def survey_corpus(corpus: Corpus) -> Survey:
    """Decode every recording of a corpus and measure it.

    Args:
        corpus: From `genre.layouts.read_corpus`.
    """
    measurements = []
    parts = [("train", track) for track in corpus.tracks] + [("test", track) for track in corpus.test]
    with Progress("measure", len(parts), "tracks") as progress:
        for part, track in parts:
            measurements.append(_measure(track, part, corpus.root))
            progress.advance(1)
    findings = [Finding("mismatch", problem) for problem in corpus.problems]
    findings += _broken(measurements) + _short(measurements) + _silent(measurements)
    findings += _duplicates(measurements)
    return Survey(corpus, tuple(measurements), tuple(findings))


def write_measurements(path: Path, survey: Survey) -> None:
    """A CSV with a row for each recording."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Measurement)], lineterminator="\n")
    writer.writeheader()
    for measurement in survey.measurements:
        row = asdict(measurement)
        for name in ("seconds", "peak_db", "rms_db"):
            row[name] = f"{row[name]:.3f}"
        writer.writerow(row)
    write_text(path, text.getvalue())


def load_sound(path: Path) -> tuple[Tensor, int]:
    """A recording as it is, and its rate in Hz; of a folder of stems the mixture, or the stems' sum.

    Raises:
        AudioError: If it cannot be used.

    Shape:
        - waveform: `[C, T]`
    """
    file = stem_file(path, MIXTURE) if path.is_dir() else path
    if file is not None:
        waveform, rate = audio_io.load(file)
        check_level(file, waveform)
        return waveform, rate
    vocals = stem_file(path, "vocals")
    rate = audio_io.info(vocals).sample_rate if vocals is not None else 44100
    return ReadyStems(rate)(path).sum(dim=0, keepdim=True), rate


def samples_digest(waveform: Tensor, rate: int) -> str:
    """What tells samples and their rate from others: the same for every lossless copy.

    Shape:
        - waveform: `[C, T]`
    """
    digest = hashlib.sha256(waveform.contiguous().numpy().tobytes())
    digest.update(str((rate, len(waveform))).encode())
    return digest.hexdigest()


def _measure(track: Track, part: str, root: Path) -> Measurement:
    path = (track.path.relative_to(root) if track.path.is_relative_to(root) else track.path).as_posix()
    named = (track.id, path, track.label or "", part)
    try:
        waveform, rate = load_sound(track.path)
        seconds = waveform.shape[1] / rate
        if seconds < LEAST_SECONDS:
            raise AudioError(track.path, f"{seconds:.3f} s of sound", f"at least {LEAST_SECONDS:g} s")
    except AudioError as error:
        return Measurement(*named, problem=f"{path}: found {error.found}, expected {error.expected}")
    return Measurement(
        *named,
        seconds=seconds,
        sample_rate=rate,
        channels=len(waveform),
        peak_db=_decibels(waveform.abs().max()),
        rms_db=_decibels(waveform.double().square().mean().sqrt()),
        digest=samples_digest(waveform, rate)[:16],
    )


def _decibels(amplitude: Tensor) -> float:
    return 20 * math.log10(max(float(amplitude), 1e-6))


def _broken(measurements: list[Measurement]) -> list[Finding]:
    return [Finding("broken", m.problem) for m in measurements if m.problem]


def _short(measurements: list[Measurement]) -> list[Finding]:
    usable = [m for m in measurements if not m.problem]
    if not usable:
        return []
    median = statistics.median(m.seconds for m in usable)
    return [
        Finding("short", f"{m.path}: {m.seconds:.1f} s, where the median is {median:.1f} s")
        for m in usable
        if m.seconds < SHORT_SHARE * median
    ]


def _silent(measurements: list[Measurement]) -> list[Finding]:
    return [
        Finding("silent", f"{m.path}: its peak is {m.peak_db:.0f} dB of full scale")
        for m in measurements
        if not m.problem and m.peak_db < SILENT_DB
    ]


def _duplicates(measurements: list[Measurement]) -> list[Finding]:
    """Groups of recordings with the same samples; silence of one length is no song twice."""
    groups: defaultdict[str, list[Measurement]] = defaultdict(list)
    for m in measurements:
        if not m.problem and m.peak_db >= SILENT_DB:
            groups[m.digest].append(m)
    findings = []
    for group in groups.values():
        if len(group) < 2:
            continue
        labels = sorted({m.label for m in group if m.label})
        about = "the same samples"
        if len(labels) > 1:
            about += f", but different labels ({', '.join(labels)})"
        if len({m.part for m in group}) > 1:
            about += ", in training and test"
        findings.append(Finding("duplicate", " = ".join(m.path for m in group) + f": {about}"))
    return findings


def formats(survey: Survey) -> list[tuple[str, int]]:
    """Sample rates and channels that occur, the most frequent first."""
    usable = [m for m in survey.measurements if not m.problem]
    count = Counter(f"{m.sample_rate} Hz, {_channels(m.channels)}" for m in usable)
    return count.most_common()


def _channels(count: int) -> str:
    return {1: "mono", 2: "stereo"}.get(count, f"{count} channels")


def gallery(survey: Survey, label: str, count: int) -> list[Track]:
    """Usable tracks of a genre, spread evenly over it."""
    names = {m.track for m in survey.usable(label)}
    tracks = [track for track in survey.corpus.tracks if track.label == label and track.id in names]
    if len(tracks) <= count:
        return tracks
    picks = torch.linspace(0, len(tracks) - 1, count).round().int().tolist()
    return [tracks[index] for index in picks]
