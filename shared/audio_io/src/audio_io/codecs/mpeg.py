"""MPEG audio and ADTS streams: no header of the file, only frames in a row that each tell their length.

Reference: ISO/IEC 11172-3, 2.4.1.3 (frame header); ISO/IEC 14496-3, 1.A.2.2 (ADTS); for the tag in the first
    frame
https://www.codeproject.com/Articles/8295/MPEG-Audio-Frame-Header#XINGHeader
"""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

FrameLength = Callable[[bytes], int | None]

_CHAIN = 3  # frames in a row that no other data will show by accident
_LONGEST_FRAME = 8192  # bytes; the 13 bits of ADTS allow no more, and MPEG audio stays below 2881

_BITRATES = {  # kbit/s by (MPEG-1?, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44100, 48000, 32000)  # Hz in MPEG-1; half in MPEG-2, a quarter in MPEG-2.5


def after_id3(file: BinaryIO | io.FileIO) -> int:
    """Position of the first byte after the ID3v2 tags at the start of a file.

    Reference: https://id3.org/id3v2.4.0-structure, 3.1 and 6.2: four bytes of seven bits each.
    """
    position = 0
    while True:
        file.seek(position)
        header = file.read(10)
        if len(header) < 10 or header[:3] != b"ID3":
            return position
        size = 0
        for byte in header[6:10]:
            size = (size << 7) | (byte & 0x7F)
        has_footer = bool(header[5] & 0x10)
        position += 10 + size + (10 if has_footer else 0)


class _Rest(io.RawIOBase):
    """A file from one position on, as if it began there."""

    def __init__(self, file: io.FileIO, start: int) -> None:
        self._file, self._start = file, start
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # as FileIO has it
        return self._file.readinto(buffer) or 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset + (self._start if whence == io.SEEK_SET else 0), whence) - self._start

    def close(self) -> None:
        self._file.close()
        super().close()


def has_id3(path: Path) -> bool:
    """Whether a file begins with an ID3v2 tag."""
    with path.open("rb") as file:
        return after_id3(file) > 0


def open_after_id3(path: Path) -> BinaryIO:
    """A file without the ID3v2 tags that programs for MP3 put in front of all kinds of files."""
    file = io.FileIO(path)
    try:
        return io.BufferedReader(_Rest(file, after_id3(file)))
    except BaseException:
        file.close()
        raise


def mpeg_frame_length(header: bytes) -> int | None:
    """Bytes of the MPEG audio frame that begins with these four bytes; None if they begin none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = (header[1] >> 3) & 3, 4 - ((header[1] >> 1) & 3)
    bitrate_index, rate_index, padding = header[2] >> 4, (header[2] >> 2) & 3, (header[2] >> 1) & 1
    if version == 1 or layer == 4 or rate_index == 3 or not 1 <= bitrate_index <= 14:
        return None
    is_mpeg1 = version == 3
    bitrate = _BITRATES[is_mpeg1, layer][bitrate_index - 1] * 1000
    sample_rate = _RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    if layer == 1:
        return (12 * bitrate // sample_rate + padding) * 4
    samples = 576 if layer == 3 and not is_mpeg1 else 1152
    return samples // 8 * bitrate // sample_rate + padding


def adts_frame_length(header: bytes) -> int | None:
    """Bytes of the ADTS frame that begins with these bytes; None if they begin none."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or (header[2] >> 2) & 15 > 12:
        return None
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length >= 7 else None


def find_frames(data: bytes, frame_length: FrameLength) -> int | None:
    """Position of the first frame of a chain in `data`; None if there is no chain.

    A file that holds fewer frames than make a chain is recognised too if it begins with one.
    """
    position = data.find(b"\xff")
    while position >= 0:
        count, end = _follow(data, position, frame_length)
        if count >= _CHAIN or (position == 0 and count and end >= len(data)):
            return position
        position = data.find(b"\xff", position + 1)
    return None


def ends_inside_frame(file: BinaryIO, size: int, first_header: bytes) -> bool:
    """Whether an MPEG audio stream breaks off within a frame.

    Args:
        file: The open file.
        size: Its length in bytes.
        first_header: The first four bytes of its first frame; only frames of the same kind count.
    """
    file.seek(max(0, size - _CHAIN * _LONGEST_FRAME))
    tail = file.read()

    def same_kind(header: bytes) -> int | None:
        alike = (
            len(header) >= 4 and header[1] == first_header[1] and header[2] & 0x0C == first_header[2] & 0x0C
        )
        return mpeg_frame_length(header) if alike else None

    position = find_frames(tail, same_kind)
    return position is not None and _follow(tail, position, same_kind, limit=len(tail))[1] > len(tail)


def tag_in_first_frame(frame: bytes) -> tuple[bool, int | None]:
    """Whether a Xing, Info or VBRI tag counts the frames, and the bytes of the stream if it tells them."""
    is_mpeg1, is_mono = bool(frame[1] & 0x08), frame[3] >> 6 == 3
    side_information = (17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17)
    tag = frame[4 + side_information :]
    if tag[:4] in {b"Xing", b"Info"}:
        flags = struct.unpack(">I", tag[4:8])[0]
        position = 8 + (4 if flags & 1 else 0)
        has_bytes = bool(flags & 2) and len(tag) >= position + 4
        return bool(flags & 1), struct.unpack(">I", tag[position : position + 4])[0] if has_bytes else None
    if frame[36:40] == b"VBRI":
        return True, struct.unpack(">I", frame[46:50])[0]
    return False, None


def _follow(data: bytes, position: int, frame_length: FrameLength, limit: int = _CHAIN) -> tuple[int, int]:
    """Number of frames in a row from `position`, and where the last ends (perhaps beyond the data)."""
    count = 0
    while count < limit and position < len(data):
        length = frame_length(data[position : position + 8])
        if length is None:
            break
        position += length
        count += 1
    return count, position
