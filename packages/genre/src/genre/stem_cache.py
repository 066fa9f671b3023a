"""The stems of a corpus on disk: made once, by any number of processes, and read span by span.

Each track is one file `<id>.npz` (`genre.stem_archive`), with a fingerprint of everything its content depends
on. A track is worked on under a lock and its file appears complete or not at all, so a process that is killed
loses the track it was at and nothing else; the next one takes over its lock.
"""

import contextlib
import glob
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from audio_io.atomic import fingerprint
from audio_io.errors import AudioError, ConfigError, FileError, UserError
from audio_io.progress import Progress
from genre.config import FeatureConfig, SeparationConfig
from genre.layouts import Track
from genre.locks import Busy, hold
from genre.quarantine import Fault, update_quarantine
from genre.separate import Separator, open_separator, separator_identity
from genre.sources import content_digest, describe_source, is_unchanged
from genre.stem_archive import (
    Archive,
    CorruptArchiveError,
    ForeignArchiveError,
    Samples,
    open_archive,
    write_archive,
)

State = Literal["missing", "ok", "stale", "corrupt"]
Outcome = Literal["made", "ok", "busy"] | Fault

FORMAT = 1  # raised when the same settings would give other files
_WAIT_SECONDS = 0.2


class CacheError(FileError):
    """The stems of a track are not there, or the cache cannot be filled."""


@dataclass(frozen=True)
class Summary:
    """What `StemCache.fill` did.

    Attributes:
        ready: Tracks whose stems are there, in the order asked for.
        faults: Tracks that cannot be used, and why.
        made: How many were separated by this call.
        states: How many were missing, ok, stale and corrupt before.
    """

    ready: tuple[Track, ...]
    faults: tuple[Fault, ...]
    made: int
    states: dict[State, int]

    def text(self) -> str:
        """One line."""
        earlier = ", ".join(f"{count} {state}" for state, count in self.states.items() if count)
        faults = f", {len(self.faults)} cannot be used" if self.faults else ""
        return f"{len(self.ready)} tracks ready ({self.made} separated now; before: {earlier}){faults}"


