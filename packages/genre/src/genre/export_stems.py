"""Sound files of the stems in the cache."""

from collections.abc import Sequence
from pathlib import Path

import torch

import audio_io
from audio_io.errors import ConfigError, FileError
from audio_io.progress import Progress
from genre.config import STEMS
from genre.stem_archive import Archive, open_archive


def export_stems(
    tracks: Sequence[str], cache: Path, folder: Path, *, channels: Sequence[str] = STEMS
) -> tuple[list[Path], list[str]]:
    """Write stems as `folder/<id>/<stem>.wav`, mono, 32-bit float, since stems may exceed full scale.

    Args:
        tracks: Ids, or paths of `.npz` files; all of the cache if there are none.
        cache: The folder of the cache.
        folder: Where to write; it can then be read as ready-made stems.
        channels: Which stems, of `STEMS`.

    Returns:
        The files, and a sentence for each track that could not be read.

    Raises:
        ConfigError: If there is no such stem.
        FileError: If a track that was named is not there, or none can be read.
    """
    for channel in channels:
        if channel not in STEMS:
            raise ConfigError("channels", repr(channel), "some of " + ", ".join(STEMS))
    written: list[Path] = []
    faults: list[str] = []
    paths = _find(tracks, cache)
    with Progress("export", len(paths), "tracks") as progress:
        for path in paths:
            try:
                archive = open_archive(path)
                archive.verify()
                written.extend(_write(archive, folder / path.stem, channels))
            except FileError as error:
                faults.append(str(error))
            progress.advance(1)
    if not written:
        raise FileError(cache, f"no readable stems ({faults[0]})", "files of `genre separate`")
    return written, faults


def _find(tracks: Sequence[str], cache: Path) -> list[Path]:
    found = []
    for track in tracks:
        path = Path(track) if track.endswith(".npz") else cache / f"{track}.npz"
        if not path.is_file():
            raise FileError(path, "nothing", "the stems of a track")
        found.append(path)
    if not tracks:
        found = sorted(path for path in cache.glob("*.npz") if not path.name.startswith("."))
        if not found:
            raise FileError(cache, "no stems" if cache.is_dir() else "nothing", "files of `genre separate`")
    return found


def _write(archive: Archive, folder: Path, channels: Sequence[str]) -> list[Path]:
    rate = archive.meta.get("sample_rate")
    if not isinstance(rate, int):
        raise FileError(archive.path, "no sample rate", "stems with their settings")
    stems = torch.from_numpy(archive.read())
    written = []
    for channel in channels:
        path = folder / f"{channel}.wav"
        audio_io.save(path, stems[STEMS.index(channel)], rate)
        written.append(path)
    return written
