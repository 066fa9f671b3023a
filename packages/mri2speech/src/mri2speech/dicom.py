"""Films in DICOM: one file of many frames, or a folder with a file for each frame. Needs the extra `dicom`.

The times of the frames are those of the cine module (PS3.3, C.7.6.5: Frame Time Vector, Frame Time, Cine
Rate, Recommended Display Frame Rate), in a series the trigger or acquisition times of its files.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audio_io.errors import FileError
from mri2speech.film import DICOM_EXTENSIONS, Colours, Image, Video, VideoError, checked_times

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
_TAGS = [
    "NumberOfFrames", "Rows", "Columns", "PhotometricInterpretation", "InstanceNumber", "FrameTime",
    "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate", "TriggerTime", "AcquisitionTime",
    "AcquisitionDateTime", "ContentTime",
]  # fmt: skip


def series_files(folder: Path) -> list[Path]:
    """The DICOM files directly in a folder, by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in DICOM_EXTENSIONS and not path.name.startswith(".")
    )


def frame_count(file: Path) -> int:
    """Frames in a DICOM file.

    Raises:
        FileError: If pydicom is not installed.
        VideoError: If it is no DICOM file with pictures.
    """
    _require_pydicom(file)
    return int(_header(file).get("NumberOfFrames") or 1)


def open_dicom(path: Path, fps: float | None) -> Video:
    """The film in a file, or in the files of a folder in the order of their instance numbers.

    Args:
        path: The file or folder.
        fps: Frames a second, instead of what the headers say.

    Raises:
        FileError: If pydicom is not installed.
        VideoError: If it cannot be read or does not say when its frames show.
    """
    _require_pydicom(path)
    if not path.exists():
        raise VideoError(path, "no such file", "a DICOM file or a folder with a series")
    files = series_files(path) if path.is_dir() else [path]
    if not files:
        raise VideoError(path, "a folder without DICOM files", "a DICOM series")
    headers = [(file, _header(file)) for file in files]
    headers.sort(key=lambda entry: (int(entry[1].get("InstanceNumber") or 0), entry[0].name))
    first = headers[0][1]
    times = _file_times(path, first, fps) if len(files) == 1 else _series_times(path, headers, fps)
    times = checked_times(path, times)
    ordered = [file for file, _ in headers]
    inverted = first.get("PhotometricInterpretation") == "MONOCHROME1"
    return Video(
        path,
        times,
        int(first.Rows),
        int(first.Columns),
        lambda: _decode(ordered, inverted=inverted),
        is_variable=not np.allclose(np.diff(times), np.diff(times)[0], rtol=0.02),
        colours=Colours(not str(first.get("PhotometricInterpretation", "")).startswith("MONOCHROME")),
        codec="DICOM",
    )


def _require_pydicom(path: Path) -> None:
    if importlib.util.find_spec("pydicom") is None:
        how = "the extra: uv run --package mri2speech --extra dicom"
        raise FileError(path, "DICOM, and pydicom is not installed", how)


def _header(file: Path) -> Any:  # noqa: ANN401 - pydicom has no types
    import pydicom

    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
    except (pydicom.errors.InvalidDicomError, OSError, EOFError) as error:
        raise VideoError(file, f"no DICOM file ({error})", "a DICOM file with pictures") from error
    if "Rows" not in header or "Columns" not in header:
        raise VideoError(file, "DICOM without pictures", "a DICOM file with pictures")
    return header


def _file_times(path: Path, header: Any, fps: float | None) -> npt.NDArray[np.float64]:  # noqa: ANN401
    count = int(header.get("NumberOfFrames") or 1)
    if fps is None and header.get("FrameTimeVector"):
        increments = np.array(header.FrameTimeVector, dtype=np.float64)  # ms since the frame before
        if len(increments) != count:
            found = f"{len(increments)} entries in Frame Time Vector"
            raise VideoError(path, found, f"one for each of {count} frames")
        increments[0] = 0.0
        return np.cumsum(increments) / 1000
    if fps is None and header.get("FrameTime"):
        fps = 1000 / float(header.FrameTime)
    rate = fps or header.get("CineRate") or header.get("RecommendedDisplayFrameRate")
    if not rate:
        raise _no_times(path)
    return np.arange(count) / float(rate)


def _series_times(path: Path, headers: list[tuple[Path, Any]], fps: float | None) -> npt.NDArray[np.float64]:
    for file, header in headers:
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise VideoError(file, "several frames in a file of a series", "one frame a file")
    if fps is not None:
        return np.arange(len(headers)) / fps
    for tag, seconds in (
        ("TriggerTime", _milliseconds),
        ("AcquisitionTime", _clock),
        ("ContentTime", _clock),
    ):
        stamps = [header.get(tag) for _, header in headers]
        if all(stamp not in {None, ""} for stamp in stamps):
            times = np.array([seconds(stamp) for stamp in stamps])
            if (np.diff(times) > 0).all():
                return times
    raise _no_times(path)


def _milliseconds(stamp: Any) -> float:  # noqa: ANN401
    return float(stamp) / 1000


def _clock(stamp: Any) -> float:  # noqa: ANN401
    """Seconds since midnight of HHMMSS.FFFFFF."""
    text = str(stamp)
    return int(text[:2]) * 3600 + int(text[2:4]) * 60 + float(text[4:] or 0)


def _no_times(path: Path) -> VideoError:
    return VideoError(path, "DICOM that does not say when its frames show", "the setting fps")


def _decode(files: list[Path], *, inverted: bool) -> Iterator[Image]:
    from pydicom.pixels.utils import iter_pixels

    for file in files:
        try:
            for pixels in iter_pixels(file):
                grey = pixels.astype(np.float32)
                grey = grey @ _LUMA if grey.ndim == 3 else grey
                yield -grey if inverted else grey
        except (ValueError, AttributeError, RuntimeError, NotImplementedError, KeyError, OSError) as error:
            raise VideoError(file, f"pictures that cannot be decoded ({error})", "whole DICOM") from error
