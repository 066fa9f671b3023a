"""The section as a real-time MRI frame: partial volume, motion blur, coil bias field, Rician noise."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from mri2speech.phantom.anatomy import Points, Speaker
from mri2speech.phantom.outline import Outline
from mri2speech.phantom.scene import Patch, Region, backdrop, moving

Frames = npt.NDArray[np.uint8]
Image = npt.NDArray[np.float32]

MILLIMETRES: Final = 256.0  # field of view, square: 1 mm per pixel at 256 pixels
OVERSAMPLING: Final = 2
_SHIFT = 4  # fractional bits of the polygons' corners


class Painter:
    """Draws one speaker.

    Args:
        speaker: Whose head.
        size: Height and width of the images in pixels.
    """

    def __init__(self, speaker: Speaker, size: int = 256) -> None:
        self.speaker, self.size = speaker, size
        self._backdrop: Frames | None = None
        self.gain = _bias_field(speaker, size)

    def anatomy(self, outline: Outline, moment: int) -> Image:
        """Brightness of the tissue without field or noise, 0 to 1, `[size, size]`."""
        fine = self.size * OVERSAMPLING
        if self._backdrop is None:
            self._backdrop = np.zeros((fine, fine), np.uint8)
            self._paint(self._backdrop, backdrop(outline), labels=False)
        canvas = self._backdrop.copy()
        self._paint(canvas, moving(outline, moment), labels=False)
        small = cv2.resize(canvas, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.asarray(small, dtype=np.float32) / 255.0

    def regions(self, outline: Outline, moment: int) -> Frames:
        """Number of the `Region` of each pixel, `[size, size]`."""
        canvas = np.full((self.size, self.size), Region.BACKGROUND, np.uint8)
        self._paint(canvas, backdrop(outline) + moving(outline, moment), labels=True)
        return canvas

    def signal(self, outline: Outline, moments: int) -> Image:
        """Frames without noise, full scale 1.

        Args:
            outline: `frames * moments` moments in order; each frame is the mean of its own.
            moments: Moments per frame.

        Shape:
            - output: `[frames, size, size]`
        """
        count = len(outline.articulators) // moments
        out = np.zeros((count, self.size, self.size), np.float32)
        for frame in range(count):
            for part in range(moments):
                out[frame] += self.anatomy(outline, frame * moments + part)
            # The point spread of the sampled k-space, about a pixel wide.
            out[frame] = cv2.GaussianBlur(out[frame], (0, 0), 0.65 * self.size / 256)
        return np.asarray(out * (self.gain / moments), dtype=np.float32)

    def _paint(self, canvas: Frames, patches: list[Patch], *, labels: bool) -> None:
        for patch in patches:
            corners = self.pixels(patch.points, canvas.shape[0])
            fixed = np.round(corners * 2**_SHIFT).astype(np.int32)
            colour = int(patch.region) if labels else round(255 * patch.brightness)
            cv2.fillPoly(canvas, [fixed], (colour,), lineType=cv2.LINE_8, shift=_SHIFT)

    def pixels(self, points: Points, size: int | None = None) -> Points:
        """Where points of the drawing lie in the image: (column, row), the centre of the first pixel at 0."""
        size = self.size if size is None else size
        scale = self.speaker.scale
        angle = np.deg2rad(self.speaker.tilt)
        x, y = points[..., 0] * scale, points[..., 1] * scale
        # The face looks to the left, as is usual.
        column = self.speaker.centre[0] - (x * np.cos(angle) - y * np.sin(angle))
        row = self.speaker.centre[1] - (x * np.sin(angle) + y * np.cos(angle))
        return np.stack([column, row], axis=-1) * (size / MILLIMETRES) - 0.5


def noisy(clean: Image, speaker: Speaker, seed: int) -> Frames:
    """Magnitude images: the signal in one of two channels of Gaussian noise (Rice, 1944), as bytes.

    Shape:
        - clean, output: `[T, size, size]`
    """
    out = np.empty(clean.shape, np.uint8)
    for frame, image in enumerate(clean):
        rng = np.random.default_rng([seed, frame, 4])
        noise = rng.standard_normal((2, *image.shape), dtype=np.float32) * np.float32(speaker.noise)
        out[frame] = np.clip(np.hypot(image + noise[0], noise[1]) * 255 + 0.5, 0, 255)
    return out


def _bias_field(speaker: Speaker, size: int) -> Image:
    """Sensitivity of the coils, strongest in front of the face, with a fine texture of the tissue."""
    rng = np.random.default_rng([speaker.seed, 5])
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    row, column = np.meshgrid(axis, axis, indexing="ij")
    a, b, c, d = rng.normal(0, 0.12, 4)
    field = np.exp(-0.30 * column + a * column + b * row + c * column**2 - 0.25 * row**2 + d * row * column)
    texture = cv2.GaussianBlur(rng.standard_normal((size, size)).astype(np.float32), (0, 0), 1.6 * size / 256)
    texture *= 0.05 / texture.std()
    return np.asarray(speaker.gain * field * (1 + texture), dtype=np.float32)
