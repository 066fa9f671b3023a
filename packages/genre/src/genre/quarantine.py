"""The list of recordings that cannot be used, kept from run to run beside the stems."""

import csv
import io
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from audio_io.atomic import write_text
from genre.layouts import Track
from genre.locks import Busy, hold

NAME = "quarantine.csv"
_COLUMNS = ("track", "path", "problem")


@dataclass(frozen=True)
class Fault:
    """Why a recording cannot be used.

    Attributes:
        track: Its id.
        path: Its file, as it was given.
        problem: One sentence.
    """

    track: str
    path: str
    problem: str


def read_quarantine(folder: Path) -> tuple[Fault, ...]:
    """The list of a cache's folder; empty where there is none."""
    path = folder / NAME
    if not path.is_file():
        return ()
    # It is only a report: what somebody else's program has made of it shall stop nobody.
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return tuple(Fault(*(row.get(name) or "" for name in _COLUMNS)) for row in csv.DictReader(file))


def update_quarantine(folder: Path, tracks: Iterable[Track], faults: Iterable[Fault]) -> None:
    """Replace what the list says about some tracks; nothing is written where nothing changes.

    Args:
        folder: Of the cache.
        tracks: All that were looked at.
        faults: Those of them that cannot be used.

    Raises:
        OSError: If it cannot be written.
    """
    looked_at, found = {track.id for track in tracks}, sorted(faults, key=lambda fault: fault.track)

    def replaced() -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
        before = read_quarantine(folder)
        kept = [fault for fault in before if fault.track not in looked_at]
        return before, tuple(sorted([*kept, *found], key=lambda fault: fault.track))

    before, after = replaced()
    while before != after:
        try:
            with hold(folder / f"{NAME}.lock"):
                before, after = replaced()
                _write(folder / NAME, after)
                return
        except Busy:
            time.sleep(0.05)


def _write(path: Path, faults: Iterable[Fault]) -> None:
    listed = list(faults)
    if not listed:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((fault.track, fault.path, fault.problem) for fault in listed)
    write_text(path, text.getvalue())
