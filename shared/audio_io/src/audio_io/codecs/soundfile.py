"""Decoding by libsndfile: WAV, AIFF, AU, CAF, W64, FLAC, Ogg (Vorbis, Opus, FLAC) and MP3."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from audio_io.codecs import mpeg
from audio_io.codecs.complete import Extent
from audio_io.codecs.formats import MP3, Container
from audio_io.codecs.source import BLOCK_LENGTH, AudioInfo, Samples, Source
from audio_io.errors import AudioError, CorruptAudioError, NoAudioError, UnknownFormatError

# Encoders do not agree on whether the frame that holds the Xing tag is counted in it.
_MP3_SLACK = 2 * 1152
_PROBE_LENGTH = 1024

# What libsndfile says of a FLAC that was written to a pipe and never learnt its length.
_UNKNOWN_LENGTH = 2**63 - 1
# A seek into the last page of an Ogg stream, whose time stamp is that of the end after trimming, lands
# elsewhere. Pages are flushed at 4 kB or so, which is 10 s at 3 kbit/s.
_OGG_TAIL_SECONDS = 10.0


class SoundFileSource(Source):
    """A file that libsndfile reads.

    Args:
        path: The file.
        container: What `formats.identify` said.
        extent: What `check_complete` said.

    Raises:
        CorruptAudioError: If libsndfile cannot open it.
        NoAudioError: If it has no channel or no sample.
    """

    def __init__(self, path: Path, container: Container, extent: Extent) -> None:
        self._path, self._container = path, container
        self._files = contextlib.ExitStack()
        self._sound = _open(path, container, self._files)
        sound = self._sound
        self._is_seekable = sound.seekable()
        # After each read soundfile seeks to where it ended; near the end of an Opus file this goes astray.
        sound.seekable = lambda: False
        if sound.format == "RAW":
            self.close()
            raise UnknownFormatError(
                path, "bytes that libsndfile takes for raw samples", f"a {container.name} header"
            )
        if sound.frames == 0:
            self.close()
            raise NoAudioError(path, f"a {container.name} file with 0 samples", "a file with sound")
        self.slack = _MP3_SLACK if container is MP3 else 0
        counted = extent.counted and sound.frames < _UNKNOWN_LENGTH
        self.info = AudioInfo(
            path=path,
            sample_rate=sound.samplerate,
            channels=sound.channels,
            frames=sound.frames if counted else None,
            duration=sound.frames / sound.samplerate if sound.frames < _UNKNOWN_LENGTH else None,
            format=sound.format,
            subtype=sound.subtype,
        )

    def _decode(self, start: int, end: int | None) -> Iterator[Samples]:
        import soundfile

        try:
            self._seek(start)
            while end is None or self.position < end:
                block = self._read(
                    BLOCK_LENGTH if end is None else min(BLOCK_LENGTH, end - self.position)
                )  # [t, C]
                if not len(block):
                    return
                yield np.ascontiguousarray(block.T)  # [C, t]
        except soundfile.LibsndfileError as error:
            raise self._explain(self.position) from error

    def _seek(self, start: int) -> None:
        """Move to sample `start`; by decoding what comes before, where libsndfile cannot find it itself."""
        if self._is_seekable and self.info.frames is not None:
            last_reliable = self.info.frames - round(_OGG_TAIL_SECONDS * self.info.sample_rate)
            self.position = max(0, min(start, last_reliable)) if self.info.format == "OGG" else start
            self._sound.seek(self.position)
        while self.position < start and len(self._read(min(BLOCK_LENGTH, start - self.position))):
            pass

    def _read(self, length: int) -> Samples:
        block: Samples = self._sound.read(length, dtype="float32", always_2d=True)  # [t, C]
        self.position += len(block)
        return block

    def _explain(self, position: int) -> AudioError:
        """Tell a file that was cut off from one that is damaged inside, whose last sample is still there."""
        position += self._readable_from(position)
        if self.info.frames is None or not self._readable_from(self.info.frames - 1):
            return self._truncated(position)
        seconds = position / self.info.sample_rate
        found = f"data that cannot be decoded after {position} samples ({seconds:.3f} s)"
        return CorruptAudioError(self._path, found, f"{self.info.format} data")

    def _readable_from(self, position: int) -> int:
        import soundfile

        count = 0
        with contextlib.ExitStack() as files, contextlib.suppress(soundfile.LibsndfileError):
            sound = _open(self._path, self._container, files)  # libFLAC does not recover from an error
            sound.seek(position)
            while length := len(sound.read(_PROBE_LENGTH)):
                count += length
        return count

    def close(self) -> None:
        """Release the file."""
        self._files.close()


def _open(path: Path, container: Container, files: contextlib.ExitStack) -> Any:  # noqa: ANN401 - soundfile ships no types
    """The file, which `files` closes."""
    import soundfile

    if path.suffix.lower() == ".raw":  # soundfile asks for a sample rate then, whatever the content
        raise UnknownFormatError(path, "a sound file called .raw", "another suffix: this one means no header")
    # On POSIX a file name is bytes, and need not be UTF-8.
    source: Any = path if os.name == "nt" else os.fsencode(path)
    # libsndfile skips an ID3 tag in front of a few formats only; of MP3, mpg123 reads it.
    if container is not MP3 and mpeg.has_id3(path):
        source = files.enter_context(mpeg.open_after_id3(path))
    try:
        return files.enter_context(soundfile.SoundFile(source))
    except soundfile.LibsndfileError as error:
        files.close()
        found = f"a header that cannot be read: {error.error_string.rstrip('.')}"
        raise CorruptAudioError(path, found, "a valid header") from error
