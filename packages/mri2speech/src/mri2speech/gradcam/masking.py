"""What the prediction loses when a part of a frame is taken away.

A region of one frame is replaced, the other frames stay, and the change of the predicted band at that frame
is measured in dB. Insertion and deletion curves: V. Petsiuk et al., "RISE: randomized input sampling for
explanation of black-box models", BMVC 2018.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mri2speech.acoustic.model import AcousticModel
from mri2speech.features import Scaler
from mri2speech.gradcam.readout import FrameReadout

Floats = npt.NDArray[np.float32]
Region = npt.NDArray[np.bool_]

_BLUR = 1 / 16  # standard deviation of the blur, as a share of the image's height
_NEAR = 1 / 32  # standard deviation of nearness, likewise
_FINEST = 8  # cells a side of a random map
_CHUNK = 32  # frames that the CNN sees at once


class Probe:
    """A model that is asked about one film, some frames of which are changed.

    Args:
        model: In evaluation mode.
        frames: The film.
        scaler: Of the model's mels.

    Shape:
        - frames: `[T, H, W]`
    """

    def __init__(self, model: AcousticModel, frames: Floats, scaler: Scaler) -> None:
        self._model, self._std = model, scaler.std
        self._device = next(model.parameters()).device
        pooled = self._encode(frames)
        self._readout = FrameReadout(model, pooled)
        with torch.no_grad():
            self._mels = self._readout.mels(torch.arange(len(frames), device=self._device), pooled)

    def change(self, index: int, pictures: Sequence[Floats], rows: Tensor) -> npt.NDArray[np.float64]:
        """Change of a predicted band when frame `index` is another picture: RMS over its mel bands, in dB.

        Args:
            index: The frame.
            pictures: What is shown instead.
            rows: Of `band_rows`.

        Shape:
            - pictures: `[H, W]` each, M of them
            - rows: `[n_mels]`
            - output: `[M]`
        """
        pooled = self._encode(np.stack(pictures))
        places = torch.full((len(pictures),), index, device=self._device)
        with torch.no_grad():
            mels = torch.cat([
                self._readout.mels(place, part)
                for place, part in zip(torch.split(places, _CHUNK), torch.split(pooled, _CHUNK), strict=True)
            ])  # fmt: skip
        difference = (mels - self._mels[index])[:, rows.to(self._device)] * self._std
        return np.asarray(difference.square().mean(-1).sqrt().cpu().numpy(), dtype=np.float64)

    def _encode(self, frames: Floats) -> Tensor:
        with torch.no_grad():
            parts = torch.split(torch.from_numpy(frames), _CHUNK)
            return torch.cat([self._model.encode(part.to(self._device)) for part in parts])


def replaced(frame: Floats, region: Region, fill: str, mean: Floats) -> Floats:
    """A frame without what a region shows.

    Args:
        frame: From 0 to 1.
        region: What is replaced.
        fill: `inpaint` continues the surroundings (A. Telea, J. Graphics Tools 9, 2004), `blur` takes a
            blurred frame, `mean` the mean frame.
        mean: The film's mean frame.

    Shape:
        - frame, region, mean: `[H, W]`
        - output: `[H, W]`
    """
    if fill == "inpaint":
        bytes_ = np.rint(255 * frame).astype(np.uint8)
        painted = cv2.inpaint(bytes_, region.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        filled: Floats = np.asarray(painted, dtype=np.float32) / np.float32(255)
    else:
        filled = mean if fill == "mean" else blurred(frame)
    return np.where(region, filled, frame)


def blurred(frame: Floats) -> Floats:
    """A frame on which only the head as a whole is seen, `[H, W]`."""
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), _BLUR * len(frame)), dtype=np.float32)


def body(mean: Floats) -> Region:
    """Where the head is: brighter than the air around it, with the airways inside it, `[H, W]`."""
    bytes_ = np.rint(255 * mean).astype(np.uint8)
    _, bright = cv2.threshold(bytes_, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    side = max(3, len(mean) // 10)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.morphologyEx(bright, cv2.MORPH_CLOSE, kernel) > 0)


def random_heat(inside: Region, rng: np.random.Generator, cells: int = _FINEST) -> Floats:
    """A random map as smooth as one of few cells, hot only inside a region, `[H, W]`.

    Its top regions have as many pixels as those of any map, and lie where there is something to hide.
    """
    coarse = rng.random((cells, cells), dtype=np.float32)
    large = cv2.resize(coarse, inside.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(inside, np.asarray(large, dtype=np.float32), 0.0).astype(np.float32)


def curves(
    probe: Probe,
    index: int,
    frame: Floats,
    heat: Floats,
    rows: Tensor,
    steps: int,
    baseline: Callable[[Floats], Floats],
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Change of the band while a frame is taken away by a map, and while it comes back.

    Args:
        probe: Of the film.
        index: The frame's number.
        frame: The frame.
        heat: The map by which pixels are ordered; equal ones by their nearness to heat, or at random.
        rows: Of `band_rows`.
        steps: Equal parts in which the pixels change.
        baseline: What the frame becomes.
        rng: Of the order of equal pixels without any.

    Returns:
        In dB, at 0, 1/steps, ..., 1 of the pixels: the change after deleting the hottest ones, and the change
        that remains after inserting the hottest ones.

    Shape:
        - frame, heat: `[H, W]`
        - output: two of `[steps + 1]`
    """
    empty = baseline(frame)
    order = _by_heat(heat, rng.random(heat.size))
    rank = np.empty(heat.size, dtype=np.int64)
    rank[order] = np.arange(heat.size)
    place = rank.reshape(heat.shape)
    pictures = []
    for step in range(1, steps):
        gone = place < heat.size * step / steps
        pictures += [np.where(gone, empty, frame), np.where(gone, frame, empty)]
    change = probe.change(index, [frame, empty, *pictures], rows)
    inner = change[2:].reshape(-1, 2)
    deletion = np.concatenate([change[:1], inner[:, 0], change[1:2]])
    insertion = np.concatenate([change[1:2], inner[:, 1], change[:1]])
    return deletion, insertion


def marked_region(heat: Floats, share: float) -> Region:
    """The hottest share of the pixels of a map, of equal ones those near to heat, `[H, W]`.

    A cause is 0 but for the edges of a few organs; its region is grown from them.
    """
    marked = np.zeros(heat.size, dtype=bool)
    marked[_by_heat(heat)[: max(1, round(share * heat.size))]] = True
    return marked.reshape(heat.shape)


def _by_heat(heat: Floats, *last: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
    """Pixels from the hottest to the coldest, equal ones from the nearest to heat to the farthest."""
    near = cv2.GaussianBlur(heat, (0, 0), _NEAR * len(heat))
    return np.lexsort((*last, -near.ravel(), -heat.ravel()))
