"""What the decoders have in common: a header, and float32 blocks from any sample on."""

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio_io.errors import TruncatedAudioError

Samples = npt.NDArray[np.float32]
"""Samples of all channels, `[C, t]`, full scale ±1."""

BLOCK_LENGTH = 65536
"""Samples per channel that the decoders hand out at a time, at most."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says about its sound.

    Attributes:
        path: The file.
        sample_rate: Rate of the samples in Hz.
        channels: Number of channels.
        frames: Samples per channel; None where the container does not count them (Matroska/WebM, AVI, FLV,
            MPEG-TS, bare AAC, and MP3 without a Xing or VBRI tag).
        duration: Length in s: `frames / sample_rate`, else what the header says, to within about 0.1 s; None
            if it says nothing.
        format: The container, such as `WAV` or `MP4`.
        subtype: How the samples are coded: libsndfile's name (`PCM_16`) or FFmpeg's (`aac`).
        start_time: When the first sample sounds on the clock of the container, in s; other than 0 if the
            sound track of a video begins later than its pictures.
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int | None
    duration: float | None
    format: str
    subtype: str
    start_time: float = 0.0


class Source(abc.ABC):
    """An open file.

    Attributes:
        info: Its header.
        position: Sample up to which the decoder has come.
        slack: Samples that may be missing at the end, because the container counts in coarser units.
    """

    info: AudioInfo
    slack: int = 0
    position: int = 0

    def read(self, start: int, end: int | None = None) -> Iterator[Samples]:
        """Blocks from sample `start` to `end`, or to where the sound ends if that comes first.

        Raises:
            TruncatedAudioError: If the file ends before `end` and before the count that its header declares.
            CorruptAudioError: If the data cannot be decoded.

        Shape:
            - each: `[C, t]` with `0 < t <= BLOCK_LENGTH`
        """
        position, declared = start, self.info.frames
        # Codecs with a fixed frame size decode to more than was recorded: the container says where to stop.
        limits = [limit for limit in (declared, end) if limit is not None]
        for block in self._decode(start, end):
            kept = block[:, : max(0, min(limits) - position)] if limits else block
            if kept.shape[1]:
                position += kept.shape[1]
                yield kept
        if declared is not None and position < min(limits) and position < declared - self.slack:
            raise self._truncated(position)

    def _truncated(self, decoded: int) -> TruncatedAudioError:
        declared = self.info.frames
        expected = "a complete file" if declared is None else f"the {declared} that its header declares"
        return TruncatedAudioError(
            self.info.path, f"{decoded} samples per channel before its data ends", expected
        )

    @abc.abstractmethod
    def _decode(self, start: int, end: int | None) -> Iterator[Samples]:
        """What the decoder yields from `start` to `end` or a little further, in blocks."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release the file; the source is of no use afterwards."""
