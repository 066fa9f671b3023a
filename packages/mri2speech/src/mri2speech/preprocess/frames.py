"""Frames of a film as the networks see them: square, at the times of the mel frames, from 0 to 1."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio_io.errors import FileError
from mri2speech.arrays import read_array
from mri2speech.config import MelConfig
from mri2speech.film import Image, Video, VideoError
from mri2speech.preprocess.config import PreprocessConfig
from mri2speech.video import open_video

Floats = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]

# Range of a frame that counts as one grey value, relative to its largest magnitude: float32 rounding.
_FLAT = 1e-6


def normalise(frame: Floats) -> Floats:
    """A frame from 0, its darkest pixel, to 1, its brightest; zeros where all are the same.

    The brief asks for z = (x - mean) / std of the frame and then for (z - min z) / (max z - min z). As
    min and max follow any rescaling, this is (x - min x) / (max x - min x), which needs no std.

    Shape:
        - frame: `[H, W]`
        - output: `[H, W]`
    """
    low, high = float(frame.min()), float(frame.max())
    if high - low <= _FLAT * max(abs(low), abs(high)):
        return np.zeros_like(frame)
    return (frame - np.float32(low)) / np.float32(high - low)


def resized(image: Image, size: int, resize: str) -> Floats:
    """A frame in its new size: area means where it shrinks, bilinear where it grows.

    Args:
        image: As the film holds it.
        size: Of the longer side in pixels.
        resize: `stretch` to a square, or `letterbox` to keep its shape.

    Shape:
        - image: `[H, W]`
        - output: `[size, size]`; with `letterbox` the shorter side is shorter
    """
    import cv2

    height, width = image.shape
    longest = max(height, width)
    kept = resize == "letterbox"
    new = tuple(max(1, round(size * side / longest)) if kept else size for side in (width, height))
    frame = image.astype(np.float32)
    if new == (width, height):
        return frame
    shrinks = new[0] < width or new[1] < height
    result = cv2.resize(frame, new, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(result, dtype=np.float32)


def padded(frame: Floats, size: int) -> Floats:
    """A frame in the middle of a square of zeros.

    Shape:
        - frame: `[h, w]`
        - output: `[size, size]`
    """
    height, width = frame.shape
    if (height, width) == (size, size):
        return frame
    square = np.zeros((size, size), dtype=np.float32)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = frame
    return square


def neighbours(shown: Times, wanted: Times, interpolation: str) -> tuple[npt.NDArray[np.intp], Times]:
    """The frame at or before each time, and the weight of the one after it.

    Before the first and after the last frame it is that one.

    Args:
        shown: When the frames show, increasing, in s.
        wanted: Times in s.
        interpolation: `linear`, or `nearest` for weights of 0 only.

    Shape:
        - shown: `[T]`
        - wanted: `[M]`
        - output: two of `[M]`
    """
    clipped = np.clip(wanted, shown[0], shown[-1])
    left = np.clip(np.searchsorted(shown, clipped, side="right") - 1, 0, len(shown) - 2)
    weight = (clipped - shown[left]) / (shown[left + 1] - shown[left])
    if interpolation == "nearest":
        # A time in the middle goes to the later frame.
        weight = np.floor(weight + 0.5)
    # Times that agree but for rounding leave the frame as it is.
    weight = np.where(weight < 1e-6, 0.0, np.where(weight > 1 - 1e-6, 1.0, weight))
    left = left + (weight == 1.0)
    return left, np.where(weight == 1.0, 0.0, weight)


def at_times(
    images: Iterable[Image],
    shown: Times,
    wanted: Times,
    prepare: Callable[[Image], Floats],
    interpolation: str = "linear",
) -> Iterator[Floats]:
    """The frames at other times, with two of them in memory.

    All images are read, to the last, so that a film that is damaged at its end is found out.

    Args:
        images: One for each of `shown`.
        shown: When they show, increasing, in s.
        wanted: The times wanted, increasing, in s.
        prepare: Applied to each image that is used, before the interpolation.
        interpolation: See `neighbours`.

    Shape:
        - shown: `[T]`
        - wanted: `[M]`
        - each: what `prepare` gives; M of them
    """
    left, weight = neighbours(shown, wanted, interpolation)
    used = {*left.tolist(), *(left[weight > 0] + 1).tolist()}
    numbered = enumerate(images)
    kept: dict[int, Floats] = {}
    index = -1
    for first, share in zip(left.tolist(), weight.tolist(), strict=True):
        while index < first + (share > 0):
            index, image = next(numbered)
            if index in used:
                kept[index] = prepare(image)
        kept = {key: frame for key, frame in kept.items() if key >= first}
        yield kept[first] if not share else kept[first] + np.float32(share) * (kept[first + 1] - kept[first])
    for _ in numbered:
        pass


def mel_times(count: int, mel: MelConfig, start: float = 0.0) -> Times:
    """When mel frames are centred, in s; `start` is when the sound begins.

    Shape:
        - output: `[count]`
    """
    return start + np.arange(count, dtype=np.float64) * (mel.hop_length / mel.sample_rate)


def within(video: Video, times: Times) -> slice:
    """Which of the times the film covers: up to half a step before its first and after its last frame.

    Shape:
        - times: `[M]`, increasing
    """
    reach = video.step / 2 * (1 + 1e-9)
    first, last = np.searchsorted(times, [-reach, video.times[-1] + reach])
    return slice(int(first), int(last))


def prepared(image: Image, config: PreprocessConfig = PreprocessConfig()) -> Floats:  # noqa: B008 - frozen
    """One frame as the acoustic model sees it, without a mask.

    Args:
        image: Grey, of any size and range.
        config: Size and shape.

    Shape:
        - image: `[H, W]`
        - output: `[image_size, image_size]`, 0 to 1
    """
    return padded(normalise(resized(image, config.image_size, config.resize)), config.image_size)


def network_frames(
    video: Video, times: Times, config: PreprocessConfig, mask: Floats | None = None
) -> Iterator[Floats]:
    """What the acoustic model sees of a film at given times.

    Args:
        video: The film.
        times: In s on its clock, increasing.
        config: Size, shape, interpolation, and whether the mask is applied.
        mask: Multiplied into the frames.

    Raises:
        VideoError: As for `Video.frames`, or if every frame is of one grey value.

    Shape:
        - times: `[M]`
        - mask: `[image_size, image_size]`
        - each: `[image_size, image_size]`, 0 to 1; M of them
    """
    size = config.image_size
    images = at_times(
        video.frames(),
        video.times,
        times,
        lambda image: resized(image, size, config.resize),
        config.interpolation,
    )
    seen = False
    for image in images:
        frame = padded(normalise(image), size)
        seen = seen or bool(frame.any())
        yield frame if mask is None or not config.apply_mask else frame * mask
    if not seen:
        raise VideoError(video.path, "frames of one grey value throughout", "pictures")


def load_frames(
    path: str | Path, config: PreprocessConfig, mel: MelConfig, mask: Floats | None = None
) -> tuple[Floats, Times]:
    """A film without regard to its sound, as the acoustic model takes it: a frame every hop.

    Args:
        path: See `open_video`.
        config: See `network_frames`; `fps` as well.
        mel: The hop.
        mask: From `load_mask`.

    Returns:
        The frames, and their times in s.

    Raises:
        VideoError: If it cannot be used.

    Shape:
        - frames: `[T, image_size, image_size]`
        - times: `[T]`
    """
    video = open_video(path, fps=config.fps)
    times = mel_times(int(video.duration * mel.frame_rate) + 2, mel)
    times = times[within(video, times)]
    return np.stack(list(network_frames(video, times, config, mask))), times


def load_mask(path: Path, size: int) -> Floats:
    """A mask from a PNG (black 0, white 1) or an `.npy` with values from 0 to 1.

    Raises:
        FileError: If it cannot be read or is of another size or range.

    Shape:
        - output: `[size, size]`
    """
    import cv2

    wanted = f"a mask of {size}x{size} pixels, 0 to 1"
    if path.suffix.lower() == ".npy":
        mask = read_array(path, wanted)
        if mask.dtype.kind not in "buif":
            raise FileError(path, f"an array of {mask.dtype}", wanted)
        mask = mask.astype(np.float32)
    else:
        # imread takes no names outside the code page on Windows.
        encoded = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        image = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) if encoded.size else None
        if image is None:
            raise FileError(path, "no picture", wanted)
        mask = np.asarray(image, dtype=np.float32) / 255
    if mask.shape != (size, size):
        raise FileError(path, "a mask of shape " + "x".join(map(str, mask.shape)), wanted)
    if not (np.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1):
        raise FileError(path, f"values from {mask.min():g} to {mask.max():g}", wanted)
    return np.asarray(mask, dtype=np.float32)
