"""Films in and out: grey frames with the times at which they show, read one by one; writing with sound.

MP4, MOV, AVI, MKV and other containers are read by FFmpeg (PyAV), arrays (`.npy`, `.npz`) by NumPy, DICOM
files and series by pydicom (`mri2speech.dicom`). Corpora of real-time MRI differ in frame rate, from 23.18
(USC-TIMIT) through 27.17 to 83.28 frames a second (USC 75-speaker), so a frame is known by its time stamp,
not by its number.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audio_io.codecs.complete import check_complete
from audio_io.codecs.formats import Container, identify
from audio_io.errors import AudioNotFoundError, ConfigError, NoAudioError, UnknownFormatError
from mri2speech.arrays import read_archive, read_array
from mri2speech.film import DICOM_EXTENSIONS, MIN_FRAMES, Colours, Image, Video, VideoError, checked_times

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

ARRAY_EXTENSIONS = frozenset({".npy", ".npz"})
CONTAINER_EXTENSIONS = frozenset({
    ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv",
})  # fmt: skip
VIDEO_EXTENSIONS = ARRAY_EXTENSIONS | DICOM_EXTENSIONS | CONTAINER_EXTENSIONS
"""Suffixes of what `open_video` reads."""

_FORMATS = "a film (MP4, MOV, AVI, MKV, WebM, MPEG), an array (.npy, .npz) or DICOM"
# Difference of red, green and blue of a pixel, of 255, that compression of grey stays below.
_GREY_SPREAD = 32
_LOOK_EVERY = 10  # frames between those that are looked at for colours


def open_video(path: str | Path, *, fps: float | None = None) -> Video:
    """Look at a film: when its frames show and how large they are.

    Args:
        path: A film, an array `[T, H, W]` (in an `.npz` under the key `frames`, beside it `times` in s or
            `fps`), a DICOM file, or a folder with a DICOM series.
        fps: Frames a second, instead of what the file says; an `.npy` says nothing.

    Raises:
        VideoError: If it is no film, has no picture track, is cut off, or has fewer than 4 frames.
        FileError: If it is a DICOM file and pydicom is not installed.
        ConfigError: If `fps` is not positive.
    """
    if fps is not None and not 0 < fps < np.inf:
        raise ConfigError("fps", fps, "above 0")
    path = Path(path)
    if path.is_dir() or path.suffix.lower() in DICOM_EXTENSIONS:
        from mri2speech.dicom import open_dicom

        video = open_dicom(path, fps)
    elif not path.is_file():
        raise VideoError(path, "no such file", _FORMATS)
    elif path.suffix.lower() in ARRAY_EXTENSIONS:
        video = _open_array(path, fps)
    else:
        video = _open_container(path, fps)
    return video


def _open_array(path: Path, fps: float | None) -> Video:
    times = None
    if path.suffix.lower() == ".npz":
        wanted = "the arrays frames [T, H, W] and fps or times"
        stored = read_archive(path, wanted, ("frames",), optional=("times", "fps"), error=VideoError)
        frames = stored["frames"]
        if "times" in stored:
            times = _numbers(path, "times", stored["times"])
        elif fps is None and "fps" in stored:
            (fps, *more) = _numbers(path, "fps", stored["fps"]).ravel()
            if more or not (np.isfinite(fps) and fps > 0):
                raise VideoError(path, f"fps of {stored['fps']}", "one number above 0")
    else:
        frames = read_array(path, "an array of grey frames [T, H, W]", mapped=True, error=VideoError)
    if frames.ndim != 3 or frames.dtype.kind not in "uif" or 0 in frames.shape[1:]:
        raise VideoError(path, f"shape {list(frames.shape)} of {frames.dtype}", "grey frames [T, H, W]")
    if fps is not None:
        times = np.arange(len(frames)) / fps
    if times is None:
        raise VideoError(path, "an array without frame times", "the setting fps (or an .npz with times)")
    if times.shape != (len(frames),):
        raise VideoError(path, f"times of shape {list(times.shape)}", f"one for each of {len(frames)} frames")
    times = checked_times(path, times)
    is_plain = frames.dtype in (np.uint8, np.uint16)

    def decode() -> Iterator[Image]:
        for frame in frames:
            yield np.asarray(frame) if is_plain else np.asarray(frame, dtype=np.float32)

    variable = not np.allclose(np.diff(times), np.diff(times)[0], rtol=1e-3)
    height, width = frames.shape[1:]
    return Video(path, times, height, width, decode, is_variable=variable, codec=str(frames.dtype))


def _numbers(path: Path, name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if array.dtype.kind not in "uif" or array.size == 0:
        raise VideoError(path, f"{name} of shape {list(array.shape)} of {array.dtype}", "numbers")
    return array.astype(np.float64)


def _open_container(path: Path, fps: float | None) -> Video:
    import av

    container_type = _identify(path)
    with _open(path, container_type) as container:
        stream = _picture_track(path, container)
        packets = (packet for packet in container.demux(stream) if packet.size and not packet.is_discard)
        try:
            stamps = [packet.pts for packet in packets]
        except av.FFmpegError as error:
            raise _damaged(path, error) from error
        if len(stamps) < MIN_FRAMES:
            raise VideoError(path, f"{len(stamps)} frames", f"at least {MIN_FRAMES}")
        times, is_variable = _times(stream, stamps, fps)
        begin = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
        start_time = begin - (container.start_time or 0) / 1e6
        has_sound, codec = bool(container.streams.audio), stream.codec_context.name
    with _open(path, container_type) as container:
        first = _first_frame(path, container)
    colours = Colours()
    return Video(
        path,
        checked_times(path, times),
        first.height,
        first.width,
        lambda: _decode(path, container_type, colours),
        is_variable=is_variable,
        colours=colours,
        start_time=start_time,
        has_sound=has_sound,
        codec=codec,
    )


def _identify(path: Path) -> Container:
    """The container; all of its bytes are there."""
    try:
        container_type = identify(path)
    except (UnknownFormatError, NoAudioError, AudioNotFoundError) as error:
        raise VideoError(path, error.found, _FORMATS) from error
    if container_type.decoder != "pyav":
        raise VideoError(path, f"a sound file ({container_type.name})", _FORMATS)
    check_complete(path, container_type)
    return container_type


def _open(path: Path, container_type: Container) -> "InputContainer":
    import av

    try:
        # With the protocol in front, a colon in the name is a colon.
        return av.open(f"file:{path}", format=container_type.demuxer)
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(path, "a header that cannot be read", f"valid {container_type.name}") from error


def _picture_track(path: Path, container: "InputContainer") -> "VideoStream":
    if not container.streams.video:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "no"
        raise VideoError(path, f"a file with {kinds} track and no pictures", "a film")
    return container.streams.video[0]


def _times(
    stream: "VideoStream", stamps: list[int | None], fps: float | None
) -> tuple[npt.NDArray[np.float64], bool]:
    """Times of the frames in s, and whether their steps differ.

    Time stamps count ticks: in Matroska milliseconds, so that frames at a constant rate seem to come up to a
    tick early or late. Where one rate explains them all to within a tick, that rate is taken.
    """
    index = np.arange(len(stamps))
    nominal = float(stream.average_rate or stream.guessed_rate or 25)
    if fps is not None:
        return index / fps, False
    if None in stamps:  # AVI has none
        return index / nominal, False
    tick = float(stream.time_base or Fraction(1, 1000))
    times = np.sort(np.array(stamps, dtype=np.float64)) * tick
    times -= times[0]
    for rate in (nominal, (len(times) - 1) / max(times[-1], tick)):
        if np.abs(times - index / rate).max() <= tick * (1 + 1e-9):
            return index / rate, False
    return times, True


def _first_frame(path: Path, container: "InputContainer") -> "av.VideoFrame":
    import av

    try:
        return next(container.decode(video=0))
    except StopIteration:
        raise VideoError(path, "0 frames that can be decoded", f"at least {MIN_FRAMES}") from None
    except av.FFmpegError as error:
        raise _damaged(path, error) from error


def _decode(path: Path, container_type: Container, colours: Colours) -> Iterator[Image]:
    import av

    with _open(path, container_type) as container:
        try:
            for index, frame in enumerate(container.decode(video=0)):
                if index % _LOOK_EVERY == 0 and not colours.met:
                    colours.met = _is_colour(frame)
                deep = frame.format.components[0].bits > 8
                yield frame.to_ndarray(format="gray16le" if deep else "gray")
        except av.FFmpegError as error:
            raise _damaged(path, error) from error


def _is_colour(frame: "av.VideoFrame") -> bool:
    if frame.format.name.startswith("gray"):
        return False
    rgb = frame.to_ndarray(format="rgb24").astype(np.int16)  # [H, W, 3]
    return bool(np.percentile(np.ptp(rgb, axis=-1), 99) > _GREY_SPREAD)


def _damaged(path: Path, error: "av.FFmpegError") -> VideoError:
    return VideoError(path, f"pictures that cannot be decoded ({error.strerror})", "an undamaged film")
