"""Figures of attribution: the stems of a recording with the map over them, and genres by stems."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_io.figures import PALETTE, new_figure
from audio_io.mel import hz_to_mel
from genre.config import STEMS, FeatureConfig
from genre.explain.summary import Summary
from genre.explain.track import Explanation
from genre.features import FLOOR_DB, mel_power, to_decibels
from genre.fonts import all_scripts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

FOR, AGAINST = PALETTE[1], PALETTE[0]
_MOST_COLUMNS = 3000  # of the picture; more cannot be seen
_TICKS_HZ = (300, 1000, 3000, 10000)


@dataclass(frozen=True)
class TimeAxis:
    """Where the time axis of a figure is, for a marker of the place that is played.

    Attributes:
        left: Left end, as a share of the figure's width.
        right: Right end.
        seconds: Time at the right end; at the left it is 0.
    """

    left: float
    right: float
    seconds: float


def track_map(
    explanation: Explanation, cells: tuple[Tensor, Tensor], features: FeatureConfig, frames: int
) -> Tensor:
    """The maps of the windows on the frames of the recording; the mean where windows overlap.

    Args:
        explanation: With maps.
        cells: From `Explainer.cells`.
        features: The settings of the features.
        frames: Of the recording.

    Shape:
        - output: `[4, n_mels, frames]`, in nats per second and mel band
    """
    rows, columns = cells
    area = torch.bincount(rows)[:, None] * torch.bincount(columns)
    total = torch.zeros(len(STEMS), len(rows), frames, dtype=torch.float64)
    count = torch.zeros(frames)
    for start, part in zip(explanation.starts, explanation.maps, strict=True):
        first = round(start * features.sample_rate / features.hop_length)
        used = min(len(columns), frames - first)
        density = part.cells / area * features.sample_rate / features.hop_length
        total[..., first : first + used] += density[:, rows][:, :, columns[:used]]
        count[first : first + used] += 1
    return total / count.clamp(min=1)


def draw_track(
    target: Path, title: str, explanation: Explanation, stems: Tensor, cells: tuple[Tensor, Tensor],
    features: FeatureConfig,
) -> TimeAxis:  # fmt: skip
    """Draw the mel spectrograms of the stems, the maps over them, and the Shapley values.

    Args:
        target: The file.
        title: Above the figure.
        explanation: With or without maps.
        stems: What was explained.
        cells: From `Explainer.cells`.
        features: The settings of the features.

    Shape:
        - stems: `[4, N]`
    """
    db = to_decibels(mel_power(stems, features), features.reference)
    frames = db.shape[-1]
    seconds = frames * features.hop_length / features.sample_rate
    shown = track_map(explanation, cells, features, frames) if explanation.maps else torch.zeros_like(db)
    limit = max(float(shown.abs().max()), 1e-12)
    step = -(-frames // _MOST_COLUMNS)
    extent = (0.0, seconds, 0.0, float(features.n_mels))
    with all_scripts(), new_figure(target, width=11.0, height=6.6) as figure:
        grid = figure.add_gridspec(len(STEMS), 2, width_ratios=(5, 1.2))
        axes: list[Axes] = []
        for row, stem in enumerate(STEMS):
            panel = figure.add_subplot(grid[row, 0], sharex=axes[0] if axes else None)
            panel.grid(visible=False)
            panel.imshow(
                db[row, :, ::step].numpy(), origin="lower", aspect="auto", extent=extent, cmap="gray_r",
                vmin=FLOOR_DB, vmax=30, interpolation="nearest",
            )  # fmt: skip
            overlay = panel.imshow(
                shown[row, :, ::step].numpy(), origin="lower", aspect="auto", extent=extent, cmap=_overlay(),
                vmin=-limit, vmax=limit, interpolation="nearest",
            )  # fmt: skip
            _mel_ticks(panel, features)
            panel.set_ylabel(stem)
            panel.tick_params(labelbottom=row == len(STEMS) - 1)
            axes.append(panel)
        axes[-1].set_xlabel("s")
        axes[0].set_title(title, parse_math=False)
        bars = figure.add_subplot(grid[:, 1])
        _draw_bars(bars, explanation)
        if explanation.maps:
            bar = figure.colorbar(overlay, ax=axes, location="bottom", aspect=60, pad=0.01)
            label = f"nats per second and mel band: for {explanation.label} above 0, against it below"
            bar.set_label(label, parse_math=False)
    place = axes[0].get_position()
    return TimeAxis(float(place.x0), float(place.x1), seconds)


def draw_summary(target: Path, summary: Summary) -> None:
    """Draw the mean Shapley value of each stem for each genre."""
    values = summary.log_odds
    limit = max(float(np.abs(values).max()), 1e-9)
    with all_scripts(), new_figure(target, width=6.5, height=1.3 + 0.36 * len(values)) as figure:
        axes = figure.add_subplot()
        axes.grid(visible=False)
        image = axes.imshow(values, cmap=_diverging(), vmin=-limit, vmax=limit, aspect="auto")
        axes.set_xticks(range(len(STEMS)), STEMS)
        names = [f"{genre}  ({n})" for genre, n in zip(summary.genres, summary.counts, strict=True)]
        axes.set_yticks(range(len(names)), names, parse_math=False)
        for (row, column), value in np.ndenumerate(values):
            dark = abs(value) > 0.6 * limit
            axes.text(column, row, f"{value:+.2f}", ha="center", va="center", color="w" if dark else "k")
        axes.set_title("What each genre is told by")
        figure.colorbar(image, ax=axes, label="mean Shapley value, nats")


def _draw_bars(axes: "Axes", explanation: Explanation) -> None:
    values = explanation.of_stems()[:, explanation.genre].numpy()
    alone = explanation.of_silenced()[:, explanation.genre].numpy()
    axes.barh(range(len(STEMS)), values, height=0.4, color=[FOR if v > 0 else AGAINST for v in values])
    axes.plot(alone, range(len(STEMS)), "o", color="k", markerfacecolor="none", label="silenced alone")
    axes.axvline(0, color="#444444", linewidth=0.8)
    names = [f"{stem}\n{value:+.2f}" for stem, value in zip(STEMS, values, strict=True)]
    axes.set_yticks(range(len(STEMS)), names)
    axes.set_ylim(len(STEMS) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)
    axes.set_title("Shapley values")
    axes.set_xlabel(f"log-odds of {explanation.label}, nats", parse_math=False)
    axes.legend(loc="lower right", fontsize=8)


def _mel_ticks(axes: "Axes", features: FeatureConfig) -> None:
    shown = [hz for hz in _TICKS_HZ if hz < features.sample_rate / 2]
    step = hz_to_mel(features.sample_rate / 2).item() / (features.n_mels + 1)
    # Band m is centred on edge m + 1, and drawn from m to m + 1.
    places = [hz_to_mel(float(hz)).item() / step - 0.5 for hz in shown]
    axes.set_yticks(places, [f"{hz} Hz" if hz < 1000 else f"{hz / 1000:g} kHz" for hz in shown], fontsize=7)


def _overlay() -> "Colormap":
    """Clear at 0, so that the spectrogram below is seen where nothing counted."""
    from matplotlib.colors import ListedColormap, to_rgb

    position = np.linspace(-1, 1, 255)
    colours: npt.NDArray[np.float64] = np.empty((255, 4))
    colours[:, :3] = np.where(position[:, None] > 0, to_rgb(FOR), to_rgb(AGAINST))
    colours[:, 3] = 0.75 * np.abs(position) ** 0.7
    return ListedColormap(colours)


def _diverging() -> "Colormap":
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("for and against", [AGAINST, "#ffffff", FOR])
