"""Files of heat maps, `gradcam_<band>_sequence.npy`: written, read and cut."""

import math
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio_io.atomic import atomic_path
from audio_io.errors import ConfigError, FileError
from mri2speech.arrays import read_array

Floats = npt.NDArray[np.float32]

_WANTED = "heat maps [T, H, W], as mri2speech gradcam maps writes them"


def save_sequence(path: str | Path, heat: npt.NDArray[np.floating]) -> None:
    """Write heat maps `[T, H, W]`."""
    with atomic_path(path) as temporary:
        np.save(temporary, heat, allow_pickle=False)


def load_sequence(path: str | Path, *, raw: bool = False) -> Floats:
    """Read heat maps.

    Args:
        path: The `.npy` file.
        raw: Keep the numbers as the file has them; otherwise float32.

    Raises:
        FileError: If it is no array `[T, H, W]` of finite numbers from 0 to 1.

    Shape:
        - output: `[T, H, W]`
    """
    heat = read_array(path, _WANTED)
    if heat.ndim != 3 or heat.dtype.kind != "f" or 0 in heat.shape:
        raise FileError(path, f"shape {list(heat.shape)} of {heat.dtype}", _WANTED)
    if not np.isfinite(heat).all() or heat.min() < 0 or heat.max() > 1:
        raise FileError(path, f"values from {heat.min()} to {heat.max()}", "heat from 0 to 1")
    return heat if raw else heat.astype(np.float32)


def band_name(path: str | Path) -> str:
    """The band of a sequence file, by its name; the whole stem of another file."""
    stem = Path(path).stem
    match = re.match(r"gradcam_([^_]+)_", stem)
    return match[1] if match else stem


def cut_sequence(
    path: str | Path,
    start: float,
    end: float,
    name: str,
    *,
    frame_rate: float,
    output_dir: Path | None = None,
) -> tuple[Path, int, int]:
    """Write an interval of heat maps as `gradcam_<band>_<name>_sequence.npy`.

    Frame i shows at `i / frame_rate`; those from `start` to `end`, both included, are taken.

    Args:
        path: The sequence.
        start: In s.
        end: In s.
        name: Of the interval, such as `aSegment`.
        frame_rate: Frames a second.
        output_dir: Where to write; beside the sequence if None.

    Returns:
        The file written, the first frame, and their number.

    Raises:
        FileError: If the sequence cannot be used.
        ConfigError: If the interval holds no frame of it, or the name cannot be part of a file's.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise ConfigError("name", repr(name), "letters and digits, such as aSegment")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise ConfigError("start, end", f"{start:g}-{end:g} s", "an interval in seconds")
    heat = load_sequence(path, raw=True)
    last = (len(heat) - 1) / frame_rate
    # A time that is a frame's but for rounding is that frame's.
    first, stop = int(np.ceil(start * frame_rate - 1e-6)), int(np.floor(end * frame_rate + 1e-6)) + 1
    if not (0 <= first < min(stop, len(heat)) and start <= end):
        raise ConfigError("start, end", f"{start:g}-{end:g} s", f"an interval with frames of 0-{last:.3f} s")
    piece = heat[first:stop]
    target = (output_dir or Path(path).parent) / f"gradcam_{band_name(path)}_{name}_sequence.npy"
    save_sequence(target, piece)
    return target, first, len(piece)
