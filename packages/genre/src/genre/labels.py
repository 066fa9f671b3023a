"""Tables of labels: delimiters sniffed, columns by name, every row with its line number for messages."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_io.errors import FileError

DELIMITERS = ",\t;"


class LabelError(FileError):
    """A table of labels cannot be used at all; single bad rows are listed as problems instead."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        line: Its number in the file, from 1.
        cells: What it holds, without surrounding spaces, by column.
    """

    line: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


def read_table(path: str | Path, columns: Sequence[str], *, has_header: bool = True) -> list[Row]:
    """The rows of a UTF-8 table separated by commas, tabs or semicolons.

    Args:
        path: The file.
        columns: Names that have to be there, in any order and among others; without a header, the names of
            the columns from the left.
        has_header: Whether the first line names the columns.

    Returns:
        The rows that are not empty.

    Raises:
        LabelError: If the file cannot be read, is no text, or lacks a column.
    """
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(source, f"bytes that are no UTF-8 (at byte {error.start})", "UTF-8 text") from error
    except OSError as error:
        raise LabelError(source, f"nothing readable ({error.strerror})", "a table of labels") from error
    first = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    # The reader's own line count stays right where a quoted cell spans lines.
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    rows = [(line, cells) for line, cells in rows if any(cells)]
    names = list(columns)
    if has_header:
        names = [cell.lower() for cell in rows[0][1]] if rows else []
        missing = [column for column in columns if column not in names]
        if missing:
            shown = ", ".join(map(repr, names)) or "an empty file"
            raise LabelError(source, f"the columns {shown}" if names else shown, f"a column {missing[0]!r}")
        rows = rows[1:]
    return [Row(line, dict(zip(names, cells, strict=False))) for line, cells in rows]


def find_table(folder: Path, name: str) -> Path | None:
    """The table of a name in a folder: `.csv` before `.tsv`, None if there is neither."""
    for suffix in (".csv", ".tsv"):
        if (path := folder / f"{name}{suffix}").is_file():
            return path
    return None
