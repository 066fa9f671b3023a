"""The file that keeps a track's stems: an `.npz` that NumPy reads, and of which any span is read alone.

`vocals`, `drums`, `bass` and `other` are int16; times the value of `scale` at the same place they are the
waveform. `scale` is chosen so that the peak of a stem is the greatest integer: stems may exceed ±1, and quiet
ones keep all 16 bits. `meta` is JSON. Nothing is compressed, so the samples lie in the file as they are in
memory, and reading a span reads its bytes and no others.
"""

import io
import json
import mmap
import os
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from audio_io.atomic import atomic_path
from audio_io.errors import FileError
from genre.config import STEMS

Samples = npt.NDArray[np.float32]

_GREATEST = 32767
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # PKWARE APPNOTE 4.3.7: signature, lengths of name and extra field


class CorruptArchiveError(FileError):
    """The file is no whole archive of stems."""


class ForeignArchiveError(FileError):
    """The file is whole, but of another program or an earlier form."""


@dataclass(frozen=True)
class Archive:
    """Where in the file of a track its stems lie.

    Attributes:
        path: The file.
        offsets: Of the samples of each stem, in bytes.
        length: Of the stems, in samples.
        scale: What each stem's integers are multiplied with, `[4, 1]`.
        meta: What `write_archive` was given.
        stamp: Size and time of the file when it was looked at.
    """

    path: Path
    offsets: tuple[int, ...]
    length: int
    scale: Samples
    meta: dict[str, Any]
    stamp: tuple[int, int]

    def read(self, start: int = 0, length: int | None = None) -> Samples:
        """Samples `start` to `start + length` (to the end by default) of the stems, as far as there are any.

        Raises:
            OSError: If the file cannot be read.

        Shape:
            - output: `[4, N]`, float32
        """
        first = min(max(start, 0), self.length)
        stop = self.length if length is None else max(first, min(start + length, self.length))
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            parts = [
                np.frombuffer(mapped, "<i2", stop - first, offset + 2 * first) for offset in self.offsets
            ]
            samples = np.stack(parts).astype(np.float32)
            del parts  # the map cannot be closed while they look into it
        samples *= self.scale
        return samples

    def verify(self) -> None:
        """Compare the content with its check sums, which reading a span does not.

        Raises:
            CorruptArchiveError: If it has changed since it was written.
        """
        try:
            with zipfile.ZipFile(self.path) as archive:
                damaged = archive.testzip()
        except (OSError, zipfile.BadZipFile) as error:
            raise _corrupt(self.path, str(error)) from error
        if damaged is not None:
            raise _corrupt(self.path, f"a check sum of {damaged} that does not fit")


def write_archive(path: Path, stems: Samples, meta: dict[str, Any]) -> None:
    """Write the stems of a track; the file appears when it is complete, or not at all.

    Args:
        path: Where to write; `.npz`.
        stems: In the order of `STEMS`.
        meta: What JSON can hold.

    Shape:
        - stems: `[4, N]`

    Raises:
        OSError: If it cannot be written.
    """
    peak = np.abs(stems).max(axis=1, keepdims=True, initial=0.0)  # [4, 1]
    # Of silence any scale will do. The least normal number keeps the division finite.
    scale = np.maximum(np.where(peak > 0, peak, 1.0) / _GREATEST, np.finfo(np.float32).tiny).astype(
        np.float32
    )
    integers = np.clip(np.rint(stems / scale), -_GREATEST, _GREATEST).astype("<i2")
    arrays = dict(zip(STEMS, integers, strict=True))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays, scale=scale[:, 0], meta=np.array(json.dumps(meta)))


def open_archive(path: Path) -> Archive:
    """Look at the structure of a file of stems; the samples are not read.

    Raises:
        FileNotFoundError: If there is no file.
        CorruptArchiveError: If it is not whole.
        ForeignArchiveError: If it was not written by `write_archive`.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            with zipfile.ZipFile(file) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                _check_members(path, members)
                scale = np.load(io.BytesIO(archive.read("scale.npy")), allow_pickle=False)
                meta = json.loads(str(np.load(io.BytesIO(archive.read("meta.npy")), allow_pickle=False)))
            spans = [_span(path, file, members[stem], status.st_size) for stem in STEMS]
    except (FileNotFoundError, FileError):
        raise
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, struct.error, NotImplementedError) as error:
        raise _corrupt(path, f"{type(error).__name__}: {error}") from error
    lengths = {length for _, length in spans}
    if len(lengths) != 1 or scale.shape != (len(STEMS),) or not isinstance(meta, dict):
        raise _corrupt(path, "stems of different lengths, or no scale")
    offsets = tuple(offset for offset, _ in spans)
    stamp = (status.st_size, status.st_mtime_ns)
    return Archive(path, offsets, lengths.pop(), scale.astype(np.float32)[:, None], meta, stamp)


def _check_members(path: Path, members: dict[str, zipfile.ZipInfo]) -> None:
    wanted = [*STEMS, "scale", "meta"]
    if any(name not in members for name in wanted):
        found = "the arrays " + ", ".join(sorted(members))
        raise ForeignArchiveError(path, found, "stems with their settings: " + ", ".join(wanted))
    if any(members[stem].compress_type != zipfile.ZIP_STORED for stem in STEMS):
        raise ForeignArchiveError(path, "compressed arrays", "stored ones")


def _span(path: Path, file: IO[bytes], member: zipfile.ZipInfo, size: int) -> tuple[int, int]:
    """Where the samples of a member begin, and how many there are."""
    file.seek(member.header_offset)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    file.seek(member.header_offset + _LOCAL_HEADER.size + name_length + extra_length)
    version = np.lib.format.read_magic(file)
    if signature != b"PK\x03\x04" or version != (1, 0):
        raise _corrupt(path, f"no array at the place of {member.filename}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if len(shape) != 1 or dtype != np.dtype("<i2"):
        raise ForeignArchiveError(path, f"{dtype} of shape {shape}", "int16 of one dimension")
    if file.tell() + 2 * shape[0] > size:
        raise _corrupt(path, f"a file of {size} bytes")
    return file.tell(), shape[0]


def _corrupt(path: Path, found: str) -> CorruptArchiveError:
    return CorruptArchiveError(path, found, "a whole archive of stems")
