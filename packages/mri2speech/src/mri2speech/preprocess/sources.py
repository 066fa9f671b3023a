"""Which film goes with which sound, mask, speaker and offset."""

import csv
import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import audio_io
from audio_io.errors import ConfigError, FileError, UserError
from mri2speech.film import DICOM_EXTENSIONS
from mri2speech.preprocess.config import PreprocessConfig
from mri2speech.video import VIDEO_EXTENSIONS

_MASK_EXTENSIONS = (".png", ".npy")


@dataclass(frozen=True)
class Source:
    """What a sample is made of.

    Attributes:
        id: Name of the sample.
        speaker: Who speaks.
        name: Of the film, below the folder of the films.
        video: The film.
        audio: The sound file; None for the film's own sound track.
        audio_name: Its name below its folder.
        mask: The mask, if any.
        offset: When the sound begins after the first frame shows, in s.
    """

    id: str
    speaker: str
    name: str
    video: Path
    audio: Path | None
    audio_name: str | None
    mask: Path | None
    offset: float


@dataclass
class Sources:
    """The sources of a corpus, and what could not become one.

    Attributes:
        found: In the order of their names.
        dropped: Films that cannot be used, with the sentence that says why.
        unused_offsets: Samples that the table of offsets names and that are not there.
    """

    found: list[Source] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    unused_offsets: list[str] = field(default_factory=list)


def find_sources(data_dir: Path, audio_dir: Path | None, config: PreprocessConfig) -> Sources:
    """The films below a folder with all that belongs to them.

    A sample is named after its film, `sub1/vcv.mp4` becoming `sub1_vcv`. Its sound is the file of the same
    name in `audio_dir` (by default beside the film), else the film's own sound track. Its speaker is the
    first folder on the way to the film, else its name up to the first `_` or `-`.

    Raises:
        ConfigError: If there is no such folder or no film in it.
        FileError: If the table of offsets cannot be read.
    """
    if not data_dir.is_dir():
        raise ConfigError("data_dir", data_dir, "a folder with films")
    films = find_films(data_dir)
    if not films:
        kinds = ", ".join(sorted(VIDEO_EXTENSIONS))
        raise ConfigError("data_dir", f"no film in {data_dir}", f"a folder with at least one ({kinds})")
    if audio_dir is not None and not audio_dir.is_dir():
        raise ConfigError("audio_dir", audio_dir, "a folder")
    if config.mask_dir is not None and not Path(config.mask_dir).exists():
        raise ConfigError("mask_dir", config.mask_dir, "a mask or a folder of masks")
    root = audio_dir or data_dir
    sounds: dict[str, list[Path]] = {}
    for path in audio_io.walk(root):
        sounds.setdefault(path.relative_to(root).with_suffix("").as_posix(), []).append(path)
    offsets = _offsets(config.audio_offsets)
    sources = Sources()
    taken: dict[str, str] = {}
    for film in films:
        place = film.relative_to(data_dir)
        stem = place.as_posix() if film.is_dir() else place.with_suffix("").as_posix()
        stem = data_dir.resolve().name if stem == "." else stem
        identity = re.sub(r"[/|]", "_", stem)
        name = data_dir.name if film == data_dir else place.as_posix()
        # Names that differ in case only are one folder on Windows and macOS.
        other = taken.setdefault(identity.casefold(), name)
        speaker = _speaker(name, config.speaker_pattern)
        try:
            if other != name:
                found = f"a second film for the sample {identity}, after {other}"
                raise FileError(name, found, "names that differ before the suffix")
            audio = _sound(name, stem, sounds, config.audio_suffix)
            mask = _mask(name, identity, speaker, config.mask_dir)
        except UserError as error:
            sources.dropped.append((name, str(error)))
            continue
        audio_name = audio.relative_to(root).as_posix() if audio is not None else None
        offset = offsets.get(identity, config.audio_offset)
        sources.found.append(Source(identity, speaker, name, film, audio, audio_name, mask, offset))
    _drop_shared_sounds(sources)
    identities = {source.id for source in sources.found}
    sources.unused_offsets = sorted(set(offsets) - identities)
    return sources


