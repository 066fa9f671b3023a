"""The weight file of a package: a header, then records of one tensor each.

A record is 64 bytes of metadata (sentinel, data type, size in bytes, offset of the data, padding in bits)
and, elsewhere in the file, the data, little endian. Numbers of less than a byte are packed from the lowest
bit up. The layout is that of `MILBlob` storage, version 2; every number read from the file is checked
against the file's size before it is used.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audio_io.errors import FileError

Array = npt.NDArray[Any]

HEADER = struct.Struct("<II")
RECORD = struct.Struct("<IIQQQ")
RECORD_BYTES = 64
SENTINEL = 0xDEADBEEF
VERSION = 2

# Data type of a record -> (name as in MIL, bits a number).
RECORD_TYPES = {
    1: ("float16", 16),
    2: ("float32", 32),
    3: ("uint8", 8),
    4: ("int8", 8),
    6: ("int16", 16),
    7: ("uint16", 16),
    8: ("int4", 4),
    9: ("uint1", 1),
    10: ("uint2", 2),
    11: ("uint4", 4),
    12: ("uint3", 3),
    13: ("uint6", 6),
    14: ("int32", 32),
    15: ("uint32", 32),
}
PACKED_BITS = {name: bits for name, bits in RECORD_TYPES.values() if bits < 8}


class WeightFile:
    """Random access to the tensors of one weight file.

    Args:
        path: The file.

    Raises:
        FileError: If the header is not that of a weight file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        if self.size < RECORD_BYTES:
            raise FileError(path, f"a weight file of {self.size} bytes", f"at least {RECORD_BYTES}")
        self.bytes = np.memmap(path, dtype=np.uint8, mode="r")
        _, version = HEADER.unpack(bytes(self.bytes[: HEADER.size]))
        if version != VERSION:
            raise FileError(path, f"version {version} of the weight format", f"version {VERSION}")

    def read(self, offset: int, dtype: str, count: int) -> Array:
        """The numbers of one record.

        Args:
            offset: Where its metadata begins, in bytes.
            dtype: Type that the program declares, as in `RECORD_TYPES`.
            count: How many numbers the program declares.

        Returns:
            Shape: [count]; numbers of less than a byte as int8 or uint8.

        Raises:
            FileError: If the record is not there, is of another type or size, or reaches out of the file.
        """
        if offset < 0 or offset + RECORD_BYTES > self.size:
            raise FileError(
                self.path, f"a record at byte {offset} of {self.size}", "a record inside the weight file"
            )
        sentinel, code, size, start, _ = RECORD.unpack(bytes(self.bytes[offset : offset + RECORD.size]))
        if sentinel != SENTINEL:
            raise FileError(self.path, f"no record at byte {offset}", "the mark of a record there")
        found, bits = RECORD_TYPES.get(code, (f"data type {code}", 0))
        if found != dtype:
            raise FileError(self.path, f"{found} at byte {offset}", f"{dtype}, as the program declares")
        expected = (count * bits + 7) // 8
        if size != expected:
            raise FileError(
                self.path, f"{size} bytes of {dtype} at byte {offset}", f"{expected}, for {count} numbers"
            )
        if start + size > self.size:
            raise FileError(
                self.path,
                f"data from byte {start} to {start + size} of {self.size}",
                "data inside the weight file",
            )
        return decode(np.asarray(self.bytes[start : start + size]), dtype, count)


def decode(raw: npt.NDArray[np.uint8], dtype: str, count: int) -> Array:
    """Numbers from their bytes.

    Args:
        raw: The bytes, exactly as many as needed.
        dtype: Type as MIL names it.
        count: How many numbers.

    Returns:
        Shape: [count]. A view of `raw` where that is possible.
    """
    bits = PACKED_BITS.get(dtype)
    if bits is None:
        return raw.view(np.dtype(dtype).newbyteorder("<"))[:count]
    if 8 % bits == 0:
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        numbers = ((raw[:, None] >> shifts) & np.uint8(2**bits - 1)).reshape(-1)[:count]
    else:
        stream = np.unpackbits(raw, bitorder="little")[: count * bits].reshape(count, bits)
        numbers = np.packbits(stream, axis=1, bitorder="little")[:, 0]
    if dtype.startswith("uint"):
        return numbers
    half = 2 ** (bits - 1)
    signed: Array = (numbers.astype(np.int8) ^ half) - np.int8(half)
    return signed
