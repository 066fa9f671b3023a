"""An evaluation for people and programs: Markdown, JSON, CSV and a figure."""

import csv
import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audio_io.atomic import atomic_path, write_json, write_text
from audio_io.figures import PALETTE, new_figure
from separation_coreml.evaluation.config import EvaluateConfig
from separation_coreml.evaluation.run import BASELINES, Evaluation

STEM = "evaluation"
_GREYS = ("#dddddd", "#bbbbbb", "#999999")  # of the baselines
TITLES = {
    "sdr": "SDR of whole songs in dB, mean over songs",
    "frame_sdr": "SDR in dB, median over windows of 1 s and then over songs",
    "bss_sdr": "SDR in dB with filters of 512 taps, medians",
    "bss_sir": "SIR in dB with filters of 512 taps, medians",
    "bss_sar": "SAR in dB with filters of 512 taps, medians",
}
EXPLANATION = """\
SDR of whole songs is that of the Music Demixing Challenges: energy of a stem over that of the error. Over \
windows of 1 s it is what museval reports as SDR. Songs whose stem is silent throughout do not count, nor do \
windows in which a stem or an estimate is silent. *mean* is that of the stems; *change* is against the first \
row."""


@dataclass(frozen=True)
class Table:
    """Scores of all methods in one ratio.

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
        aligned = ["---", *["---:"] * (len(self.header) - 1)]
        lines = [self.header, aligned, *self.rows]
        return f"## {self.title}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def text(self) -> str:
        """The table for a terminal."""
        lines = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = [
            "  ".join(
                cell.rjust(width) if index else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        return "\n".join([self.title, *aligned])


def stems_of(evaluation: Evaluation) -> tuple[str, ...]:
    """Stems that were scored, in order."""
    return tuple(dict.fromkeys(score.stem for score in evaluation.scores))


def summary(evaluation: Evaluation, ratio: str) -> dict[str, dict[str, float]]:
    """A ratio by method and stem: mean over songs of `sdr`, median of the others; NaN if no song counts."""
    result: dict[str, dict[str, float]] = {}
    for method in evaluation.methods:
        result[method] = {}
        for stem in stems_of(evaluation):
            values = [
                score.values[ratio]
                for score in evaluation.scores
                if (score.method, score.stem) == (method, stem) and not math.isnan(score.values[ratio])
            ]
            average = np.mean if ratio == "sdr" else np.median
            result[method][stem] = float(average(values)) if values else math.nan
    return result


def tables(evaluation: Evaluation) -> list[Table]:
    """A table for each ratio that was computed."""
    ratios = list(evaluation.scores[0].values) if evaluation.scores else []
    return [_table(evaluation, ratio) for ratio in ratios]


def _table(evaluation: Evaluation, ratio: str) -> Table:
    stems = stems_of(evaluation)
    scores = summary(evaluation, ratio)
    means = {method: _mean(list(scores[method].values())) for method in evaluation.methods}
    first = evaluation.methods[0]
    rows = [
        [
            method,
            *(_number(scores[method][stem]) for stem in stems),
            _number(means[method]),
            "" if method == first else f"{means[method] - means[first]:+.3f}",
        ]
        for method in evaluation.methods
    ]
    return Table(TITLES[ratio], ["model", *stems, "mean", "change"], rows)


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def write_report(evaluation: Evaluation, config: EvaluateConfig, folder: str | Path) -> list[Path]:
    """Write `evaluation.md`, `.json`, `.csv` and `.png`.

    Returns:
        The files.
    """
    folder = Path(folder)
    paths = [folder / f"{STEM}.{suffix}" for suffix in ("md", "json", "csv", "png")]
    count = len(evaluation.tracks)
    parts = [
        f"# {evaluation.title}",
        f"{count} {'song' if count == 1 else 'songs'}. {EXPLANATION}",
        *(table.markdown() for table in tables(evaluation)),
        f"![SDR of whole songs]({STEM}.png)",
    ]
    write_text(paths[0], "\n\n".join(parts) + "\n")
    write_json(
        paths[1],
        {
            "title": evaluation.title,
            "config": dataclasses.asdict(config),
            "tracks": list(evaluation.tracks),
            "summary": {
                table: {
                    method: {stem: _json(value) for stem, value in values.items()}
                    for method, values in summary(evaluation, table).items()
                }
                for table in (evaluation.scores[0].values if evaluation.scores else ())
            },
            "scores": [
                {
                    **dataclasses.asdict(score),
                    "values": {name: _json(value) for name, value in score.values.items()},
                }
                for score in evaluation.scores
            ],
        },
    )
    _write_csv(evaluation, paths[2])
    _draw(evaluation, paths[3])
    return paths


def _json(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _write_csv(evaluation: Evaluation, path: Path) -> None:
    ratios = list(evaluation.scores[0].values) if evaluation.scores else []
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", "song", "stem", *ratios])
        for score in evaluation.scores:
            values = ["" if math.isnan(value) else f"{value:.4f}" for value in score.values.values()]
            writer.writerow([score.method, score.track, score.stem, *values])


def _draw(evaluation: Evaluation, path: Path) -> None:
    """SDR of whole songs: a bar for the mean of each method and stem, a dot for each song."""
    stems, methods = stems_of(evaluation), evaluation.methods
    means = summary(evaluation, "sdr")
    width = 0.8 / len(methods)
    with new_figure(path, width=max(8.0, 1.2 * len(stems) * len(methods) / 3), height=4) as figure:
        axes = figure.subplots()
        for index, method in enumerate(methods):
            places = np.arange(len(stems)) + (index - (len(methods) - 1) / 2) * width
            colour = _GREYS[BASELINES.index(method)] if method in BASELINES else PALETTE[index % len(PALETTE)]
            axes.bar(places, [means[method][stem] for stem in stems], width * 0.9, label=method, color=colour)
            for place, stem in zip(places, stems, strict=True):
                values = [
                    score.values["sdr"]
                    for score in evaluation.scores
                    if (score.method, score.stem) == (method, stem) and math.isfinite(score.values["sdr"])
                ]
                axes.plot([place] * len(values), values, ".", color="#222222", markersize=2, alpha=0.5)
        axes.set_axisbelow(True)
        axes.axhline(0, color="#444444", linewidth=0.8)
        axes.set_xticks(range(len(stems)), stems)
        axes.set(title=f"SDR of {evaluation.title}", ylabel="dB")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
