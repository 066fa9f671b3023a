"""A film as its readers give it: grey frames with the times at which they show."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audio_io.errors import FileError

Image = npt.NDArray[Any]
"""A grey frame, `[H, W]`: uint8, uint16 or float32, as the file holds it."""

DICOM_EXTENSIONS = frozenset({".dcm", ".dicom"})

MIN_FRAMES = 4  # what the acoustic model sees at a time


class VideoError(FileError):
    """A film cannot be used."""


@dataclass
class Colours:
    """Whether colours were met in what was read of a film so far; a film may begin in grey."""

    met: bool = False


@dataclass(frozen=True, eq=False)
class Video:
    """An opened film; its frames are decoded when they are asked for.

    Attributes:
        path: The file, or the folder of a DICOM series.
        times: When each frame shows, in s from the first one, strictly increasing: float64 [T].
        height: In pixels.
        width: In pixels.
        is_variable: Whether the steps between frames differ by more than the rounding of the time stamps.
        colours: Whether there are any; the frames read are their luma.
        start_time: When the first frame shows on the clock of the container, in s.
        has_sound: Whether there is a sound track (`audio_io.load` reads it).
        codec: How the frames are coded.
    """

    path: Path
    times: npt.NDArray[np.float64]
    height: int
    width: int
    decode: Callable[[], Iterator[Image]]
    is_variable: bool = False
    colours: Colours = field(default_factory=Colours)
    start_time: float = 0.0
    has_sound: bool = False
    codec: str = ""

    @property
    def step(self) -> float:
        """Median time between two frames in s."""
        return float(np.median(np.diff(self.times)))

    @property
    def fps(self) -> float:
        """Frames a second, on average."""
        return (len(self.times) - 1) / float(self.times[-1] - self.times[0])

    @property
    def duration(self) -> float:
        """Length in s; the last frame counts as long as the median one."""
        return float(self.times[-1]) + self.step

    def frames(self) -> Iterator[Image]:
        """The frames in order, one for each of `times`, at constant memory.

        Raises:
            VideoError: If the data cannot be decoded, fewer frames come than were announced, the size changes
                or a value is not finite.

        Shape:
            - each: `[H, W]`
        """
        count = 0
        for image in self.decode():
            if image.shape != (self.height, self.width):
                found = f"frame {count} of {image.shape[1]}x{image.shape[0]} pixels"
                raise VideoError(self.path, found, f"{self.width}x{self.height} throughout")
            if image.dtype.kind == "f" and not np.isfinite(image).all():
                raise VideoError(self.path, f"NaN or infinity in frame {count}", "finite values")
            count += 1
            yield image
        if count != len(self.times):
            raise VideoError(
                self.path, f"{count} frames that can be decoded", f"the {len(self.times)} it announces"
            )

    def load(self) -> Image:
        """All frames at once.

        Raises:
            VideoError: As for `frames`.

        Shape:
            - output: `[T, H, W]`
        """
        return np.stack(list(self.frames()))


def checked_times(path: Path, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The times of the frames from the first one on, if there are enough and they increase.

    Raises:
        VideoError: Otherwise.
    """
    if len(times) < MIN_FRAMES:
        raise VideoError(path, f"{len(times)} frames", f"at least {MIN_FRAMES}")
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise VideoError(path, "time stamps that do not increase", "one for each frame, in order")
    return np.asarray(times - times[0], dtype=np.float64)
