"""Is all of a file there? Told from the lengths in its headers, without decoding.

libsndfile and FFmpeg read what they find: a file that was cut short (a full disk, a broken download) decodes
to a shorter sound without a word. Every container that writes its length down is held to it here.
Writers that could not know the length (pipes, live streams) leave a conventional value, which is accepted.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audio_io.codecs import mpeg
from audio_io.codecs.formats import Container, size_of
from audio_io.errors import CorruptAudioError, NoAudioError, TruncatedAudioError

# What pipes write for a length they cannot know: FFmpeg and most others all ones, SoX and ALSA about 2 GiB.
_UNKNOWN_LENGTHS = frozenset({0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 64) - 1})
_OGG_LONGEST_PAGE = 65307  # bytes; RFC 3533, section 6
_OGG_LAST_PAGE = 4  # header_type bit "end of stream"; RFC 3533, section 6
# Recorders and servers that are stopped leave such files: the sound up to there is worth having.
_WHOLE_OGG = "a complete file; `ffmpeg -i FILE -c copy NEW.ogg` makes one of the sound that is there"
_CHANNEL_COUNTS = {b"fmt ": 2, b"COMM": 0}  # where in its chunk the number of channels stands
_IN_DS64 = 0xFFFFFFFF
_MATROSKA_SEGMENT = 0x18538067


@dataclass(frozen=True)
class Extent:
    """How the length of a file's sound is known.

    Attributes:
        counted: Whether the container's count of samples is exact; False where a decoder would estimate it.
        streamed: Whether a pipe left 0 for the length: libsndfile sees no sample then, FFmpeg reads to the
            end.
    """

    counted: bool = True
    streamed: bool = False


def check_complete(path: Path, container: Container) -> Extent:
    """How the length is known, after a check that the file has the bytes that its headers declare.

    Raises:
        TruncatedAudioError: If bytes are missing at the end.
        CorruptAudioError: If the headers make no sense.
    """
    check = _CHECKS.get(container.name)
    if check is None:
        return Extent()
    with mpeg.open_after_id3(path) as file:
        try:
            return check(path, file)
        except (struct.error, IndexError) as error:
            raise _ends_early(path, "its header is complete") from error


@dataclass(frozen=True)
class _Layout:
    """How chunks follow one another."""

    start: int
    header: struct.Struct  # identifier and size
    align: int = 2
    size_includes_header: bool = False


_LITTLE = _Layout(12, struct.Struct("<4sI"))
_BIG = _Layout(12, struct.Struct(">4sI"))
_WAVE64 = _Layout(40, struct.Struct("<16sQ"), align=8, size_includes_header=True)
_CAF = _Layout(8, struct.Struct(">4sQ"), align=1)


def _chunks(file: BinaryIO, layout: _Layout) -> Iterator[tuple[bytes, int, int]]:
    """Identifier, position of the content and size of every chunk."""
    position, end = layout.start, size_of(file)
    while position < end:
        file.seek(position)
        header = file.read(layout.header.size)
        if len(header) < layout.header.size:
            return
        name, size = layout.header.unpack(header)
        content = position + layout.header.size
        size -= layout.header.size if layout.size_includes_header else 0
        if size < 0:
            return
        yield name, content, size
        position = -(-(content + size) // layout.align) * layout.align


def _check_chunks(path: Path, file: BinaryIO, layout: _Layout) -> Extent:
    size = size_of(file)
    declared_in_ds64 = 0
    for name, content, declared in _chunks(file, layout):
        kind = name[:4]  # W64 completes them to GUIDs
        if kind in _CHANNEL_COUNTS:
            _check_channels(path, file, content + _CHANNEL_COUNTS[kind], 2)
        elif kind == b"ds64":  # RF64: the 64-bit lengths; EBU Tech 3306
            file.seek(content + 8)
            declared_in_ds64 = struct.unpack("<Q", file.read(8))[0]
        elif kind in {b"data", b"SSND"}:
            is_in_ds64 = declared_in_ds64 > 0 and declared == _IN_DS64
            return _check_sound(path, file, declared_in_ds64 if is_in_ds64 else declared, size - content)
    raise _ends_early(path, "the chunk that holds the samples")


def _check_channels(path: Path, file: BinaryIO, position: int, size: int) -> None:
    file.seek(position)
    if file.read(size) == bytes(size):
        raise NoAudioError(path, "a header with 0 channels", "at least one channel")


def _check_sound(path: Path, file: BinaryIO, declared: int, present: int) -> Extent:
    if declared > present and declared not in _UNKNOWN_LENGTHS:
        raise _missing(path, "sound", declared, present)
    file.seek(0)
    magic, outer = struct.unpack("<4sI", file.read(8))
    is_all_there = outer + 8 == size_of(file)
    return Extent(streamed=magic == b"RIFF" and declared == 0 and present > 0 and not is_all_there)


def _check_riff(path: Path, file: BinaryIO) -> Extent:
    file.seek(0)
    return _check_chunks(path, file, _BIG if file.read(4) == b"RIFX" else _LITTLE)


def _check_au(path: Path, file: BinaryIO) -> Extent:
    file.seek(0)
    order = "<" if file.read(4) == b"dns." else ">"
    offset, declared = struct.unpack(order + "II", file.read(8))
    _check_channels(path, file, 20, 4)
    present = size_of(file) - offset
    if present < 0 or (declared > present and declared not in _UNKNOWN_LENGTHS):
        raise _missing(path, "sound", declared, max(present, 0))
    return Extent()


def _check_avi(path: Path, file: BinaryIO) -> Extent:
    file.seek(4)
    declared = struct.unpack("<I", file.read(4))[0]
    present = size_of(file) - 8
    if declared > present and declared not in _UNKNOWN_LENGTHS:
        raise _missing(path, "its RIFF chunk", declared, present)
    return Extent()


def _check_mp4(path: Path, file: BinaryIO) -> Extent:
    """Walk the boxes of the top level. Reference: ISO/IEC 14496-12, 4.2."""
    size, position, names = size_of(file), 0, set()
    while position + 8 <= size:
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        if not name.isalnum():
            break  # padding or a foreign trailer; players ignore it too
        names.add(name)
        if length == 1:
            length = struct.unpack(">Q", file.read(8))[0]
        if length == 0:
            position = size
        elif length < 8:
            raise CorruptAudioError(
                path, f"a box {name.decode()!r} of {length} bytes", "boxes of at least 8 bytes"
            )
        else:
            position += length
        if position > size:
            raise _missing(path, f"box {name.decode()!r}", length, size - (position - length))
    if b"moov" not in names:
        raise _ends_early(path, "the box 'moov' that says where the sound is")
    return Extent()


def _check_matroska(path: Path, file: BinaryIO) -> Extent:
    """Hold the segment to its size. Reference: RFC 8794, sections 4 and 5."""
    size, position = size_of(file), 0
    while position < size:
        file.seek(position)
        identifier, id_length = _variable_integer(file.read(8), keep_marker=True)
        file.seek(position + id_length)
        declared, size_length = _variable_integer(file.read(8), keep_marker=False)
        content = position + id_length + size_length
        is_unknown = declared == (1 << 7 * size_length) - 1
        if not is_unknown and declared > size - content:
            raise _missing(path, "its Matroska element", declared, size - content)
        if identifier == _MATROSKA_SEGMENT:
            return Extent()
        position = content + declared
    raise _ends_early(path, "the segment that holds the sound")


def _variable_integer(data: bytes, *, keep_marker: bool) -> tuple[int, int]:
    length = 9 - data[0].bit_length()
    if length > 8:
        raise IndexError("no length marker")
    value = int.from_bytes(data[:length], "big")
    return value if keep_marker else value & ((1 << 7 * length) - 1), length


def _check_ogg(path: Path, file: BinaryIO) -> Extent:
    """Look at the last page: it has to be whole, and marked as the last. Reference: RFC 3533, section 6."""
    size = size_of(file)
    start = max(0, size - 2 * _OGG_LONGEST_PAGE)
    file.seek(start)
    tail = file.read()
    position = tail.rfind(b"OggS")
    header = tail[position : position + 27]
    if position < 0 or len(header) < 27:
        raise _ends_early(path, "a whole last Ogg page", _WHOLE_OGG)
    lacing = tail[position + 27 : position + 27 + header[26]]
    declared, present = 27 + header[26] + sum(lacing), len(tail) - position
    if len(lacing) < header[26] or declared > present:
        found = f"{present} bytes of its last Ogg page, which declares {declared}"
        raise TruncatedAudioError(path, found, _WHOLE_OGG)
    if not header[5] & _OGG_LAST_PAGE:
        raise _ends_early(path, "the Ogg page that is marked as the last one", _WHOLE_OGG)
    return Extent()


def _check_mp3(path: Path, file: BinaryIO) -> Extent:
    file.seek(0)
    head = file.read(65536)
    first = mpeg.find_frames(head, mpeg.mpeg_frame_length) or 0
    counted, declared = mpeg.tag_in_first_frame(head[first : first + 192])
    size = size_of(file)
    present = size - first
    if declared is not None and declared > present:
        raise _missing(path, "sound", declared, present)
    if declared is None and mpeg.ends_inside_frame(file, size, head[first : first + 4]):
        raise _ends_early(path, "the end of its last MPEG frame")
    return Extent(counted=counted)


def _missing(path: Path, what: str, declared: int, present: int) -> TruncatedAudioError:
    return TruncatedAudioError(
        path, f"{present} bytes of {what}", f"the {declared} bytes that its header declares"
    )


def _ends_early(path: Path, before: str, expected: str = "a complete file") -> TruncatedAudioError:
    return TruncatedAudioError(path, f"the end of the file before {before}", expected)


_CHECKS: dict[str, Callable[[Path, BinaryIO], Extent]] = {
    "WAV": _check_riff,
    "RF64": _check_riff,
    "W64": lambda path, file: _check_chunks(path, file, _WAVE64),
    "AIFF": lambda path, file: _check_chunks(path, file, _BIG),
    "CAF": lambda path, file: _check_chunks(path, file, _CAF),
    "AU": _check_au,
    "AVI": _check_avi,
    "MP4": _check_mp4,
    "Matroska": _check_matroska,
    "OGG": _check_ogg,
    "MP3": _check_mp3,
}
