"""Pictures of evaluations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from audio_io.figures import PALETTE, new_figure
from genre.evaluate.calibration import Bin, calibration_error
from genre.evaluate.result import Evaluation, Split
from genre.fonts import all_scripts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"artist": PALETTE[0], "random": PALETTE[1]}
_MOST_COUNTS = 20  # genres whose counts can still be read in a matrix


def plot_accuracy(target: Path, evaluations: Mapping[str, Evaluation]) -> None:
    """Accuracies with their intervals, and the accuracy of each fold as a dot."""
    rows = [(name, split) for name, entry in evaluations.items() for split in entry.splits.values()]
    with all_scripts(), new_figure(target, width=8.0, height=1.1 + 0.42 * len(rows)) as figure:
        axes = figure.add_subplot()
        for place, (_, split) in enumerate(rows):
            scores, colour = split.scores, _COLOURS.get(split.by, PALETTE[2])
            folds = [entry.accuracy for entry in split.fold_scores.values()]
            if len(folds) > 1:
                places = np.full(len(folds), place + 0.22)
                axes.plot(folds, places, ".", color=colour, alpha=0.5, markersize=5)
            axes.plot(scores.interval, (place, place), color=colour, linewidth=2)
            axes.plot(scores.accuracy, place, "o", color=colour)
            axes.annotate(
                f"{scores.accuracy:.3f}", (scores.accuracy, place), (0, 6), textcoords="offset points",
                ha="center", fontsize=8,
            )  # fmt: skip
        names = [f"{name}, {split_title(split.by)}" for name, split in rows]
        axes.set_yticks(range(len(rows)), names, parse_math=False)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set(xlabel="accuracy", title="Accuracy with its 95 % interval; small dots: folds")
        axes.grid(visible=False, axis="y")


def plot_genres(target: Path, evaluations: Mapping[str, Evaluation]) -> None:
    """F1 of each genre, a bar for each model, by the stricter way of splitting."""
    labels = next(iter(evaluations.values())).labels
    width = 0.8 / len(evaluations)
    size = max(6.0, 1.5 + 0.75 * len(labels))
    with all_scripts(), new_figure(target, width=size, height=3.2) as figure:
        axes = figure.add_subplot()
        for index, (name, evaluation) in enumerate(evaluations.items()):
            split = next(iter(evaluation.splits.values()))
            values = {entry.label: entry.f1 for entry in split.scores.classes}
            axes.bar(
                np.arange(len(labels)) + (index + 0.5) * width - 0.4,
                [values.get(label, np.nan) for label in labels],
                0.94 * width, color=PALETTE[index % len(PALETTE)], label=f"{name}, {split_title(split.by)}",
            )  # fmt: skip
        axes.set_xticks(range(len(labels)), labels, parse_math=False)
        axes.set(title="F1 of each genre", ylim=(0, 1.02))
        axes.grid(visible=False, axis="x")
        for text in figure.legend(loc="outside lower center", ncols=3).get_texts():
            text.set_parse_math(False)


def plot_confusion(target: Path, split: Split) -> None:
    """Truth and answer: the colour is the share of the genre's tracks, the number their count."""
    counts = np.array(split.scores.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    genres = len(split.labels)
    size = max(3.6, 1.6 + 0.4 * genres)
    with all_scripts(), new_figure(target, width=size + 0.6, height=size) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        for row, column in zip(*np.nonzero(counts), strict=True):
            if genres <= _MOST_COUNTS:
                axes.text(
                    column, row, str(counts[row, column]), ha="center", va="center", fontsize=8,
                    color="white" if shares[row, column] > 0.6 else "black",
                )  # fmt: skip
        axes.set_xticks(range(genres), split.labels, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(genres), split.labels, parse_math=False)
        axes.set(xlabel="answer", ylabel="truth", title="Confusion")
        axes.grid(visible=False)
        figure.colorbar(image, ax=axes, shrink=0.8, label="share of the genre's tracks")


def plot_reliability(target: Path, split: Split) -> None:
    """Accuracy by confidence before and after the temperature, and how many tracks have which confidence."""
    with new_figure(target, width=7.4, height=4.4) as figure:
        grid = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1))
        for column, (name, bins) in enumerate(
            (("Before", split.bins_before), ("After the temperature", split.bins))
        ):
            _draw_bins(grid[0][column], grid[1][column], bins)
            grid[0][column].set_title(f"{name}: ECE {calibration_error(bins):.3f}")
        grid[0][0].set_ylabel("accuracy")
        grid[1][0].set_ylabel("tracks")


def _draw_bins(top: "Axes", bottom: "Axes", bins: Sequence[Bin]) -> None:
    width = bins[0].high - bins[0].low
    lows = [entry.low for entry in bins]
    filled = [entry for entry in bins if entry.count]
    top.bar(
        [entry.low for entry in filled], [entry.accuracy for entry in filled], width,
        align="edge", color=PALETTE[4], edgecolor="white",
    )  # fmt: skip
    top.plot(
        [entry.confidence for entry in filled], [entry.accuracy for entry in filled], "o", color=PALETTE[0]
    )
    top.plot((0, 1), (0, 1), "--", color="#444444", linewidth=1)
    top.set(xlim=(0, 1), ylim=(0, 1.02))
    bottom.bar(
        lows, [entry.count for entry in bins], width, align="edge", color=PALETTE[4], edgecolor="white"
    )
    bottom.set_xlabel("confidence")


def split_title(by: str) -> str:
    """How a way of splitting is called in titles."""
    return {"artist": "folds by artist", "random": "random folds"}.get(by, by)