def _drop_shared_sounds(sources: Sources) -> None:
    """Drop films of one name in several folders that would all get the one sound file of that name."""
    films: dict[Path, list[str]] = {}
    for source in sources.found:
        if source.audio is not None:
            films.setdefault(source.audio, []).append(source.name)
    shared = {audio: names for audio, names in films.items() if len(names) > 1}
    for source in sources.found:
        if source.audio in shared:
            found = f"the sound file {source.audio_name} for {' and '.join(shared[source.audio])}"
            wanted = f"one for each, as {Path(source.name).with_suffix('.wav').as_posix()} below its folder"
            sources.dropped.append((source.name, str(FileError(source.name, found, wanted))))
    sources.found = [source for source in sources.found if source.audio not in shared]


def find_films(root: Path) -> list[Path]:
    """Film files below a folder, and folders with a DICOM series, sorted by the parts of their path.

    Anything but a folder is taken for a film.
    """
    if not root.is_dir():
        return [root]
    films: list[Path] = []
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(parent, name) for name in names if not name.startswith(".")]
        found = [path for path in paths if path.suffix.lower() in VIDEO_EXTENSIONS]
        dicom = [path for path in found if path.suffix.lower() in DICOM_EXTENSIONS]
        if len(dicom) > 1 and _is_series(dicom):
            found = [path for path in found if path not in dicom] + [Path(parent)]
        films.extend(found)
    return sorted(films, key=lambda path: path.relative_to(root).parts)


def _is_series(files: Iterable[Path]) -> bool:
    """Whether the first file holds one frame only; so does one that cannot be read, to be refused once."""
    from mri2speech.dicom import frame_count

    try:
        return frame_count(min(files)) == 1
    except UserError:
        return True


def _speaker(name: str, pattern: str | None) -> str:
    if pattern is not None:
        match = re.search(pattern, name)
        return match.group(1) if match and match.group(1) else "unknown"
    path = Path(name)
    if len(path.parts) > 1:
        return path.parts[0]
    prefix = re.match(r"(.+?)[_-]", path.name)
    return prefix.group(1) if prefix else "unknown"


def _sound(name: str, stem: str, sounds: dict[str, list[Path]], suffix: str) -> Path | None:
    """The sound file of a film: at the same place below the folder, or directly in it."""
    base = stem.rpartition("/")[2]
    wanted = [stem + suffix, base + suffix] if suffix else []
    found = next((sounds[key] for key in (*wanted, stem, base) if key in sounds), [])
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise FileError(name, f"{len(found)} sound files for it, {names}", "one")
    return found[0] if found else None


def _mask(name: str, identity: str, speaker: str, mask_dir: str | None) -> Path | None:
    if mask_dir is None:
        return None
    place = Path(mask_dir)
    if place.is_file():
        return place
    stems = (identity, speaker, "mask")
    candidates = [place / f"{stem}{extension}" for stem in stems for extension in _MASK_EXTENSIONS]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileError(name, f"no mask in {place}", "one of " + ", ".join(path.name for path in candidates))


def _offsets(table: str | None) -> dict[str, float]:
    if table is None:
        return {}
    path = Path(table)
    wanted = "rows of id,seconds or a JSON object of them"
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            offsets = {str(key): float(value) for key, value in json.loads(text).items()}
        else:
            rows = [row for row in csv.reader(text.splitlines()) if row]
            if rows and not _is_number(rows[0][-1]):
                rows = rows[1:]  # the names of the columns
            offsets = {identity.strip(): float(seconds) for identity, seconds in rows}
    except OSError as error:
        raise FileError(path, error.strerror or "an error", wanted) from error
    except (ValueError, AttributeError, TypeError) as error:
        raise FileError(path, f"a table that cannot be read ({error})", wanted) from error
    for identity, seconds in offsets.items():
        if not math.isfinite(seconds):
            raise FileError(path, f"{seconds} for {identity}", "a number of seconds")
    return offsets


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
