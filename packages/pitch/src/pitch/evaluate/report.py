"""An evaluation for people and programs: Markdown, JSON, CSV, a figure, and one page of HTML."""

import base64
import csv
import dataclasses
import html
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audio_io.atomic import atomic_path, write_json, write_text
from audio_io.figures import PALETTE, new_figure
from pitch.evaluate.metrics import ERROR_EDGES, TOLERANCES_CENTS, Tally
from pitch.evaluate.runner import REGISTERS, UNVOICED, Evaluation, FileResult

STEM = "evaluation"
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))

EXPLANATION = """\
Accuracies are shares of the truly voiced frames whose pitch is within so many cents of the reference, \
called voiced or not; *chroma* forgives octaves. Recall and false alarms are the shares of truly voiced and \
unvoiced frames that are called voiced; *overall* counts frames that are voiced and right, or unvoiced and \
called so. Frames of all recordings count alike; *per recording* is the mean of the recordings' accuracies."""


@dataclass(frozen=True)
class Table:
    """A table of the reports.

    Attributes:
        title: What it shows.
        header: Names of the columns.
        rows: Their cells.
    """

    title: str
    header: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """The table with its title."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return f"## {self.title}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def text(self) -> str:
        """The table for a terminal, its columns aligned."""
        lines = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if index < 2 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        )

    def html(self) -> str:
        """The table with its title."""
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self.header)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows
        )
        return f"<h2>{html.escape(self.title)}</h2><table><tr>{head}</tr>{body}</table>"


def write_report(evaluation: Evaluation, folder: str | Path, *, with_html: bool = False) -> list[Path]:
    """Write `evaluation.md`, `.json`, `.csv`, `.png` and, if wanted, `.html`; each whole or not at all.

    Args:
        evaluation: The results.
        folder: Where to write.
        with_html: Whether to write one page with everything in it.

    Returns:
        The files.
    """
    place = Path(folder)
    files = [place / f"{STEM}.{suffix}" for suffix in ("md", "json", "csv", "png")]
    markdown, record, rows, figure = files
    write_text(markdown, to_markdown(evaluation))
    write_json(record, to_json(evaluation))
    _write_csv(evaluation.results, rows)
    plot(evaluation, figure)
    if with_html:
        files.append(place / f"{STEM}.html")
        write_text(files[-1], _to_html(evaluation, figure))
    return files


def tables(evaluation: Evaluation) -> list[Table]:
    """All scores; accuracy by register and by each kind of group."""
    found = [_main_table(evaluation)]
    kinds = {"register": list(REGISTERS)}
    for kind in evaluation.group_kinds():
        names = dict.fromkeys(name for s in evaluation.systems for name in evaluation.by_group(s, kind))
        if len(names) > 1:
            kinds[kind] = list(names)
    for kind, group_names in kinds.items():
        rows = []
        for system in evaluation.systems:
            tallies = _tallies(evaluation, system, kind)
            cells = [_percent(tallies[name].accuracy()) if name in tallies else "—" for name in group_names]
            rows.append([*system, *cells])
        title = f"Accuracy (50 cents) by {'SNR' if kind == 'snr' else kind}"
        found.append(Table(title, ["model", "decoder", *group_names], rows))
    return found


def to_markdown(evaluation: Evaluation) -> str:
    """The report for people."""
    parts = [f"# Pitch tracking on {evaluation.title}", _introduction(evaluation), EXPLANATION]
    parts += [table.markdown() for table in tables(evaluation)]
    parts.append(f"![Accuracy by level of noise and register, and the distribution of errors]({STEM}.png)")
    return "\n\n".join(parts) + "\n"


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """The report for programs; shares from 0 to 1, null where there is nothing to count."""
    systems = []
    for system in evaluation.systems:
        groups = {kind: evaluation.by_group(system, kind) for kind in evaluation.group_kinds()}
        groups["register"] = evaluation.by_register(system)
        systems.append(
            {
                "model": system[0],
                "decoder": system[1],
                "scores": _scores(evaluation.total(system)),
                "groups": {
                    kind: {name: _scores(tally) for name, tally in names.items()}
                    for kind, names in groups.items()
                },
            }
        )
    return {
        "title": evaluation.title,
        "reference": evaluation.reference,
        "settings": dataclasses.asdict(evaluation.config),
        "recordings": len(evaluation.of(evaluation.systems[0])),
        "seconds": sum(result.seconds for result in evaluation.of(evaluation.systems[0])),
        "systems": systems,
    }


def plot(evaluation: Evaluation, target: str | Path) -> None:
    """Accuracy by level of noise (if known) and by register, and the share of frames within an error.

    Args:
        evaluation: The results.
        target: Image file; its suffix sets the format.
    """
    kinds = [kind for kind in ("snr", "register") if kind == "register" or kind in evaluation.group_kinds()]
    models = list(dict.fromkeys(model for model, _ in evaluation.systems))
    decoders = list(dict.fromkeys(decoder for _, decoder in evaluation.systems))
    with new_figure(target, width=4.3 * (len(kinds) + 1), height=4.2) as figure:
        panels = figure.subplots(1, len(kinds) + 1, squeeze=False)[0]
        for system in evaluation.systems:
            look = {
                "color": PALETTE[models.index(system[0]) % len(PALETTE)],
                "linestyle": LINES[decoders.index(system[1]) % len(LINES)],
                "label": f"{system[0]}, {system[1]}",
            }
            for panel, kind in zip(panels, kinds, strict=False):
                tallies = _tallies(evaluation, system, kind)
                names = [name.split(" (")[0] for name in tallies]
                panel.plot(names, [100 * t.accuracy() for t in tallies.values()], marker="o", **look)
            total = evaluation.total(system)
            within = np.cumsum(total.errors) / max(total.voiced, 1)
            panels[-1].plot(ERROR_EDGES[1:], 100 * within, **look)
        for panel, kind in zip(panels, kinds, strict=False):
            panel.set_title("Accuracy by " + ("level over noise" if kind == "snr" else "register"))
            panel.set_ylabel("frames within 50 cents (%)")
            panel.set_ylim(top=101)
        panels[-1].set_xscale("log")
        panels[-1].set_xlim(1, 2400)
        panels[-1].set_xticks([1, 10, 50, 100, 1200], ["1", "10", "50", "100", "1200"])
        panels[-1].set_ylim(0, 101)
        panels[-1].set_xlabel("cents")
        panels[-1].set_ylabel("voiced frames (%)")
        panels[-1].set_title("Share within an error")
        panels[-1].legend(loc="lower right")


def _tallies(evaluation: Evaluation, system: tuple[str, str], kind: str) -> dict[str, Tally]:
    return evaluation.by_register(system) if kind == "register" else evaluation.by_group(system, kind)


def _main_table(evaluation: Evaluation) -> Table:
    header = ["model", "decoder", *(f"{tolerance:g} cents" for tolerance in TOLERANCES_CENTS)]
    header += ["per recording", "chroma", "octave errors", "recall", "false alarms", "overall"]
    header += ["median", "95th percentile"]
    rows = []
    for system in evaluation.systems:
        total = evaluation.total(system)
        scores = total.scores()
        accuracies = [result.total.accuracy() for result in evaluation.of(system) if result.total.voiced]
        shares = [
            *(total.accuracy(tolerance) for tolerance in TOLERANCES_CENTS),
            float(np.mean(accuracies)) if accuracies else math.nan,
            scores.raw_chroma_accuracy,
            scores.octave_errors,
            scores.voicing_recall,
            scores.voicing_false_alarm,
            scores.overall_accuracy,
        ]
        cents = [scores.median_cents, scores.percentile95_cents]
        rows.append(
            [*system, *map(_percent, shares), *("—" if math.isnan(c) else f"{c:.1f} cents" for c in cents)]
        )
    return Table("Scores", header, rows)


def _introduction(evaluation: Evaluation) -> str:
    config = evaluation.config
    recordings = evaluation.of(evaluation.systems[0])
    minutes = sum(result.seconds for result in recordings) / 60
    return (
        f"{len(recordings)} recordings, {minutes:.1f} minutes, compared with {evaluation.reference} "
        f"at its own times. Voiced from a confidence of {config.threshold:g} on; pitch from "
        f"{config.fmin:g} to {config.fmax:g} Hz."
    )


def _scores(tally: Tally) -> dict[str, float | int | None]:
    scores: dict[str, float | int | None] = {
        name: _null_for_nan(value) for name, value in dataclasses.asdict(tally.scores()).items()
    }
    within = {
        f"within_{tolerance:g}_cents": _null_for_nan(tally.accuracy(tolerance))
        for tolerance in TOLERANCES_CENTS
    }
    return {"voiced_frames": tally.voiced, "unvoiced_frames": tally.unvoiced, **within, **scores}


def _null_for_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _percent(share: float) -> str:
    return "—" if math.isnan(share) else f"{share:.1%}"


def _write_csv(results: list[FileResult], target: Path) -> None:
    """A row for each recording, capacity and decoder."""
    kinds = list(dict.fromkeys(kind for result in results for kind in result.groups))
    rows = []
    for result in results:
        groups = {kind: result.groups.get(kind, "") for kind in kinds}
        unvoiced = result.registers[UNVOICED].unvoiced
        scores = {**_scores(result.total), "unvoiced_frames": unvoiced}
        speed = {"seconds": round(result.seconds, 3), "network_seconds": round(result.network_seconds, 3)}
        rows.append(
            {
                "recording": result.name,
                "model": result.model,
                "decoder": result.decoder,
                **groups,
                **speed,
                **scores,
            }
        )
    with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _to_html(evaluation: Evaluation, figure: Path) -> str:
    picture = base64.b64encode(figure.read_bytes()).decode()
    title = html.escape(f"Pitch tracking on {evaluation.title}")
    body = "".join(table.html() for table in tables(evaluation))
    text = f"{html.escape(_introduction(evaluation))} {html.escape(EXPLANATION.replace('*', ''))}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:15px/1.5 sans-serif;max-width:80em;margin:2em auto;padding:0 1em}"
        "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
        "td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:right}"
        "td:nth-child(-n+2),th:nth-child(-n+2){text-align:left}img{max-width:100%}</style>"
        f"<h1>{title}</h1><p>{text}</p>"
        f'<img alt="Accuracy by level of noise and register" src="data:image/png;base64,{picture}">'
        f"{body}</html>\n"
    )
