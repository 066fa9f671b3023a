"""Heat laid over the frames of a film.

Each band has one colour of a palette that colour-blind readers can tell apart, and the heat is its opacity:
where there is none the film is seen as it is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from audio_io.atomic import atomic_path
from audio_io.figures import PALETTE, new_figure

Floats = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

# Vermilion, sky blue, bluish green and reddish purple: bright enough on a dark image.
_COLOURS = tuple(
    tuple(int(PALETTE[number][place : place + 2], 16) for place in (1, 3, 5)) for number in (1, 4, 2, 3)
)
COLOUR_NAMES = ("orange", "blue", "green", "purple")
LEGEND_ROWS = 24  # of pixels below the picture


def colour(number: int) -> tuple[int, ...]:
    """Red, green and blue, 0 to 255, of the band of this number."""
    return _COLOURS[number % len(_COLOURS)]


def overlay(frame: Floats, heat: Floats, alpha: float) -> Picture:
    """A frame with the heat of each band in its colour.

    Where bands meet, the hottest one gives the opacity and their colours are mixed by their heat.

    Args:
        frame: From 0 to 1.
        heat: From 0 to 1.
        alpha: Opacity of a heat of 1.

    Shape:
        - frame: `[H, W]`
        - heat: `[B, H, W]`
        - output: `[H, W, 3]`
    """
    heat = np.clip(np.nan_to_num(heat), 0, 1)
    colours = np.array([colour(number) for number in range(len(heat))], dtype=np.float32)
    mixed = np.tensordot(heat, colours, axes=(0, 0)) / np.maximum(heat.sum(0), 1e-6)[..., None]
    opacity = alpha * heat.max(0)[..., None]
    grey = 255 * np.clip(frame, 0, 1)[..., None]
    return np.asarray(np.rint(grey * (1 - opacity) + mixed * opacity), dtype=np.uint8)


def with_legend(picture: Picture, names: Sequence[str], note: str = "") -> Picture:
    """A picture above a line that says which colour is which band, `[H + LEGEND_ROWS, W, 3]`.

    Args:
        picture: `[H, W, 3]`.
        names: Of the bands.
        note: Put to the right of them.
    """
    strip = np.zeros((LEGEND_ROWS, picture.shape[1], 3), dtype=np.uint8)
    column = 6
    for number, name in enumerate(names):
        cv2.rectangle(strip, (column, 6), (column + 11, 17), colour(number), thickness=-1)
        column = _write(strip, name, column + 17) + 14
    if note:
        width = cv2.getTextSize(note, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0]
        if column + width + 6 <= strip.shape[1]:
            _write(strip, note, strip.shape[1] - width - 6)
    return np.concatenate([picture, strip])


def _write(strip: Picture, text: str, column: int) -> int:
    """Put text on the strip; the column after it."""
    cv2.putText(strip, text, (column, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (235, 235, 235), 1, cv2.LINE_AA)
    return column + int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0])


def save_png(path: str | Path, picture: Picture) -> None:
    """Write a picture `[H, W, 3]`."""
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def save_average(
    path: str | Path, frames: Floats, heat: Mapping[str, Floats], shown: str, alpha: float = 0.7
) -> None:
    """Draw the mean heat of a band beside itself laid over the mean frame.

    Args:
        path: The picture file.
        frames: The film.
        heat: Of every band, so that a band has the same colour everywhere.
        shown: The band.
        alpha: Opacity of the hottest place.

    Shape:
        - frames: `[T, H, W]`
        - heat: `[T, H, W]` each
    """
    mean = heat[shown].mean(0, dtype=np.float64).astype(np.float32)
    layers = np.zeros((len(heat), *mean.shape), dtype=np.float32)
    layers[list(heat).index(shown)] = mean / max(float(mean.max()), 1e-12)
    with new_figure(path, width=8.0, height=3.8) as figure:
        left, right = figure.subplots(1, 2)
        left.imshow(overlay(frames.mean(0), layers, alpha))
        left.set_title(f"{shown}: mean heat over the mean frame")
        image = right.imshow(mean, vmin=0)
        right.set_title(f"mean of {len(frames)} frames")
        for axes in (left, right):
            axes.axis("off")
        figure.colorbar(image, ax=right, label="heat")
