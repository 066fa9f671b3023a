"""Decoding by FFmpeg, through PyAV: MP4/M4A/MOV, AAC, Matroska/WebM and the sound track of any video.

Positions are counted in samples from the first one of the track. FFmpeg drops what the container marks as the
encoder's delay (edit lists of MP4, the pre-skip of Opus), and `Source.read` cuts the padding after the end.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audio_io.codecs import mpeg
from audio_io.codecs.formats import Container
from audio_io.codecs.source import BLOCK_LENGTH, AudioInfo, Samples, Source
from audio_io.errors import AudioError, CorruptAudioError, NoAudioError

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer

# Decoders carry state over frames: MDCT overlap, SBR, Opus prediction (RFC 7845, 4.6: at least 80 ms).
# Measured on Opus, 0.1 s leaves differences of 1e-2 to decoding from the start; 0.5 s leaves less than 1e-6.
_PREROLL_SECONDS = 0.5

# Integer samples: their zero and their full scale. FFmpeg keeps 24 bits in the upper part of 32.
_INTEGERS = {"u8": (128, 128), "s16": (0, 1 << 15), "s32": (0, 1 << 31)}

# Demuxers that count samples; the others know times to the millisecond, or estimate them from the bit rate.
_COUNTING = frozenset({"mov", "wav"})
_ESTIMATING = frozenset({"aac"})


class PyAVSource(Source):
    """The sound track of a file that FFmpeg reads; of several, the first one.

    Args:
        path: The file.
        container: What `formats.identify` said.

    Raises:
        CorruptAudioError: If FFmpeg cannot open it.
        NoAudioError: If it has no sound track.
    """

    def __init__(self, path: Path, container: Container) -> None:
        import av

        self._path = path
        try:
            # With the protocol in front, a colon in the name is a colon.
            self._input: InputContainer = av.open(
                # FFmpeg expects no tag before most containers.
                mpeg.open_after_id3(path) if mpeg.has_id3(path) else f"file:{path}",
                format=container.demuxer,
                **_metadata_options(),
            )
        except (av.FFmpegError, ValueError) as error:
            raise CorruptAudioError(
                path, "a header that cannot be read", f"a valid {container.name} header"
            ) from error
        try:
            self._track = self._find_track()
            self.info = self._describe(container)
        except BaseException:
            self.close()
            raise
        self.slack = self._track.codec_context.frame_size or 0

    def _find_track(self) -> "AudioStream":
        if not self._input.streams.audio:
            kinds = ", ".join(sorted({stream.type for stream in self._input.streams})) or "no"
            raise NoAudioError(
                self._path, f"a file with {kinds} track and no sound track", "a file with sound"
            )
        track = self._input.streams.audio[0]
        # PyAV has no codec context for a codec that this build of FFmpeg does not know.
        if not getattr(track.codec_context, "sample_rate", 0) or not track.codec_context.channels:
            raise CorruptAudioError(
                self._path, "a sound track of unknown codec, rate or channels", "a known codec"
            )
        return track

    def _describe(self, container: Container) -> AudioInfo:
        track = self._track
        begin = 0 if track.start_time is None else track.start_time * _time_base(track)  # s
        start_time = float(begin - Fraction(self._input.start_time or 0, 1_000_000))
        frames, duration = self._length(container, start_time)
        return AudioInfo(
            path=self._path,
            sample_rate=track.codec_context.sample_rate,
            channels=track.codec_context.channels,
            frames=frames,
            duration=duration,
            format=container.name,
            subtype=track.codec_context.codec.canonical_name,
            start_time=start_time,
        )

    def _length(self, container: Container, start_time: float) -> tuple[int | None, float | None]:
        """Samples and seconds, as far as the container tells them."""
        track = self._track
        if container.demuxer in _ESTIMATING:
            return None, None
        if track.duration is None:
            total = self._input.duration  # µs
            return None, None if total is None else total / 1e6 - start_time
        seconds = track.duration * _time_base(track)
        if container.demuxer not in _COUNTING:
            return None, float(seconds)
        rate = track.codec_context.sample_rate
        frames = round(seconds * rate)
        if frames == 0:
            raise NoAudioError(self._path, "a sound track with 0 samples", "a file with sound")
        return frames, frames / rate

    def _decode(self, start: int, end: int | None) -> Iterator[Samples]:
        pending: list[Samples] = []
        length = 0  # of what is pending
        for frame in self._frames(start):
            # `position` is where the frame ends; it begins at or before `start` if it is the first one kept.
            skipped = max(0, start - (self.position - frame.samples))
            samples = self._to_float(frame)[:, skipped:]  # [C, t]
            if pending and length + samples.shape[1] > BLOCK_LENGTH:
                yield np.concatenate(pending, axis=1)
                pending, length = [], 0
            pending.append(samples)
            length += samples.shape[1]
            if end is not None and self.position >= end:
                break
        if pending:
            yield np.concatenate(pending, axis=1)

    def _seek_before(self, start: int) -> bool:
        """Move to a packet before sample `start` where time stamps are exact; else stay at the beginning."""
        rate, time_base = self.info.sample_rate, _time_base(self._track)
        target = start - round(_PREROLL_SECONDS * rate)
        counts_samples = self.info.frames is not None and (time_base * rate).denominator == 1
        if target <= 0 or not counts_samples:
            return False
        ticks = target / (time_base * rate) + (self._track.start_time or 0)
        self._input.seek(int(ticks), stream=self._track)
        return True

    def _position_of(self, frame: "av.AudioFrame", start: int) -> int:
        ticks = None if frame.pts is None else frame.pts - (self._track.start_time or 0)
        position = None if ticks is None else round(ticks * _time_base(self._track) * self.info.sample_rate)
        if position is None or position > start:
            raise CorruptAudioError(
                self._path, f"an index that leads past sample {start}", "an index to seek by"
            )
        return position

    def _frames(self, start: int) -> Iterator["av.AudioFrame"]:
        """Frames that end after sample `start`; `position` is the sample after the one just yielded."""
        import av

        is_placed = not self._seek_before(start)
        self.position = 0
        packets = self._input.demux(self._track)
        try:
            for packet in packets:
                for frame in packet.decode():
                    if not is_placed:
                        self.position = self._position_of(frame, start)
                        is_placed = True
                    self.position += frame.samples
                    if self.position > start:
                        yield frame
        except av.FFmpegError as error:
            raise self._explain(error, packets) from error

    def _explain(self, error: "av.FFmpegError", packets: "Iterator[av.Packet[AudioStream]]") -> AudioError:
        """Tell a file that was cut off within its last packet from one that is damaged inside."""
        import av

        try:
            if not any(packet.size for packet in packets):
                return self._truncated(self.position)
        except av.FFmpegError:
            pass  # the container is damaged as well
        found = f"data that cannot be decoded after {self.position} samples: {error.strerror}"
        return CorruptAudioError(self._path, found, f"{self.info.subtype} data")

    def _to_float(self, frame: "av.AudioFrame") -> Samples:
        if frame.sample_rate != self.info.sample_rate or frame.layout.nb_channels != self.info.channels:
            found = f"a change to {frame.sample_rate} Hz and {frame.layout.nb_channels} channels"
            expected = f"{self.info.sample_rate} Hz and {self.info.channels} channels throughout"
            raise CorruptAudioError(self._path, found, expected)
        samples = frame.to_ndarray()
        if not frame.format.is_planar:
            samples = samples.reshape(-1, self.info.channels).T  # [C, t]
        zero, scale = _INTEGERS.get(frame.format.name.removesuffix("p"), (0, 1))
        if scale == 1:
            return np.ascontiguousarray(samples, dtype=np.float32)
        return ((samples.astype(np.float64) - zero) / scale).astype(np.float32)

    def close(self) -> None:
        """Release the file."""
        self._input.close()


def _metadata_options() -> dict[str, Any]:
    """What lets files be read whose title or comment is not UTF-8; PyAV does so unasked from version 19."""
    import av

    return {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


def _time_base(track: "AudioStream") -> Fraction:
    return track.time_base or Fraction(1, track.codec_context.sample_rate)
