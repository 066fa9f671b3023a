"""The page of a report: it needs nothing but a browser, no network and no other file."""

import html
from pathlib import Path

from audio_io.atomic import write_text
from genre.config import STEMS
from genre.explain.config import ExplainConfig
from genre.explain.report import Entry, Report
from genre.explain.shapley import ALL, NONE
from genre.explain.summary import Summary
from genre.explain.track import Explanation
from genre.pages import document, image, items, table

_STYLE = """
audio { display: block; margin: .5rem 0; width: 100%; }
.figure { position: relative; width: fit-content; }
.figure img { display: block; }
.figure[data-seconds] { cursor: pointer; }
.head { background: #b0005a; bottom: 0; display: none; pointer-events: none; position: absolute; top: 0;
  width: 2px; }
"""

# The line over a figure follows the sound; a click goes there.
_SCRIPT = """
"use strict";
for (const figure of document.querySelectorAll(".figure[data-seconds]")) {
  const audio = figure.parentElement.querySelector("audio");
  const head = figure.querySelector(".head");
  if (!audio) continue;
  const [left, right, seconds] = ["left", "right", "seconds"].map((name) => Number(figure.dataset[name]));
  const show = () => {
    head.style.display = "block";
    head.style.left = `${100 * (left + (right - left) * Math.min(1, audio.currentTime / seconds))}%`;
    if (!audio.paused) requestAnimationFrame(show);
  };
  audio.addEventListener("play", show);
  audio.addEventListener("seeked", show);
  figure.addEventListener("click", (event) => {
    const box = figure.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width - left) / (right - left);
    if (place >= 0 && place <= 1) audio.currentTime = place * seconds;
  });
}
"""

_MAPS = {
    "gradcam": "Grad-CAM by stem: a cell is what the last feature map has there because the stem sounds.",
    "gradients": "Integrated gradients from silence, added up in cells.",
    "none": "",
}


def write_page(report: Report, summary_figure: Path, config: ExplainConfig) -> None:
    """Write the page.

    Args:
        report: With at least one entry.
        summary_figure: From `genre.explain.figures.draw_summary`.
        config: Of the explanations.
    """
    assert report.summary is not None
    count = len(report.entries)
    title = f"Which stem decided: {count} recording{'' if count == 1 else 's'}"
    body = [f"<h1>{title}</h1>", *_about(config)]
    if count > 1:
        body += _summary(report.summary, summary_figure)
    if report.errors:
        body += ["<h2>Left out</h2>", items([str(error) for error in report.errors])]
    if any(entry.figure is not None for entry in report.entries):
        body += [_section(entry) for entry in report.entries]
    else:
        body.append("<h2>Recordings</h2>\n" + _overview(report.entries))
    write_text(report.page, document(title, body, style=_STYLE, script=_SCRIPT))


def _about(config: ExplainConfig) -> list[str]:
    sentences = (
        "A Shapley value is what a stem adds to the log-odds of the genre, in nats, averaged over all orders "
        "in which the stems can come in; the four add up to the difference of the recording from silence. "
        "Adding 1 nat multiplies the odds by 2.7. “Silenced alone” is what is lost without that stem only."
    )
    lines = [f'<p class="soft">{sentences}</p>']
    if config.maps != "none":
        lines.append(
            f'<p class="soft">{_MAPS[config.maps]} Orange speaks for the genre, blue against it. '
            "The map says what the network used, not what is typical of the genre.</p>"
        )
    return lines


def _summary(summary: Summary, figure: Path) -> list[str]:
    names = ("probability falls by", "marked", "random", "difference, 95 % interval")
    rows = []
    for name, entry in summary.deletions.items():
        difference = f"{entry.marked - entry.random:+.3f} ± {entry.margin:.3f}"
        rows.append((name, f"{entry.marked:.3f}", f"{entry.random:.3f}", difference))
    true = (
        "Are the attributions true? What is marked is silenced, and compared with random stems, or with as "
        "many random places. The first row is a weak test: Shapley values are made of silencings."
    )
    if "loudest places" in summary.deletions:
        true += " The loudest places know nothing of the network; the map should beat them."
    return [
        "<h2>Genres</h2>",
        image(figure, "mean Shapley values"),
        f"<p>{true}</p>",
        table(names, rows),
    ]


def _section(entry: Entry) -> str:
    explanation = entry.explanation
    genre = explanation.genre
    silence = float(explanation.probabilities[NONE, genre])
    parts = [
        f"<section><h2>{html.escape(entry.path.name)}</h2>",
        f"<p>{html.escape(explanation.finding())}; silence has {silence:.3f}.</p>",
    ]
    if entry.sound:
        parts.append(f'<audio controls preload="none" src="{entry.sound}"></audio>')
    if entry.figure is not None and entry.axis is not None:
        axis = entry.axis
        shown = image(entry.figure, "mel spectrograms of the stems with the map")
        parts.append(
            f'<div class="figure" data-left="{axis.left:.5f}" data-right="{axis.right:.5f}" '
            f'data-seconds="{axis.seconds:.3f}">{shown}<div class="head"></div></div>'
        )
    parts.append(_stem_table(explanation))
    if len(explanation.starts) > 1:
        parts.append(_window_table(explanation))
    return "\n".join(parts) + "</section>"


def _stem_table(explanation: Explanation) -> str:
    genre = explanation.genre
    columns = [
        values[:, genre].tolist()
        for unit in ("log_odds", "probability")
        for values in (explanation.of_stems(unit), explanation.of_silenced(unit))
    ]
    rows = [
        (stem, *(f"{column[index]:+.{2 if place < 2 else 3}f}" for place, column in enumerate(columns)))
        for index, stem in enumerate(STEMS)
    ]
    names = (
        "stem",
        "Shapley, nats",
        "silenced alone, nats",
        "Shapley, probability",
        "silenced alone, probability",
    )
    return table(names, rows)


def _window_table(explanation: Explanation) -> str:
    rows = []
    for number, start in enumerate(explanation.starts):
        values = explanation.of_stems(window=number)[:, explanation.genre].tolist()
        probability = float(explanation.log_shares[number, ALL, explanation.genre].exp())
        rows.append((f"{start:.1f} s", f"{probability:.3f}", *(f"{value:+.2f}" for value in values)))
    return table(("window from", f"probability of {explanation.label}", *STEMS), rows)


def _overview(entries: tuple[Entry, ...]) -> str:
    rows = []
    for entry in entries:
        explanation = entry.explanation
        values = explanation.of_stems()[:, explanation.genre].tolist()
        probability = float(explanation.probabilities[ALL, explanation.genre])
        shown = (f"{value:+.2f}" for value in values)
        rows.append((entry.path.as_posix(), explanation.label, f"{probability:.3f}", *shown))
    return table(("recording", "genre", "probability", *STEMS), rows)
