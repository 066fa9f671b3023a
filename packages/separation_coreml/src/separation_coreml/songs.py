"""Song files to stem files: at constant memory, each stem whole or not at all, one song or many."""

import contextlib
import errno
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch

import audio_io
from audio_io.atomic import atomic_path, fingerprint
from audio_io.errors import ConfigError, FileError
from audio_io.progress import Progress
from separation_coreml.engines import Engine
from separation_coreml.separate import SeparateConfig, match_channels, measure, stream_stems
from separation_coreml.workers import spread

if TYPE_CHECKING:
    import soundfile

FileFormat = Literal["wav", "flac"]
_SUBTYPES: dict[FileFormat, str] = {"wav": "FLOAT", "flac": "PCM_24"}
_MARK = "separation-coreml "  # what the comment of a stem begins with
_FLAC_STEPS = 2**23  # from 0 to full scale
_LARGEST_WAV = 2**32 - 2**16  # bytes of samples, with room for the header


@dataclass(frozen=True)
class Song:
    """A recording and the folder its stems go to."""

    recording: Path
    folder: Path


@dataclass(frozen=True)
class Separated:
    """What was written for a song.

    Attributes:
        song: Which.
        stems: Files by the name of the stem.
        seconds: Length of the song.
        clipped: Samples beyond full scale that FLAC could not hold, of all stems together.
        was_there: Whether an earlier run wrote them; `clipped` is 0 then.
    """

    song: Song
    stems: dict[str, Path]
    seconds: float
    clipped: int
    was_there: bool = False


Outcome = Separated | FileError | OSError | ConfigError
"""What becomes of a song: its stems, or why there are none."""


def plan(inputs: Sequence[str | Path], output: str | Path) -> list[Song]:
    """The songs of files and folders, in a stable order.

    The stems of `song.m4a` go to `output/song`; songs of a folder keep their place below it. Stems that an
    earlier run wrote for one of the songs are left out of a folder.

    Raises:
        ConfigError: If a folder holds no song, two songs would go to one folder, or a file that is named is
            such a stem.
    """
    found: list[tuple[Song, bool]] = []  # and whether it is of a folder
    for entry in map(Path, inputs):
        if entry.is_dir():
            places = {recording: recording.relative_to(entry) for recording in audio_io.walk(entry)}
        else:
            places = {entry: Path(entry.name)}
        if not places:
            raise ConfigError("FILE", f"no sound file in {entry}", "a folder with at least one")
        for recording, place in places.items():
            found.append((Song(recording, Path(output) / place.with_suffix("")), entry.is_dir()))
    folders = {song.folder.resolve() for song, _ in found}
    songs: dict[str, Song] = {}
    for song, is_walked in found:
        if song.recording.parent.resolve() in folders and _comment(song.recording).startswith(_MARK):
            if is_walked:
                continue
            found_there = f"{song.recording}, a stem that would be replaced by that of another song"
            raise ConfigError("FILE", found_there, "another --output-dir")
        # Names that differ in case only are one folder on Windows and macOS.
        other = songs.setdefault(str(song.folder).casefold(), song)
        if other.recording != song.recording:
            found_both = f"{other.recording} and {song.recording}, whose stems would both go to {song.folder}"
            raise ConfigError("FILE", found_both, "names that differ before the suffix")
    return list(songs.values())


def check_stems(wanted: Sequence[str] | None, engine: Engine) -> tuple[str, ...]:
    """The stems to write, in the order of the model; all of them if None.

    Raises:
        ConfigError: If the model does not have one of them.
    """
    if wanted is None:
        return engine.stems
    unknown = [stem for stem in wanted if stem not in engine.stems]
    if unknown or not wanted:
        raise ConfigError("stems", repr(unknown[0] if unknown else ""), "some of " + ", ".join(engine.stems))
    return tuple(stem for stem in engine.stems if stem in wanted)


def separate_song(
    song: Song,
    engine: Engine,
    *,
    stems: Sequence[str] | None = None,
    file_format: FileFormat = "wav",
    config: SeparateConfig | None = None,
    mark: str | None = None,
    progress: Progress | None = None,
) -> Separated:
    """Separate one recording of any length and write its stems, at the rate of the model.

    The recording is decoded twice: first for its length and level. Stems are stereo for a mono recording
    where the model is. WAV holds float32; FLAC 24 bits, clipped at full scale.

    Args:
        song: From `plan`.
        engine: The model.
        stems: Which to write; all if None.
        file_format: `wav` or `flac`.
        config: How the song is cut.
        mark: Written into the files as their comment.
        progress: Advanced in seconds of audio.

    Raises:
        FileError: If the recording cannot be used.
        ConfigError: If the model has no such stem, or gives NaN.
        OSError: If the stems cannot be written.
    """
    import soundfile

    wanted = check_stems(stems, engine)
    level = measure(_mixture(song, engine))
    size = level.length * engine.channels * 4
    container = "FLAC" if file_format == "flac" else "WAV" if size < _LARGEST_WAV else "RF64"
    paths = _stem_paths(song, wanted, file_format)
    clipped = 0
    with contextlib.ExitStack() as stack:
        # The files are closed before they are renamed, and renamed after the last of them is whole.
        temporaries = [stack.enter_context(atomic_path(path)) for path in paths.values()]
        try:
            with contextlib.ExitStack() as writers:
                files = [
                    writers.enter_context(_create(path, engine, container, _SUBTYPES[file_format]))
                    for path in temporaries
                ]
                for file in files if mark is not None else ():
                    file.comment = mark
                blocks = _mixture(song, engine)
                for part in stream_stems(blocks, level, engine, config=config, progress=progress):
                    for file, stem in zip(files, wanted, strict=True):
                        samples = part[engine.stems.index(stem)]
                        clipped += int((samples.abs() > 1).sum()) if file_format == "flac" else 0
                        file.write(_encode(samples, file_format))
        except soundfile.LibsndfileError as error:
            # A full disk, most likely; libsndfile does not tell.
            raise OSError(errno.EIO, "stems cannot be written", str(song.folder)) from error
    return Separated(song, paths, level.length / engine.sample_rate, clipped)


