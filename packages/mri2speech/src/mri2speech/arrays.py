"""NumPy files from elsewhere: read without running code, and refused in a sentence."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audio_io.errors import FileError

Arrays = dict[str, npt.NDArray[Any]]

# What NumPy lets through of a file that is damaged, or only named like an array.
_DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


def read_array(
    path: str | Path, wanted: str, *, mapped: bool = False, error: type[FileError] = FileError
) -> npt.NDArray[Any]:
    """The array in an `.npy` file.

    Args:
        path: Of the file.
        wanted: What is expected, for the sentence that refuses it.
        mapped: Leave the numbers on disk until they are used.
        error: Class of the exception.

    Raises:
        FileError: If the file is missing, damaged, an archive, or holds Python objects.
    """
    try:
        # Copy on write: torch has no tensors that cannot be written to.
        array = np.load(path, mmap_mode="c" if mapped else None, allow_pickle=False)
    except FileNotFoundError as cause:
        raise error(path, "no such file", wanted) from cause
    except _DAMAGED as cause:
        raise error(path, f"an array that cannot be read ({cause})", wanted) from cause
    if not isinstance(array, np.ndarray):
        array.close()
        raise error(path, "an archive of arrays, as .npz files are", wanted)
    return array


def read_archive(
    path: str | Path,
    wanted: str,
    names: tuple[str, ...],
    *,
    optional: tuple[str, ...] = (),
    error: type[FileError] = FileError,
) -> Arrays:
    """Arrays in an `.npz` file, by their names.

    Args:
        path: Of the file.
        wanted: What is expected, for the sentence that refuses it.
        names: Which ones; they must be there.
        optional: Which ones to read if they are there.
        error: Class of the exception.

    Raises:
        FileError: If the file is missing, damaged or no archive, lacks an array, or one holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = next((name for name in names if name not in stored), None)
            if missing is None:
                return {name: stored[name] for name in (*names, *optional) if name in stored}
    except FileNotFoundError as cause:
        raise error(path, "no such file", wanted) from cause
    except TypeError as cause:  # a bare array is no context
        raise error(path, "a single array, as .npy files are", wanted) from cause
    except _DAMAGED as cause:
        raise error(path, f"an array that cannot be read ({cause})", wanted) from cause
    raise error(path, f"no array {missing}", wanted)
