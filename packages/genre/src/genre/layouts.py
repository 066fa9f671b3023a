"""From a folder to the tracks of a corpus: labels joined by name, and every mismatch listed by file.

Three layouts are read:

- `contest`: `train_master` (`file_name,label_id`) and `label_master` (`label_name,label_id`), `.csv` or
  `.tsv`, with sound in `train_sound_*` and `test_sound_*`, in whatever folders below; `sample_submit` (no
  header, `file_name,label_id`) orders the test tracks.
- `folders`: `<genre>/<file>`, as GTZAN has it.
- `csv`: `tracks.csv` with the columns `path,label` and, if there is one, `artist`.

A folder that holds `vocals`, `drums`, `bass` and `other` (and mostly `mixture`) is one track of ready-made
stems, as in MUSDB18.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from audio_io.codecs.formats import AUDIO_EXTENSIONS
from audio_io.errors import ConfigError
from audio_io.files import walk
from genre.config import STEMS
from genre.labels import LabelError, Row, find_table, read_table

Layout = Literal["auto", "contest", "folders", "csv"]

MIXTURE = "mixture"
TABLE = "tracks.csv"
_LONGEST_ID = 160  # bytes; file systems allow 255, and temporaries are longer


@dataclass(frozen=True)
class Track:
    """One recording.

    Attributes:
        id: Its path below the corpus without suffix, made safe as a file name, and unique in the corpus.
        path: A sound file, or a folder of ready-made stems.
        label: Its genre, None if unknown.
        artist: Who made it, None if unknown.
    """

    id: str
    path: Path
    label: str | None = None
    artist: str | None = None


@dataclass(frozen=True)
class Corpus:
    """The tracks of a folder.

    Attributes:
        root: The folder.
        tracks: Those with a label.
        labels: Names of the genres; their order is that of the network's outputs.
        test: Those whose label is asked for (contest), in the order of `sample_submit`.
        problems: What did not fit together, a sentence each, naming the file.
        label_ids: What the tables call each of `labels`; the names themselves where there are no numbers.
        sample_submit: The example of a submission, None if there is none.
    """

    root: Path
    tracks: tuple[Track, ...]
    labels: tuple[str, ...]
    test: tuple[Track, ...] = ()
    problems: tuple[str, ...] = ()
    label_ids: tuple[str, ...] = ()
    sample_submit: Path | None = None


def read_corpus(folder: str | Path, layout: str = "auto") -> Corpus:
    """The tracks of a folder; see the module for the layouts.

    Args:
        folder: The corpus, or its table in the layout `csv`.
        layout: One of `Layout`; `auto` takes `contest` where there is a `train_master`, `csv` where there is
            a `tracks.csv`, else `folders`.

    Raises:
        ConfigError: If there is no such layout.
        LabelError: If a table cannot be read, or no track can be used.
    """
    if layout not in get_args(Layout):
        raise ConfigError("layout", repr(layout), "one of " + ", ".join(get_args(Layout)))
    root = Path(folder)
    table = root if root.is_file() else root / TABLE
    if not root.exists():
        raise LabelError(root, "nothing", "a folder of songs")
    if layout == "auto":
        layout = "csv" if table.is_file() else "folders"
        if root.is_dir() and find_table(root, "train_master") is not None:
            layout = "contest"
    if layout == "csv":
        corpus = _read_csv(table)
    elif root.is_file():
        raise LabelError(root, "a file", f"a folder, for the layout {layout!r}")
    else:
        corpus = _read_contest(root) if layout == "contest" else _read_folders(root)
    if not corpus.tracks:
        first = f" (first problem: {corpus.problems[0]})" if corpus.problems else ""
        raise LabelError(root, f"no track with a label{first}", f"songs in the layout {layout!r}")
    return corpus


def stem_file(folder: Path, stem: str) -> Path | None:
    """The file of a stem in a folder of ready-made stems, None if there is none."""
    for suffix in (".wav", ".flac", *sorted(AUDIO_EXTENSIONS)):
        if (path := folder / f"{stem}{suffix}").is_file():
            return path
    return None


def has_stems(folder: Path) -> bool:
    """Whether a folder holds all four stems."""
    return all(stem_file(folder, stem) is not None for stem in STEMS)


def track_of(path: str | Path) -> Track:
    """A track without label outside of any corpus; its id is its name."""
    place = Path(path)
    return Track(_safe(place.name if place.is_dir() else place.stem), place)


def _find_tracks(folder: Path) -> list[Path]:
    """Sound files and folders of stems below a folder, each folder of stems once."""
    found: dict[Path, None] = {}
    holds_stems: dict[Path, bool] = {}
    for path in walk(folder):
        if path.parent not in holds_stems:
            holds_stems[path.parent] = path.parent != folder and has_stems(path.parent)
        found[path.parent if holds_stems[path.parent] else path] = None
    return list(found)


def _read_folders(root: Path) -> Corpus:
    entries: list[tuple[Path, str, str | None]] = []
    problems: list[str] = []
    for path in sorted(root.iterdir(), key=lambda entry: entry.name):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            songs = _find_tracks(path)
            entries.extend((song, path.name, None) for song in songs)
            if not songs:
                problems.append(f"{path.name}: a folder without sound")
        elif path.suffix.lower() in AUDIO_EXTENSIONS:
            problems.append(f"{path.name}: in no genre's folder")
    labels = tuple(sorted({label for _, label, _ in entries}))
    tracks = _make_tracks(root, entries)
    return Corpus(root, tracks, labels, problems=tuple(problems), label_ids=labels)


def _read_csv(table: Path) -> Corpus:
    root = table.parent
    entries: dict[Path, tuple[str, str | None]] = {}
    problems: list[str] = []
    conflicts: set[Path] = set()
    for row in read_table(table, ("path", "label")):
        where = f"{table.name}, line {row.line}"
        path = root / row["path"].replace("\\", "/")
        if not row["path"]:
            problems.append(f"{where}: no path")
        elif not path.exists():
            problems.append(f"{where}: {row['path']}: no such file")
        elif not row["label"]:
            problems.append(f"{where}: {row['path']}: no label")
        else:
            path = path.parent if path.stem == MIXTURE and has_stems(path.parent) else path
            entry = (row["label"], row["artist"] or None)
            problems.extend(_add(entries, conflicts, path, entry, f"{where}: {row['path']}"))
    listed = {*entries, *conflicts}
    problems.extend(
        f"{path.relative_to(root).as_posix()}: not in {table.name}"
        for path in _find_tracks(root)
        if path not in listed and not any(parent in listed for parent in path.parents)
    )
    labels = tuple(sorted({label for label, _ in entries.values()}))
    tracks = _make_tracks(root, [(path, *entry) for path, entry in entries.items()])
    return Corpus(root, tracks, labels, problems=tuple(problems), label_ids=labels)


def _add(
    entries: dict[Path, tuple[str, str | None]],
    conflicts: set[Path],
    path: Path,
    entry: tuple[str, str | None],
    where: str,
) -> list[str]:
    """Enter a row; what a second row of the same path says against the first."""
    earlier = entries.get(path)
    if path not in conflicts and earlier is None:
        entries[path] = entry
        return []
    if earlier is not None and earlier[0] == entry[0]:
        return [f"{where}: listed twice"]
    conflicts.add(path)
    labels = f"{earlier[0]!r} and {entry[0]!r}" if earlier else f"{entry[0]!r} besides others"
    entries.pop(path, None)
    return [f"{where}: labelled {labels}, so left out"]


def _read_contest(root: Path) -> Corpus:
    train_master, label_master = find_table(root, "train_master"), find_table(root, "label_master")
    if train_master is None or label_master is None:
        missing = "train_master" if train_master is None else "label_master"
        raise LabelError(root, f"no {missing}.csv or .tsv", "the tables of the contest")
    names, order = _read_label_master(label_master)
    problems: list[str] = []
    train = _by_name(root, "train_sound", problems)
    test = _by_name(root, "test_sound", problems)

    entries: dict[Path, tuple[str, str | None]] = {}
    conflicts: set[Path] = set()
    named: set[str] = set()
    for row in read_table(train_master, ("file_name", "label_id")):
        where = f"{train_master.name}, line {row.line}: {row['file_name'] or 'no file name'}"
        name = composed(row["file_name"])
        named.add(name)
        if name not in train:
            problems.append(f"{where}: no such file in train_sound_*")
        elif row["label_id"] not in names:
            known = ", ".join(order)
            problems.append(f"{where}: unknown label_id {row['label_id']!r}, {label_master.name} has {known}")
        else:
            entry = (names[row["label_id"]], None)
            problems.extend(_add(entries, conflicts, train[name], entry, where))
    problems.extend(
        f"{path.relative_to(root).as_posix()}: not in {train_master.name}"
        for name, path in train.items()
        if name not in named
    )
    sample_submit = find_table(root, "sample_submit")
    wanted = list(test)
    if sample_submit is not None:
        rows = read_table(sample_submit, ("file_name", "label_id"), has_header=False)
        wanted = _submit_names(rows, test, sample_submit.name, problems)
        listed = set(wanted)
        problems.extend(
            f"{path.relative_to(root).as_posix()}: not in {sample_submit.name}"
            for name, path in test.items()
            if name not in listed
        )
    labelled = [(path, *entry) for path, entry in entries.items()]
    tracks = _make_tracks(root, [*labelled, *((test[name], None, None) for name in wanted)], by_name=True)
    return Corpus(
        root,
        tracks[: len(labelled)],
        tuple(names[identifier] for identifier in order),
        tracks[len(labelled) :],
        tuple(problems),
        tuple(order),
        sample_submit,
    )


def _read_label_master(path: Path) -> tuple[dict[str, str], list[str]]:
    """Names by identifier, and the identifiers in the order of the outputs."""
    names: dict[str, str] = {}
    for row in read_table(path, ("label_name", "label_id")):
        identifier, name = row["label_id"], row["label_name"]
        if not identifier or not name:
            raise LabelError(path, f"half a label in line {row.line}", "a label_name and a label_id")
        if identifier in names or name in names.values():
            raise LabelError(path, f"{name!r} or {identifier!r} twice (line {row.line})", "each label once")
        names[identifier] = name
    if not names:
        raise LabelError(path, "no label", "at least one row")
    order = sorted(names, key=int) if all(re.fullmatch(r"-?[0-9]+", key) for key in names) else sorted(names)
    return names, order


def _by_name(root: Path, prefix: str, problems: list[str]) -> dict[str, Path]:
    """Sound files below the folders of a prefix, by file name."""
    found: dict[str, Path] = {}
    for folder in sorted(entry for entry in root.glob(f"{prefix}*") if entry.is_dir()):
        for path in walk(folder):
            name = composed(path.name)
            if name in found:
                first = found[name].relative_to(root).as_posix()
                problems.append(f"{path.relative_to(root).as_posix()}: a second {name}, {first} is used")
            else:
                found[name] = path
    return found


def _submit_names(rows: Sequence[Row], test: dict[str, Path], table: str, problems: list[str]) -> list[str]:
    wanted: dict[str, None] = {}
    for row in rows:
        name = composed(row["file_name"])
        if name in wanted:
            problems.append(f"{table}, line {row.line}: {name}: listed twice")
        elif name not in test:
            problems.append(f"{table}, line {row.line}: {name}: no such file in test_sound_*")
        else:
            wanted[name] = None
    return list(wanted)


def _make_tracks(
    root: Path, entries: Iterable[tuple[Path, str | None, str | None]], *, by_name: bool = False
) -> tuple[Track, ...]:
    """Tracks with their ids; `by_name` leaves out the folders, where names are unique by themselves."""
    listed = list(entries)
    relative = [_relative(root, path) for path, _, _ in listed]
    plain = []
    for name, (path, _, _) in zip(relative, listed, strict=True):
        base = name if path.is_dir() else name.removesuffix(path.suffix)
        plain.append(_safe(base.rpartition("/")[2] if by_name else base))
    # Some file systems do not tell cases apart.
    count = Counter(entry.casefold() for entry in plain)
    tracks = []
    for identifier, name, (path, label, artist) in zip(plain, relative, listed, strict=True):
        unique = identifier if count[identifier.casefold()] == 1 else _with_hash(identifier, name)
        tracks.append(Track(unique, path, label, artist))
    return tuple(tracks)


def _relative(root: Path, path: Path) -> str:
    # A row of tracks.csv may point elsewhere.
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def composed(name: str) -> str:
    """A file name with composed accents, whichever form the file system (macOS) or the table keeps."""
    return unicodedata.normalize("NFC", name)


def _safe(name: str) -> str:
    """A path as a file name: `/` becomes `__`, what Windows forbids `_`; other scripts are kept."""
    text = composed(name).strip("/").replace("/", "__")
    text = re.sub(r'[<>:"\\|?*\x00-\x1f]', "_", text).strip(" .") or "track"
    return text if len(text.encode()) <= _LONGEST_ID else _with_hash(text, name)


def _with_hash(identifier: str, name: str) -> str:
    short = identifier.encode()[:_LONGEST_ID].decode(errors="ignore")
    return f"{short}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
