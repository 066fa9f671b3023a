"""A report for people and programs: Markdown, JSON, a figure, and one page of HTML."""

import base64
import dataclasses
import html
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from audio_io.atomic import write_json, write_text
from audio_io.figures import PALETTE, new_figure
from separation_coreml.report import BARS, CLIP, ONNX, SIZE_BARS, ReportConfig, Row

STEM = "separation_coreml_report"
TITLE = "Every family as a Core ML program"
YES, NO = "✅", "❌"

EARLIER = (
    ("Demucs, HTDemucs", ("demucs", "torchaudio_hdemucs"), NO),
    ("Spleeter", ("spleeter",), NO),
    ("Open-Unmix", ("openunmix",), "?"),
)
CHANGED = """\
*Before* is the verdict on the traced model as it is, at whose complex64 values coremltools stops. *Now* is \
that of the rows above, in which they are pairs of real values."""

EXPLANATION = """\
Each model is built with {weights} weights, converted, and its program is run by the interpreter of this \
package, without Core ML, on white noise of standard deviation 0.1. SDR is the energy of PyTorch's output \
over that of the difference between the two. *Complex* counts the complex operations that were replaced by \
real ones; *operations* are those of the fp32 program, constants not counted. *Conversion* and \
*memory* are the duration of the fp32 conversion and the most that it held, on a machine that may have had \
other work; *processor* is the processor time of the whole row, with all conversions and comparisons. Bars: \
fp32 {fp32:g} dB, fp16 {fp16:g} dB (where it misses that, mixed precision is measured too and has to reach \
{mixed:g} dB), int8 {int8:g} dB{sizes}.{onnx}"""
ONNX_EXPLANATION = """\
 *onnx* is the same model as an ONNX file, run by ONNX Runtime on the CPU; its bar is {onnx:g} dB."""


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        title: What it shows.
        header: Names of the columns.
        rows: Their cells.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table with its title."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        cells = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"## {self.title}\n\n" + "\n".join(cells)

    def html(self) -> str:
        """The table with its title."""
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self.header)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows
        )
        return f"<h2>{html.escape(self.title)}</h2>\n<table><tr>{head}</tr>{body}</table>"


def write_report(rows: Sequence[Row], config: ReportConfig, folder: str | Path) -> list[Path]:
    """Write `separation_coreml_report.md`, `.json` and `.html`, and the figure below `images`.

    Args:
        rows: From `make_rows`.
        config: What they were made with.
        folder: Where to write.

    Returns:
        The files.
    """
    place = Path(folder)
    figure = place / "images" / f"{STEM}.png"
    plot(rows, figure)
    files = {suffix: place / f"{STEM}.{suffix}" for suffix in ("md", "json", "html")}
    write_text(files["md"], to_markdown(rows, config))
    write_json(files["json"], to_json(rows, config))
    write_text(files["html"], to_html(rows, config, figure))
    return [*files.values(), figure]


def tables(rows: Sequence[Row]) -> list[Table]:
    """All models; and the verdicts that have changed."""
    kinds = [kind for kind in BARS if any(kind in row.measured for row in rows)] or ["fp32"]
    header = (
        "family", "model", "verdict", *(f"SDR {kind}" for kind in kinds), *(f"size {kind}" for kind in kinds),
        "parameters", "segment", "complex", "operations", "conversion", "memory", "processor",
    )  # fmt: skip
    body = []
    for row in rows:
        costs = [
            str(sum(row.complex_removed.values())),
            f"{row.operations:,}",
            f"{row.conversion_seconds:.0f} s",
            f"{row.peak_memory_mb:,.0f} MB" if row.peak_memory_mb else "",
            f"{row.cpu_seconds:.0f} s",
        ]
        found = [row.measured.get(kind) for kind in kinds]
        body.append(
            (
                row.family,
                row.model,
                YES if row.passed else NO,
                *("" if entry is None else decibels(entry.sdr) for entry in found),
                *("" if entry is None else f"{entry.size_mb:.1f} MB" for entry in found),
                f"{row.parameters / 1e6:.1f} M",
                f"{row.segment_seconds:.2g} s",
                *(costs if row.measured else [""] * len(costs)),
            )
        )
    return [
        Table("All families", header, tuple(body)),
        Table("Can it be a Core ML program?", ("family", "before", "now", "shown by"), tuple(verdicts(rows))),
    ]


def verdicts(rows: Sequence[Row]) -> list[tuple[str, str, str, str]]:
    """The families that were thought impossible or open: before, now, and which rows say so."""
    found = []
    for title, families, before in EARLIER:
        mine = [row for row in rows if row.family in families]
        now = "not measured" if not mine else YES if all(row.passed for row in mine) else NO
        found.append((title, before, now, ", ".join(row.model for row in mine)))
    return found


def notes(rows: Sequence[Row]) -> list[str]:
    """What misses its bar, and where that comes from."""
    found = []
    for row in rows:
        reasons = list(row.below)
        if row.note and row.note not in reasons:
            reasons.append(row.note)
        if reasons:
            found.append(f"{row.model}: {'; '.join(reasons)}")
    return found


def decibels(value: float) -> str:
    """An SDR as a cell."""
    return "equal" if value >= CLIP else "none" if value <= -CLIP else f"{value:.1f} dB"


