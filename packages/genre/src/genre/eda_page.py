"""The survey of a corpus as figures and one web page that needs nothing but a browser."""

import html
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import audio_io
from audio_io.atomic import write_text
from audio_io.figures import PALETTE, new_figure
from genre.config import FeatureConfig
from genre.eda import SILENT_DB, Kind, Survey, formats, gallery, load_sound, write_measurements
from genre.fonts import all_scripts
from genre.pages import document, image, items, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GALLERY = 3  # tracks of a genre
_GALLERY_SECONDS = 10.0
_DYNAMICS_DB = 80.0
_LEAST_POWER = 1e-2  # of a mel band: about a tone 60 dB below full scale

_KINDS: dict[Kind, str] = {
    "broken": "Recordings that cannot be used",
    "mismatch": "Files and labels that do not fit together",
    "duplicate": "Exact duplicates",
    "short": "Short recordings (below half of the median)",
    "silent": "Silent recordings",
}


def write_survey(survey: Survey, features: FeatureConfig, folder: Path) -> list[Path]:
    """Write `eda.html`, the figures in it, and `recordings.csv`.

    Args:
        survey: From `genre.eda.survey_corpus`.
        features: For the mel spectrograms.
        folder: Where to write.

    Returns:
        The files.
    """
    figures = {
        "Recordings of each genre": folder / "distribution.png",
        "Durations and levels": folder / "durations.png",
        f"Mel spectrograms, the first {_GALLERY_SECONDS:g} s": folder / "gallery.png",
    }
    distribution, durations, mels = figures.values()
    with all_scripts():
        plot_distribution(survey, distribution)
        plot_durations(survey, durations)
        plot_gallery(survey, features, mels)
    table, page = folder / "recordings.csv", folder / "eda.html"
    write_measurements(table, survey)
    write_text(page, _page(survey, figures))
    return [page, table, *figures.values()]


def plot_distribution(survey: Survey, target: Path) -> None:
    """How many usable recordings each genre has."""
    counts = survey.counts()
    total = sum(counts.values())
    with new_figure(target, width=9.0, height=0.6 + 0.32 * len(counts)) as figure:
        axes = figure.add_subplot()
        bars = axes.barh(range(len(counts)), list(counts.values()), color=PALETTE[0])
        # A dollar sign in a name is no formula.
        axes.set_yticks(range(len(counts)), list(counts), parse_math=False)
        axes.bar_label(bars, [f"{n}  ({n / max(total, 1):.0%})" for n in counts.values()], padding=3)
        share = total / max(len(counts), 1)
        axes.axvline(share, color=PALETTE[1], linestyle="--", linewidth=1, zorder=0)
        axes.set_title(f"{total} usable training recordings; the dashed line is an even share")
        axes.set_xlim(0, 1.15 * max(*counts.values(), 1))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")


def plot_durations(survey: Survey, target: Path) -> None:
    """Durations of all recordings, and by genre the levels of those that are not silent."""
    labels = survey.corpus.labels
    with new_figure(target, width=10.0, height=max(3.2, 0.8 + 0.3 * len(labels))) as figure:
        left, right = figure.subplots(1, 2)
        seconds = [m.seconds for m in survey.measurements if not m.problem]
        left.hist(seconds, bins=40, color=PALETTE[0])
        left.set_title("Durations")
        left.set_xlabel("s")
        left.set_ylabel("recordings")
        levels = [
            [m.rms_db for m in survey.usable(label) if m.peak_db >= SILENT_DB] or [np.nan] for label in labels
        ]
        _box(right, levels, list(labels))
        right.set_title("Levels")
        right.set_xlabel("RMS, dB of full scale")


def _box(axes: "Axes", values: list[list[float]], labels: list[str]) -> None:
    positions = list(range(1, len(labels) + 1))
    axes.boxplot(
        values, positions=positions, orientation="horizontal", widths=0.6,
        medianprops={"color": PALETTE[1]}, flierprops={"markersize": 3},
    )  # fmt: skip
    axes.set_yticks(positions, labels, parse_math=False)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def plot_gallery(survey: Survey, features: FeatureConfig, target: Path) -> None:
    """Mel spectrograms of some recordings of each genre, a row each."""
    labels = survey.corpus.labels
    with new_figure(target, width=10.0, height=0.6 + 1.15 * len(labels)) as figure:
        grid = figure.subplots(len(labels), GALLERY, sharex=True, sharey=True, squeeze=False)
        for row, label in zip(grid, labels, strict=True):
            tracks = gallery(survey, label, GALLERY)
            for column, axes in enumerate(row):
                axes.grid(visible=False)
                axes.set_facecolor("black" if column < len(tracks) else "none")
                if column < len(tracks):
                    _draw_mel(axes, tracks[column].path, features)
                    axes.set_title(tracks[column].path.stem[-40:], fontsize=7, pad=2, parse_math=False)
            row[0].set_ylabel(label, parse_math=False)
        for axes in grid[-1]:
            axes.set_xlabel("s")


def _draw_mel(axes: "Axes", path: Path, features: FeatureConfig) -> None:
    waveform, rate = load_sound(path)
    mono = waveform[:, : round(_GALLERY_SECONDS * rate)].mean(dim=0)
    mono = audio_io.resample(mono, rate, features.sample_rate)
    with torch.inference_mode():
        mel = audio_io.melspectrogram(
            mono,
            features.sample_rate,
            n_fft=features.n_fft,
            hop_length=features.hop_length,
            n_mels=features.n_mels,
        )
        # Silence has no loudest value; it is shown as black.
        reference = max(float(mel.max()), _LEAST_POWER)
        decibels = audio_io.power_to_db(mel, ref=reference, top_db=None)
    seconds = decibels.shape[-1] * features.hop_length / features.sample_rate
    axes.imshow(
        decibels.numpy(), origin="lower", aspect="auto", interpolation="nearest",
        extent=(0, seconds, 0, features.n_mels), vmin=-_DYNAMICS_DB, vmax=0,
    )  # fmt: skip
    axes.set_xlim(0, _GALLERY_SECONDS)


def _page(survey: Survey, figures: dict[str, Path]) -> str:
    name = survey.corpus.root.resolve().name
    usable = [m for m in survey.measurements if not m.problem]
    minutes = sum(m.seconds for m in usable) / 60
    test = len(survey.corpus.test)
    about = f"{len(usable)} usable recordings of {len(survey.measurements)}, {minutes:.0f} min"
    about += f"; {test} are test tracks without labels" if test else ""
    body = [f"<h1>{html.escape(name)}</h1>", f"<p>{about}.</p>", "<h2>To be looked at</h2>"]
    if not survey.findings:
        body.append("<p>Nothing: all files can be read, and none is short, silent or there twice.</p>")
    for kind, title in _KINDS.items():
        sentences = [f.sentence for f in survey.findings if f.kind == kind]
        if sentences:
            body += [f"<h3>{title} ({len(sentences)})</h3>", items(sentences)]
    for title, path in figures.items():
        body += [f"<h2>{title}</h2>", image(path, title)]
    rows = [(form, str(count)) for form, count in formats(survey)]
    body += ["<h2>Formats</h2>", table(("format", "recordings"), rows)]
    body.append('<p class="soft">Measures of every recording are in recordings.csv.</p>')
    return document(f"{name}: the corpus", body)
