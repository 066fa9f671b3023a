"""Which container a file is, told from its first bytes: the suffix is a rumour.

Every file is recognised here before a decoder sees it, for the decoders guess: libsndfile takes random bytes
that are called `.au` for 8 kHz µ-law, and FFmpeg takes any text for subtitles or a picture.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from audio_io.codecs import mpeg
from audio_io.errors import AudioNotFoundError, NoAudioError, UnknownFormatError

AUDIO_EXTENSIONS = frozenset({
    ".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mp3",
    ".oga", ".ogg", ".opus", ".rf64", ".snd", ".w64", ".wav", ".weba", ".wma",
})  # fmt: skip
"""Suffixes of sound files, for `walk`; videos are left out, though `load` reads their sound track."""


@dataclass(frozen=True)
class Container:
    """How the bytes of a file are organised, and who decodes them.

    Attributes:
        name: What people call it.
        decoder: The library that opens it.
        demuxer: FFmpeg's name for it; empty where libsndfile alone is asked.
    """

    name: str
    decoder: Literal["soundfile", "pyav"]
    demuxer: str = ""


MP3 = Container("MP3", "soundfile")
AAC = Container("AAC", "pyav", "aac")

# (offset, bytes, container); the RIFF and FORM families are told apart by the type that follows their size.
_MAGIC: tuple[tuple[tuple[tuple[int, bytes], ...], Container], ...] = (
    (((0, b"RIFF"), (8, b"WAVE")), Container("WAV", "soundfile", "wav")),
    (((0, b"RIFX"), (8, b"WAVE")), Container("WAV", "soundfile")),
    (((0, b"RF64"), (8, b"WAVE")), Container("RF64", "soundfile")),
    (((0, b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb"),), Container("W64", "soundfile")),
    (((0, b"FORM"), (8, b"AIFF")), Container("AIFF", "soundfile")),
    (((0, b"FORM"), (8, b"AIFC")), Container("AIFF", "soundfile")),
    (((0, b".snd"),), Container("AU", "soundfile")),
    (((0, b"dns."),), Container("AU", "soundfile")),
    (((0, b"caff"),), Container("CAF", "soundfile")),
    (((0, b"fLaC"),), Container("FLAC", "soundfile")),
    (((0, b"OggS"),), Container("OGG", "soundfile", "ogg")),
    (((4, b"ftyp"),), Container("MP4", "pyav", "mov")),
    (((4, b"moov"),), Container("MP4", "pyav", "mov")),
    (((4, b"mdat"),), Container("MP4", "pyav", "mov")),
    (((4, b"wide"),), Container("MP4", "pyav", "mov")),
    (((0, b"\x1a\x45\xdf\xa3"),), Container("Matroska", "pyav", "matroska")),
    (((0, b"RIFF"), (8, b"AVI ")), Container("AVI", "pyav", "avi")),
    (((0, b"FLV\x01"),), Container("FLV", "pyav", "flv")),
    (((0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),), Container("ASF", "pyav", "asf")),
    (((0, b"\x47"), (188, b"\x47"), (376, b"\x47")), Container("MPEG-TS", "pyav", "mpegts")),
    (((0, b"\x00\x00\x01\xba"),), Container("MPEG-PS", "pyav", "mpeg")),
)
_KNOWN = "WAV, FLAC, OGG, MP3, AIFF, AU, CAF, W64, MP4/M4A/MOV, AAC, Matroska/WebM, AVI, FLV, ASF or MPEG"

# An encoder may put this much padding before the first MPEG frame; mpg123 gives up after as much.
_MPEG_SEARCH_BYTES = 65536


def identify(path: Path) -> Container:
    """The container of the file at `path`, by its first bytes.

    Raises:
        AudioNotFoundError: If there is no readable file.
        NoAudioError: If the file is empty.
        UnknownFormatError: If the bytes are none of the known containers.
    """
    if path.is_dir():
        raise AudioNotFoundError(path, "a folder", "an audio file; walk() lists those in a folder")
    if not path.is_file():
        raise AudioNotFoundError(path, "nothing" if not path.exists() else "no regular file", "an audio file")
    try:
        with mpeg.open_after_id3(path) as file:
            head = file.read(_MPEG_SEARCH_BYTES)
        is_empty = path.stat().st_size == 0
    except OSError as error:
        raise AudioNotFoundError(
            path, f"a file that cannot be read ({error.strerror})", "a readable file"
        ) from error
    if not head:
        found = "an empty file (0 bytes)" if is_empty else "a file that ends after its ID3 tag"
        raise NoAudioError(path, found, "a file with sound")
    container = _by_magic(head) or _by_frames(head)
    if container is None:
        raise UnknownFormatError(path, f"bytes of no known format ({_describe(head)})", _KNOWN)
    return container


def size_of(file: BinaryIO) -> int:
    """Length of an open file in bytes."""
    return file.seek(0, 2)


def _by_magic(head: bytes) -> Container | None:
    for patterns, container in _MAGIC:
        if all(head[offset : offset + len(text)] == text for offset, text in patterns):
            return container
    return None


def _by_frames(head: bytes) -> Container | None:
    if mpeg.find_frames(head, mpeg.adts_frame_length) is not None:
        return AAC
    if mpeg.find_frames(head, mpeg.mpeg_frame_length) is not None:
        return MP3
    return None


def _describe(head: bytes) -> str:
    text = head[:12]
    if text.isascii() and text.decode("ascii").isprintable():
        return f"it begins with {text.decode('ascii')!r}"
    return f"it begins with hexadecimal {text[:8].hex(' ')}"
