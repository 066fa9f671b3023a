"""What the web pages of the package have in common; they need nothing but a browser, and no other file."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from audio_io.figures import DPI

_STYLE = """
:root { color-scheme: light dark; --soft: #595959; --line: #d4d4d4; }
@media (prefers-color-scheme: dark) { :root { --soft: #a9a9a9; --line: #3d4045; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem 1.5rem 3rem; }
h1 { font-size: 1.5rem; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { border-top: 1px solid var(--line); font-size: 1.2rem; margin: 2.5rem 0 .5rem; overflow-wrap: anywhere;
  padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p, ul { margin: .4rem 0; max-width: 60rem; }
li { overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.scroll { overflow-x: auto; }
img { background: #fff; height: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem 1rem .25rem 0; text-align: right;
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, .words td, .words th { text-align: left; }
.numbers { font-size: .94rem; }
.numbers td, .numbers th { padding-right: .55rem; white-space: nowrap; }
.words td { overflow-wrap: anywhere; }
summary { cursor: pointer; margin-top: 1rem; }
"""


def document(title: str, body: Sequence[str], *, style: str = "", script: str = "") -> str:
    """A page.

    Args:
        title: As text.
        body: As HTML, the heading among it.
        style: Rules besides the common ones.
        script: JavaScript, if there is any.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + (f"\n<script>{script}</script>" if script else "")
        + "\n</body>\n</html>\n"
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = "numbers") -> str:
    """A table of texts, whose first column is on the left.

    Args:
        heads: Of the columns.
        rows: As many cells each.
        kind: `numbers`, or `words`, which may be wide and are all on the left.
    """
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in heads)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def items(sentences: Sequence[str]) -> str:
    """A list of texts."""
    return "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in sentences) + "</ul>"


def image(figure: Path, words: str) -> str:
    """A figure from `audio_io.figures`, at the size that it was drawn for.

    Args:
        figure: A PNG file.
        words: For those who do not see it.
    """
    content = figure.read_bytes()
    encoded = base64.b64encode(content).decode("ascii")
    # The header of a PNG has the width there; figures are drawn for sharper screens than 96 dpi.
    width = int.from_bytes(content[16:20]) * 96 // DPI
    return f'<img alt="{html.escape(words)}" width="{width}" src="data:image/png;base64,{encoded}">'