@dataclass
class StemCache:
    """The stems of tracks on disk; see the module.

    Args:
        config: How they are made, and the folder.
        features: For the sample rate.

    Example:
        >>> config = SeparationConfig(separator="none", separation_cache_dir="nowhere")
        >>> cache = StemCache(config, FeatureConfig())
        >>> cache.state(Track("song", Path("song.wav")))
        'missing'
    """

    config: SeparationConfig
    features: FeatureConfig
    _archives: dict[str, Archive] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return Path(self.config.separation_cache_dir)

    @cached_property
    def separator(self) -> str:
        """What the stems depend on; see `genre.separate.separator_identity`."""
        return separator_identity(self.config)

    @cached_property
    def settings(self) -> str:
        """Fingerprint of the format, the separator with its weights, and the sample rate.

        Raises:
            ConfigError: If the separator's model does not exist.
        """
        return fingerprint([FORMAT, self.separator, self.features.sample_rate])

    def path(self, track: Track) -> Path:
        """The file of a track, whether it is there or not."""
        return self.folder / f"{track.id}.npz"

    def state(self, track: Track, *, thorough: bool = False) -> State:
        """Whether a track's stems are there and still those that the settings ask for.

        `stale` are the files of other settings, of an earlier form (three stems, compressed arrays) or of a
        recording that has changed since; `corrupt` are those that are not whole. A recording that is not
        there any more has not changed.

        Args:
            track: Which one.
            thorough: Compare the check sums of the stems and of the recording too, for which all files are
                read.

        Raises:
            ConfigError: If the separator's model does not exist.
        """
        try:
            archive = open_archive(self.path(track))
            if thorough:
                archive.verify()
        except FileNotFoundError:
            return "missing"
        except ForeignArchiveError:
            return "stale"
        except CorruptArchiveError:
            return "corrupt"
        is_same = archive.meta.get("settings") == self.settings
        source = archive.meta.get("source")
        return "ok" if is_same and is_unchanged(track.path, source, thorough=thorough) else "stale"

    def digest(self, track: Track) -> str:
        """What tells the recording that a track's stems were made of from others, whatever its name.

        Raises:
            CacheError: If the stems are not there.
        """
        archive = self._archive(track)
        try:
            return content_digest(archive.meta["source"])
        except (TypeError, KeyError) as error:
            expected = "that of a recording; `genre separate` makes the stems anew"
            raise CacheError(archive.path, "no description of its source", expected) from error

    def identify(self, track: Track) -> str:
        """`digest`, of the files themselves where there are no stems yet.

        Raises:
            AudioError: If the recording cannot be read.
        """
        if self.state(track) == "ok":
            return self.digest(track)
        return content_digest(describe_source(track.path))

    def length(self, track: Track) -> int:
        """Samples of each stem of a track.

        Raises:
            CacheError: If they are not there.
        """
        return self._archive(track).length

    def read(self, track: Track, start: int = 0, length: int | None = None) -> Samples:
        """A span of a track's stems, in the order of `STEMS`; shorter where the track ends before it.

        Args:
            track: Which one.
            start: First sample, at least 0.
            length: In samples, at the rate of the features; to the end by default.

        Raises:
            CacheError: If they are not there, or the file is not whole.

        Shape:
            - output: `[4, N]`, float32
        """
        return self._archive(track).read(start, length)

    def fill(
        self,
        tracks: Iterable[Track],
        *,
        device: str = "auto",
        batch_size: int = 0,
        jobs: int = 1,
        thorough: bool = False,
    ) -> Summary:
        """Make the stems that are missing, stale or corrupt; other processes may do the same meanwhile.

        Returns when the stems of all tracks are there, whoever made them. Recordings that cannot be used are
        listed in `quarantine.csv` beside the stems, and tried again the next time. Nothing is written where
        nothing is to be done, so a complete cache may be read-only.

        Args:
            tracks: Which ones.
            device: Where Demucs runs; see `audio_io.cli.pick_device`.
            batch_size: Segments that Demucs takes at once; see `open_separator`.
            jobs: Processes that work side by side, each on its share of the cores.
            thorough: Compare check sums too.

        Raises:
            ConfigError: If a setting cannot be used; it names the field.
            WeightsNotFoundError: If Demucs has work to do and its weights cannot be had.
            CacheError: If no track can be used, or stems that Demucs has made would be lost for others that
                cost nothing.
            OSError: If the cache cannot be written; it carries the name of the file.
        """
        if jobs < 1:
            raise ConfigError("jobs", jobs, "at least 1")
        wanted = list({track.id: track for track in tracks}.values())
        states: dict[State, int] = {"ok": 0, "missing": 0, "stale": 0, "corrupt": 0}
        pending: list[Track] = []
        for track in wanted:
            state = self.state(track, thorough=thorough)
            states[state] += 1
            if state != "ok":
                pending.append(track)
            if state == "stale" and self.config.separator != "demucs":
                _spare_demucs(self.path(track), self.config.separator)
        faults: dict[str, Fault] = {}
        made = 0
        with Progress("separate", len(pending), "tracks") as progress:
            for track, outcome in self._work_on(pending, device, batch_size, jobs, thorough=thorough):
                progress.advance(1)
                if isinstance(outcome, Fault):
                    faults[track.id] = outcome
                made += outcome == "made"
        if self.folder.is_dir():
            update_quarantine(self.folder, wanted, faults.values())
        ready = tuple(track for track in wanted if track.id not in faults)
        if wanted and not ready:
            first = next(iter(faults.values()))
            raise CacheError(
                self.folder,
                f"no usable track among {len(wanted)} (the first: {first.problem})",
                "at least one",
            )
        return Summary(ready, tuple(faults.values()), made, states)

    def _work_on(
        self, tracks: Sequence[Track], device: str, batch_size: int, jobs: int, *, thorough: bool
    ) -> Iterator[tuple[Track, Outcome]]:
        """Every track with what became of it; those that another process works on come last."""
        if not tracks:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # Opened here too with several jobs: what is wrong with the model is said once, by the parent.
        separator = open_separator(self.config, self.features, device=device, batch_size=batch_size)
        by_others: list[Track] = []
        if jobs > 1:
            del separator
            with _pool(self, device, batch_size, min(jobs, len(tracks))) as pool:
                futures = {pool.submit(_work_in_pool, track, thorough): track for track in tracks}
                outcomes = ((futures[future], future.result()) for future in as_completed(futures))
                for track, outcome in outcomes:
                    if outcome == "busy":
                        by_others.append(track)
                    else:
                        yield track, outcome
            if not by_others:
                return
            separator = open_separator(self.config, self.features, device=device, batch_size=batch_size)
        remaining = list(tracks) if jobs == 1 else by_others
        while remaining:
            by_others = []
            for track in remaining:
                outcome = self.work(track, separator, thorough=thorough)
                if outcome == "busy":
                    by_others.append(track)
                else:
                    yield track, outcome
            if len(by_others) == len(remaining):
                time.sleep(_WAIT_SECONDS)
            remaining = by_others

    def work(self, track: Track, separator: Separator, *, thorough: bool = False) -> Outcome:
        """Make the stems of one track, unless somebody else does or has done.

        Raises:
            OSError: If the cache cannot be written.
        """
        path = self.path(track)
        try:
            with hold(path.with_suffix(".lock")) as lock:
                if self.state(track, thorough=thorough) == "ok" and not _is_damaged(path):
                    return "ok"
                _remove_leftovers(path)
                try:
                    source = describe_source(track.path)
                    stems = separator(track.path, lock.touch)
                    if not torch.isfinite(stems).all():
                        raise AudioError(track.path, "stems with NaN or infinity", "finite ones")
                except FileError as error:
                    return Fault(track.id, track.path.as_posix(), str(error))
                meta = {
                    "settings": self.settings,
                    "separator": self.separator,
                    "sample_rate": self.features.sample_rate,
                    "source": source,
                }
                write_archive(path, stems.numpy(), meta)
                return "made"
        except Busy:
            return "busy"

    def _archive(self, track: Track) -> Archive:
        known = self._archives.get(track.id)
        try:
            if known is not None:
                status = known.path.stat()
                if known.stamp == (status.st_size, status.st_mtime_ns):
                    return known
            archive = open_archive(self.path(track))
        except FileNotFoundError as error:
            path = self.path(track)
            raise CacheError(path, "no stems", f"those of {track.path}, made by `genre separate`") from error
        except FileError as error:
            expected = f"{error.expected}; `genre separate` makes it anew"
            raise CacheError(error.path, error.found, expected) from error
        self._archives[track.id] = archive
        return archive