def _encode(
    samples: torch.Tensor, file_format: FileFormat
) -> npt.NDArray[np.float32] | npt.NDArray[np.int32]:
    """What is handed to libsndfile, whose own conversion to integers rounds down: `[T, channels]`."""
    if file_format == "wav":
        return samples.T.numpy()
    steps = (samples.T.double() * _FLAC_STEPS).round().clamp(-_FLAC_STEPS, _FLAC_STEPS - 1)
    return (steps.int() << 8).numpy()  # it takes the upper 24 bits


def separate_songs(
    songs: Sequence[Song],
    load: Callable[[], Engine],
    *,
    stems: Sequence[str] | None = None,
    file_format: FileFormat = "wav",
    config: SeparateConfig | None = None,
    made_from: str = "",
    resume: bool = False,
    workers: int = 1,
) -> Iterator[tuple[Song, Outcome]]:
    """Separate many songs; a song that cannot be used costs only its own result.

    Args:
        songs: From `plan`.
        load: Gives the engine; with several workers, a `functools.partial` of a function of a module.
        stems: As for `separate_song`.
        file_format: As for `separate_song`.
        config: As for `separate_song`.
        made_from: What the stems depend on besides the recording and `config`, such as the model, as text.
        resume: Whether songs are left alone whose stems an earlier run made from the same: each file carries
            a fingerprint of it in its comment.
        workers: Processes that share the songs, each with an engine of its own and its part of the threads.

    Raises:
        UserError: If the engine cannot be loaded, or a process is killed.
    """
    if workers < 1:
        raise ConfigError("workers", workers, "at least 1")
    settings = _Settings(load, stems, file_format, config, made_from, resume)
    if min(workers, len(songs)) <= 1:
        engine = load()
        check_stems(stems, engine)
        for song in songs:
            yield song, _attempt(song, engine, settings, show=True)
        return
    start = functools.partial(_Worker.start, settings)
    with Progress("songs", len(songs), "songs") as progress:
        for place, result in spread(_Worker.separate, songs, workers=workers, start=start):
            progress.advance(1)
            yield songs[place], result


@dataclass(frozen=True)
class _Settings:
    load: Callable[[], Engine]
    stems: Sequence[str] | None
    file_format: FileFormat
    config: SeparateConfig | None
    made_from: str
    resume: bool


class _Worker:
    """What a worker process holds."""

    settings: _Settings
    engine: Engine | None = None

    @classmethod
    def start(cls, settings: _Settings) -> None:
        cls.settings = settings

    @classmethod
    def separate(cls, song: Song) -> Outcome:
        if cls.engine is None:
            cls.engine = cls.settings.load()
            check_stems(cls.settings.stems, cls.engine)
        return _attempt(song, cls.engine, cls.settings, show=False)


def _attempt(song: Song, engine: Engine, settings: _Settings, *, show: bool) -> Outcome:
    try:
        total = audio_io.info(song.recording).duration
        mark = _mark(song, settings)
        if settings.resume and (earlier := _finished(song, engine, settings, mark)) is not None:
            return earlier
        with Progress(song.recording.name, total, "s of audio") if show else contextlib.nullcontext() as bar:
            return separate_song(
                song,
                engine,
                stems=settings.stems,
                file_format=settings.file_format,
                config=settings.config,
                mark=mark,
                progress=bar,
            )
    except (FileError, OSError, ConfigError) as error:
        if isinstance(error, OSError) and error.filename is None:
            raise
        return error


def _mark(song: Song, settings: _Settings) -> str:
    """What the stems are made from, so that others are not taken for them."""
    status = song.recording.stat()
    config = settings.config or SeparateConfig()
    made_from = [settings.made_from, config.placement, config.overlap, status.st_size, status.st_mtime_ns]
    return _MARK + fingerprint(made_from)


def _finished(song: Song, engine: Engine, settings: _Settings, mark: str) -> Separated | None:
    """The stems, if all that are wanted are there and carry the mark."""
    paths = _stem_paths(song, check_stems(settings.stems, engine), settings.file_format)
    if any(_comment(path) != mark for path in paths.values()):
        return None
    seconds = audio_io.info(next(iter(paths.values()))).duration or 0.0
    return Separated(song, paths, seconds, 0, was_there=True)


def _comment(path: Path) -> str:
    """What `mark` of `separate_song` was; empty for other files, or none."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            return str(file.comment)
    except (OSError, soundfile.LibsndfileError):
        return ""


def _stem_paths(song: Song, stems: Sequence[str], file_format: FileFormat) -> dict[str, Path]:
    return {stem: song.folder / f"{stem}.{file_format}" for stem in stems}


def _mixture(song: Song, engine: Engine) -> Iterator[torch.Tensor]:
    with audio_io.stream(song.recording, sample_rate=engine.sample_rate) as blocks:
        if blocks.channels not in {1, engine.channels}:
            expected = "1" if engine.channels == 1 else f"1 or {engine.channels}"
            raise FileError(song.recording, f"{blocks.channels} channels", expected)
        for block in blocks:
            yield match_channels(block, engine.channels)


def _create(path: Path, engine: Engine, container: str, subtype: str) -> "soundfile.SoundFile":
    import soundfile

    return soundfile.SoundFile(
        path, "w", engine.sample_rate, engine.channels, subtype=subtype, format=container
    )
