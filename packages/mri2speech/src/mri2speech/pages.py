"""What the pages of the package have in common: each is one file, with its pictures and sounds in it."""

import base64
import html
import tempfile
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from audio_io.atomic import write_text
from audio_io.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_html(path: str | Path, title: str, body: Sequence[str]) -> None:
    """Write a page of parts that are HTML already."""
    template = resources.files("mri2speech").joinpath("page.html").read_text(encoding="utf-8")
    write_text(path, Template(template).substitute(title=html.escape(title), body="\n".join(body)))


def table_html(
    heads: Iterable[str], rows: Iterable[Sequence[str | int | float]], *, caption: str = ""
) -> str:
    """A table.

    Args:
        heads: Of the columns.
        rows: As many cells each; floats get three decimals.
        caption: Above it, if any.
    """
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in heads)
    lines = (f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    joined = "\n".join(lines)
    return f"<table>{above}<thead><tr>{head}</tr></thead><tbody>\n{joined}\n</tbody></table>"


def _cell(cell: str | int | float) -> str:
    return f"{cell:.3f}" if isinstance(cell, float) else html.escape(str(cell))


def picture_html(draw: "Callable[[Figure], None]", width: float, height: float, *, alt: str = "") -> str:
    """A figure within the text.

    Args:
        draw: Draws it.
        width: In inches.
        height: In inches.
        alt: What it shows, for those who do not see it.
    """
    with tempfile.TemporaryDirectory() as folder:
        png = Path(folder) / "figure.png"
        with new_figure(png, width=width, height=height) as figure:
            draw(figure)
        return f'<img alt="{html.escape(alt)}" src="{embedded(png, "image/png")}">'


def embedded(path: Path, kind: str) -> str:
    """A file as an address that holds it."""
    return f"data:{kind};base64," + base64.b64encode(path.read_bytes()).decode("ascii")