def _spare_demucs(path: Path, separator: str) -> None:
    """Refuse to replace the work of hours by that of seconds."""
    with contextlib.suppress(ForeignArchiveError):
        made_by = str(open_archive(path).meta.get("separator"))
        if made_by.startswith("demucs"):
            expected = f"another --separation-cache-dir for --separator {separator}, which would replace them"
            raise CacheError(path, f"stems of {made_by}", expected)


def _is_damaged(path: Path) -> bool:
    try:
        open_archive(path).verify()
    except FileError:
        return True
    return False


def _remove_leftovers(path: Path) -> None:
    """Remove the temporaries of killed processes; nobody else writes while the lock is held."""
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}.*.tmp.npz"):
        leftover.unlink(missing_ok=True)


_pool_state: tuple[StemCache, Separator] | None = None


@contextlib.contextmanager
def _pool(cache: StemCache, device: str, batch_size: int, jobs: int) -> Iterator[ProcessPoolExecutor]:
    threads = max(1, (os.cpu_count() or 1) // jobs)
    # A forked process cannot use CUDA, nor torch's threads.
    context = multiprocessing.get_context("spawn")
    arguments = (StemCache(cache.config, cache.features), device, batch_size, threads)
    with ProcessPoolExecutor(jobs, context, _start_worker, arguments) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise UserError(
                "a process that separates has died, as it does when memory runs out; try fewer --jobs"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start_worker(cache: StemCache, device: str, batch_size: int, threads: int) -> None:
    global _pool_state  # noqa: PLW0603 - what a pool's initializer leaves for its tasks
    # Ctrl-C reaches the parent too, which lets the tracks in work be finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    separator = open_separator(cache.config, cache.features, device=device, batch_size=batch_size)
    _pool_state = (cache, separator)


def _work_in_pool(track: Track, thorough: bool) -> Outcome:
    assert _pool_state is not None
    cache, separator = _pool_state
    return cache.work(track, separator, thorough=thorough)