def command(config: ReportConfig) -> str:
    """The command that makes the report."""
    extra = " --extra onnx" if config.onnx else ""
    words = [f"uv run --package separation-coreml{extra} separation-coreml report"]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is True:
            words.append(f"--{field.name}")
        elif value != field.default:
            words.append(f"--{field.name} {value}")
    return " ".join([*words, "-o report"])


def to_markdown(rows: Sequence[Row], config: ReportConfig) -> str:
    """The report for people."""
    parts = [f"# {TITLE}", _explanation(config)]
    main, changed = tables(rows)
    parts.append(main.markdown())
    if found := notes(rows):
        parts.append("\n".join(f"- {note}" for note in found))
    parts += [f"![SDR and size of each model](images/{STEM}.png)", changed.markdown(), CHANGED, _cost(rows)]
    parts.append(f"Written by:\n\n```bash\n{command(config)}\n```")
    return "\n\n".join(parts) + "\n"


def to_json(rows: Sequence[Row], config: ReportConfig) -> dict[str, Any]:
    """The report for programs."""
    return {
        "settings": dataclasses.asdict(config),
        "versions": _versions(),
        "bars_db": BARS,
        "rows": [{**dataclasses.asdict(row), "passed": row.passed, "below": list(row.below)} for row in rows],
        "verdicts": [
            dict(zip(("family", "before", "now", "models"), verdict, strict=True))
            for verdict in verdicts(rows)
        ],
    }


def to_html(rows: Sequence[Row], config: ReportConfig, figure: Path) -> str:
    """One page that needs no other file."""
    main, changed = tables(rows)
    picture = base64.b64encode(figure.read_bytes()).decode("ascii")
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#222}"
        "table{border-collapse:collapse;display:block;overflow-x:auto}img{max-width:100%}"
        "td,th{padding:.3rem .6rem;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}"
        "td:first-child,th:first-child,td:nth-child(2),th:nth-child(2){text-align:left}"
    )
    found = "".join(f"<li>{html.escape(note)}</li>" for note in notes(rows))
    body = [
        f"<h1>{TITLE}</h1>",
        f"<p>{html.escape(_explanation(config)).replace('*', '')}</p>",
        main.html(),
        f"<ul>{found}</ul>" if found else "",
        f'<p><img src="data:image/png;base64,{picture}" alt="SDR and size of each model"></p>',
        changed.html(),
        f"<p>{CHANGED.replace('*', '')}</p>",
        f"<p>{html.escape(_cost(rows))}</p>",
        f"<pre>{html.escape(command(config))}</pre>",
    ]
    content = "\n".join(body)
    head = f'<meta charset="utf-8"><title>{TITLE}</title><style>{style}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{content}</body></html>\n'


def plot(rows: Sequence[Row], path: str | Path) -> None:
    """Draw SDR against the bars, and sizes, of each model and kind of conversion."""
    shown = [row for row in rows if row.measured][::-1]
    with new_figure(path, width=11, height=1.6 + 0.6 * max(len(shown), 1)) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        thick = 0.8 / len(BARS)
        for index, kind in enumerate(BARS):
            places = [at for at, row in enumerate(shown) if kind in row.measured]
            if not places:
                continue
            entries = [shown[at].measured[kind] for at in places]
            heights = [
                at + thick * ((len(shown[at].measured) - 1) / 2 - list(shown[at].measured).index(kind))
                for at in places
            ]
            # Equal outputs have no finite SDR; 160 dB is beyond all that rounding leaves.
            values = [max(0.0, min(entry.sdr, 160.0)) for entry in entries]
            left.barh(heights, values, thick * 0.9, color=PALETTE[index], label=kind)
            right.barh(heights, [entry.size_mb for entry in entries], thick * 0.9, color=PALETTE[index])
            for height, entry in zip(heights, entries, strict=True):
                right.annotate(
                    f"{entry.size_mb:.0f}",
                    (entry.size_mb, height),
                    (3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=6,
                )
            for height in heights:
                left.plot(
                    [BARS[kind]] * 2, [height - thick / 2, height + thick / 2], color="black", linewidth=1.5
                )
        left.set_ylim(-0.6, max(len(shown), 1) - 0.4)
        left.set_yticks(range(len(shown)), [row.model for row in shown])
        left.set(title="Program against PyTorch (black: the bar)", xlabel="SDR (dB)", xlim=(0, 165))
        right.set(title="Size of the package", xlabel="MB")
        right.margins(x=0.12)
        left.grid(visible=False, axis="y")
        right.grid(visible=False, axis="y")
        figure.legend(loc="outside lower left", ncols=len(BARS))


def _explanation(config: ReportConfig) -> str:
    onnx = ONNX_EXPLANATION.format(**BARS) if config.onnx else ""
    sizes = "".join(
        f", {model} with 8-bit weights less than {most:g} MB" for model, most in SIZE_BARS.items()
    )
    return EXPLANATION.format(weights=config.weights, sizes=sizes, **{**BARS, ONNX: onnx})


def _cost(rows: Sequence[Row]) -> str:
    seconds = sum(row.cpu_seconds for row in rows)
    versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
    return f"All rows together took {seconds:.0f} s of processor time; {versions}."


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("separation-coreml", "coremltools", "torch")}
