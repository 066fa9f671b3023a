"""The report on heat maps: one web page with its figures in it, and the same numbers as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audio_io.atomic import write_json
from mri2speech.gradcam.faithfulness import Example
from mri2speech.gradcam.pictures import overlay
from mri2speech.pages import picture_html, table_html, write_html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WORDS = {
    "agreement": "Agreement with the cause",
    "organs": "Organs",
    "masking": "Masking",
    "curves": "Deletion and insertion",
    "randomisation": "Randomised weights",
}


def write_report(folder: str | Path, results: dict[str, Any], examples: Sequence[Example]) -> Path:
    """Write `faithfulness.json` and `index.html`.

    Args:
        folder: Where.
        results: Of `faithfulness.examine`.
        examples: Frames to show.

    Returns:
        The page.
    """
    root = Path(folder)
    write_json(root / "faithfulness.json", results)
    height, width = results["map"]
    method = results["settings"]["gradcam"]["method"]
    top, curves = results["settings"]["test"]["top"], results["curves"]
    body = [
        f"<p>{method}, maps of {height}x{width} cells, {results['frames']} frames of {results['films']} "
        "films. In brackets: 95 % intervals, from resampled films.</p>",
        picture_html(lambda figure: _draw_examples(figure, examples), 10.0, 2.3 * max(len(examples), 1)),
    ]
    if results["agreement"]:
        body += [
            f"<h2>{_WORDS['agreement']}</h2>",
            "<p>Cause: where the picture changes when an articulator moves, by how far the formant moves "
            f"with it. Overlap and hits are of the hottest {top:.0%}. A map that knows the formant is above "
            "the movement of the film, which knows nothing of sound.</p>",
            *(_agreement(band, rows) for band, rows in results["agreement"].items()),
            f"<h2>{_WORDS['organs']}</h2>",
            *(_organs(band, rows) for band, rows in results["organs"].items()),
        ]
    body += [
        f"<h2>{_WORDS['masking']}</h2>",
        f"<p>Change of the predicted band when the hottest {top:.0%} of a frame is replaced, and its ratio "
        "to that of random regions of the same size inside the head.</p>",
        *(_masking(band, rows) for band, rows in results["masking"].items()),
        f"<h2>{_WORDS['curves']}</h2>",
        "<p>Change of the predicted band while a frame is taken away from the hottest pixel on (good: "
        "rises early, large area), and what remains of it while the frame comes back (good: falls early, "
        "small area).</p>",
        picture_html(
            lambda figure: _draw_curves(figure, results["curves"]), 10.0, 3.4 * len(results["curves"])
        ),
        *(_areas(band, rows) for band, rows in curves.items()),
        f"<h2>{_WORDS['randomisation']}</h2>",
        "<p>Rank correlation of the maps with those of the trained model, its parts destroyed from the "
        "output to the input. A map of the model falls to 0; a map of the image stays.</p>",
        picture_html(lambda figure: _draw_cascade(figure, results["randomisation"]), 10.0, 3.2),
    ]
    write_html(root / "index.html", "Are the heat maps true?", body)
    return root / "index.html"


def _interval(value: Sequence[float], digits: int = 2) -> str:
    mean, low, high = (f"{number:.{digits}f}" for number in value)
    return f"{mean} ({low} to {high})"


def _agreement(band: str, rows: dict[str, Any]) -> str:
    heads = ("", "rank correlation", "map ahead by", "overlap", "hottest place hits")
    lines = []
    for rival, row in rows.items():
        ahead = row.get("rank_correlation_behind_map")
        lines.append((
            rival, _interval(row["rank_correlation"]), "" if ahead is None else _interval(ahead),
            _interval(row["overlap"]), _interval(row["pointing"]),
        ))  # fmt: skip
    return table_html(heads, lines, caption=band)


def _organs(band: str, rows: dict[str, Any]) -> str:
    names = sorted(rows["cause"], key=lambda name: -float(rows["cause"][name]))
    lines = [(name, f"{rows['map'][name]:.0%}", f"{rows['cause'][name]:.0%}") for name in names]
    return table_html(("", "map", "cause"), lines, caption=f"{band}: share of the heat")


def _masking(band: str, rows: dict[str, Any]) -> str:
    lines = [
        (guess, _interval(row["change_db"]), _interval(row["ratio_to_random"]) if guess != "random" else "")
        for guess, row in rows.items()
    ]
    return table_html(("region of", "change in dB", "ratio to random"), lines, caption=band)


def _areas(band: str, rows: dict[str, Any]) -> str:
    lines = [
        (guess, _interval(row["deletion_area"]), _interval(row["insertion_area"]))
        for guess, row in rows.items()
    ]
    heads = ("order of", "deletion (large is good)", "insertion (small is good)")
    return table_html(heads, lines, caption=f"{band}: area")


def _draw_examples(figure: "Figure", examples: Sequence[Example]) -> None:
    if not examples:
        return
    bands = list(examples[0].heat)
    columns = 1 + sum(1 + (band in examples[0].causes) for band in bands)
    grid = figure.subplots(len(examples), columns, squeeze=False)
    for row, example in zip(grid, examples, strict=True):
        pictures = [
            (f"{example.film}, frame {example.index}", np.zeros((1, *example.frame.shape), np.float32))
        ]
        for number, band in enumerate(bands):
            for word, source in (("map", example.heat), ("cause", example.causes)):
                if band in source:
                    layers = np.zeros((len(bands), *example.frame.shape), dtype=np.float32)
                    layers[number] = source[band] / max(float(source[band].max()), 1e-12)
                    pictures.append((f"{word} of {band}", layers))
        for axes, (title, layers) in zip(row, pictures, strict=True):
            axes.imshow(overlay(example.frame, layers, 0.8))
            axes.set_title(title, fontsize=8, fontweight="normal")
            axes.axis("off")


def _draw_curves(figure: "Figure", results: dict[str, Any]) -> None:
    for row, (band, guesses) in zip(
        figure.subplots(len(results), 2, squeeze=False), results.items(), strict=True
    ):
        for axes, kind in zip(row, ("deletion", "insertion"), strict=True):
            for guess, values in guesses.items():
                share = np.linspace(0, 100, len(values[kind]))
                axes.plot(share, values[kind], label=guess)
            axes.set(title=f"{kind}, {band}", xlabel="% of the pixels", ylabel="change in dB")
        row[0].legend()


def _draw_cascade(figure: "Figure", results: dict[str, Any]) -> None:
    axes = figure.add_subplot()
    for band, stages in results.items():
        middle, low, high = np.array(list(stages.values())).T
        places = range(1, len(stages) + 1)
        axes.errorbar(places, middle, (middle - low, high - middle), marker="o", capsize=3, label=band)
    names = list(next(iter(results.values())))
    axes.set_xticks(range(len(names) + 1), ["trained", *names])
    axes.plot(0, 1.0, "o", color="#444444")
    axes.axhline(0, color="#444444", linewidth=0.8)
    axes.set(ylabel="rank correlation", xlabel="destroyed, from the left on")
    axes.legend()
