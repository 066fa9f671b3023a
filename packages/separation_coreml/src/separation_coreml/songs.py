"""Song files to stem files: at constant memory, each stem whole or not at all, one song or many."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

import audio_io
from audio_io.atomic import atomic_path
from audio_io.errors import ConfigError, FileError, UserError
from audio_io.progress import Progress
from separation_coreml.engines import Engine
from separation_coreml.separate import SeparateConfig, match_channels, measure, stream_stems

if TYPE_CHECKING:
    import soundfile

FileFormat = Literal["wav", "flac"]
_SUBTYPES: dict[FileFormat, str] = {"wav": "FLOAT", "flac": "PCM_24"}
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
    """

    song: Song
    stems: dict[str, Path]
    seconds: float
    clipped: int


def plan(inputs: Sequence[str | Path], output: str | Path) -> list[Song]:
    """The songs of files and folders, in a stable order.

    The stems of `song.m4a` go to `output/song`; songs of a folder keep their place below it.

    Raises:
        ConfigError: If a folder holds no sound file, or two songs would go to one folder.
    """
    songs: dict[str, Song] = {}
    for entry in map(Path, inputs):
        found = audio_io.walk(entry) if entry.is_dir() else [entry]
        if not found:
            raise ConfigError("FILE", f"no sound file in {entry}", "a folder with at least one")
        for recording in found:
            place = recording.relative_to(entry) if entry.is_dir() else Path(recording.name)
            song = Song(recording, Path(output) / place.with_suffix(""))
            # Names that differ in case only are one folder on Windows and macOS.
            other = songs.setdefault(str(song.folder).casefold(), song)
            if other.recording != recording:
                found_both = f"{other.recording} and {recording}, whose stems would both go to {song.folder}"
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
        progress: Advanced in seconds of audio.

    Raises:
        AudioError: If the recording cannot be used.
        ConfigError: If the model has no such stem, or the recording too many channels.
    """
    wanted = check_stems(stems, engine)
    level = measure(_mixture(song, engine))
    size = level.length * engine.channels * 4
    container = "FLAC" if file_format == "flac" else "WAV" if size < _LARGEST_WAV else "RF64"
    paths = {stem: song.folder / f"{stem}.{file_format}" for stem in wanted}
    clipped = 0
    with contextlib.ExitStack() as stack:
        # The files are closed before they are renamed, and renamed after the last of them is whole.
        temporaries = [stack.enter_context(atomic_path(path)) for path in paths.values()]
        with contextlib.ExitStack() as writers:
            files = [
                writers.enter_context(_create(path, engine, container, _SUBTYPES[file_format]))
                for path in temporaries
            ]
            blocks = _mixture(song, engine)
            for part in stream_stems(blocks, level, engine, config=config, progress=progress):
                for file, stem in zip(files, wanted, strict=True):
                    samples = part[engine.stems.index(stem)]
                    if file_format == "flac":
                        clipped += int((samples.abs() > 1).sum())
                        samples = samples.clamp(-1, 1)
                    file.write(samples.T.numpy())
    return Separated(song, paths, level.length / engine.sample_rate, clipped)


def separate_songs(
    songs: Sequence[Song],
    load: Callable[[], Engine],
    *,
    stems: Sequence[str] | None = None,
    file_format: FileFormat = "wav",
    config: SeparateConfig | None = None,
    workers: int = 1,
) -> Iterator[tuple[Song, Separated | FileError | OSError | ConfigError]]:
    """Separate many songs; a song that cannot be used costs only its own result.

    Args:
        songs: From `plan`.
        load: Gives the engine; with several workers, a `functools.partial` of a function of a module.
        stems: As for `separate_song`.
        file_format: As for `separate_song`.
        config: As for `separate_song`.
        workers: Processes that share the songs, each with an engine of its own and its part of the threads.

    Raises:
        UserError: If the engine cannot be loaded, or a process is killed.
    """
    if workers < 1:
        raise ConfigError("workers", workers, "at least 1")
    settings = _Settings(load, stems, file_format, config)
    if min(workers, len(songs)) <= 1:
        engine = load()
        check_stems(stems, engine)
        for song in songs:
            yield song, _attempt(song, engine, settings, show=True)
        return
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // workers)
    with ProcessPoolExecutor(min(workers, len(songs)), context, _start_worker, (settings, threads)) as pool:
        futures = {pool.submit(_work, song): song for song in songs}
        try:
            with Progress("songs", len(songs), "songs") as progress:
                for future in as_completed(futures):
                    result = future.result()
                    progress.advance(1)
                    yield futures[future], result
        except BrokenProcessPool as error:
            found = f"{workers} processes of which one was killed, most likely for want of memory"
            raise UserError(f"workers: {found}; use fewer") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class _Settings:
    load: Callable[[], Engine]
    stems: Sequence[str] | None
    file_format: FileFormat
    config: SeparateConfig | None


class _Worker:
    """What a worker process holds."""

    settings: _Settings
    engine: Engine | None = None


def _start_worker(settings: _Settings, threads: int) -> None:
    torch.set_num_threads(threads)
    _Worker.settings = settings


def _work(song: Song) -> Separated | FileError | OSError | ConfigError:
    if _Worker.engine is None:
        _Worker.engine = _Worker.settings.load()
        check_stems(_Worker.settings.stems, _Worker.engine)
    return _attempt(song, _Worker.engine, _Worker.settings, show=False)


def _attempt(
    song: Song, engine: Engine, settings: _Settings, *, show: bool
) -> Separated | FileError | OSError | ConfigError:
    try:
        total = audio_io.info(song.recording).duration
        with Progress(song.recording.name, total, "s of audio") if show else contextlib.nullcontext() as bar:
            return separate_song(
                song,
                engine,
                stems=settings.stems,
                file_format=settings.file_format,
                config=settings.config,
                progress=bar,
            )
    except (FileError, OSError, ConfigError) as error:
        if isinstance(error, OSError) and error.filename is None:
            raise
        return error


def _mixture(song: Song, engine: Engine) -> Iterator[torch.Tensor]:
    with audio_io.stream(song.recording, sample_rate=engine.sample_rate) as blocks:
        if blocks.channels not in {1, engine.channels}:
            raise FileError(song.recording, f"{blocks.channels} channels", f"1 or {engine.channels}")
        for block in blocks:
            yield match_channels(block, engine.channels)


def _create(path: Path, engine: Engine, container: str, subtype: str) -> "soundfile.SoundFile":
    import soundfile

    return soundfile.SoundFile(
        path, "w", engine.sample_rate, engine.channels, subtype=subtype, format=container
    )
