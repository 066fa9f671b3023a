"""From the decoder's blocks to those the user wants: range, channels, sample rate and block length.

Every stage is a generator that holds one block, so memory does not depend on the length of the file. The
decoder's blocks do not depend on the block length wanted; hence neither do the samples.
"""

import math
from collections.abc import Generator, Iterable
from types import TracebackType
from typing import Literal

import numpy as np
import torch

from audio_io.codecs.source import AudioInfo, Samples, Source
from audio_io.errors import ConfigError, InvalidSamplesError, NoAudioError
from audio_io.resampling import StreamResampler, resampled_length

Channels = Literal["all", "mono"] | int
"""Which channels: all, their mean (`mono`), or one by its number from 0 on."""


class AudioStream:
    """Blocks of a sound file; made by `stream`.

    Attributes:
        info: Header of the file.
        sample_rate: Rate of the blocks in Hz.
        channels: Channels of the blocks.
        frames: Samples per channel in all blocks together; None where the container does not count them.
            Compressed files may end up to one codec frame before.
    """

    def __init__(
        self,
        source: Source,
        block_length: int,
        sample_rate: int | None,
        channels: Channels,
        offset: float,
        duration: float | None,
    ) -> None:
        header = source.info
        self.info = header
        self.sample_rate = header.sample_rate if sample_rate is None else sample_rate
        self.channels = header.channels if channels == "all" else 1
        _check_channels(channels, header.channels)
        start, length = _range_in_samples(header, offset, duration)
        if header.frames is not None:
            rest = header.frames - start
            length = rest if length is None else min(length, rest)
        self.frames = (
            None
            if header.frames is None or length is None
            else resampled_length(length, header.sample_rate, self.sample_rate)
        )
        resampler = StreamResampler(header.sample_rate, self.sample_rate, self.channels)
        self._source = source
        samples = _select(_take(source, start, length), channels)
        self._blocks = _rearrange(_resampled(samples, resampler), block_length)

    def __iter__(self) -> "AudioStream":
        return self

    def __next__(self) -> torch.Tensor:
        """The next block, `[C, t]`."""
        try:
            return next(self._blocks)
        except BaseException:
            # At the end, too, the file is not kept open any longer.
            self.close()
            raise

    def __enter__(self) -> "AudioStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file; there are no more blocks then."""
        self._blocks.close()
        self._source.close()


def _check_channels(channels: Channels, available: int) -> None:
    if channels in {"all", "mono"}:
        return
    if isinstance(channels, bool) or not isinstance(channels, int) or not 0 <= channels < available:
        expected = (
            f"'all', 'mono' or a number from 0 to {available - 1}, as the file has {available} channels"
        )
        raise ConfigError("channels", repr(channels), expected)


def _range_in_samples(header: AudioInfo, offset: float, duration: float | None) -> tuple[int, int | None]:
    """First sample and number of samples at the rate of the file; None for all that follow."""
    if not (math.isfinite(offset) and offset >= 0):
        raise ConfigError("offset", f"{offset} s", "at least 0 s")
    start = round(offset * header.sample_rate)
    if header.frames is not None and start >= header.frames:
        raise _offset_after_end(header, offset, header.frames)
    if duration is None:
        return start, None
    length = round(duration * header.sample_rate) if math.isfinite(duration) else 0
    if length < 1:
        raise ConfigError(
            "duration", f"{duration} s", f"at least one sample ({1 / header.sample_rate:.2g} s)"
        )
    return start, length


def _offset_after_end(header: AudioInfo, offset: float, frames: int) -> ConfigError:
    expected = f"less than the duration of {header.path}, {frames / header.sample_rate:.6g} s"
    return ConfigError("offset", f"{offset} s", expected)


def _take(source: Source, start: int, length: int | None) -> Generator[Samples]:
    """The range, checked to be finite."""
    position = start
    for block in source.read(start, None if length is None else start + length):
        _check_finite(source.info, block, position)
        position += block.shape[1]
        yield block
    if position == start:
        raise _nothing_after(source, start)


def _nothing_after(source: Source, start: int) -> ConfigError | NoAudioError:
    """Only containers that do not count samples come here: the others are checked before."""
    if start == 0:
        return NoAudioError(source.info.path, "a sound track with 0 samples", "a file with sound")
    return _offset_after_end(source.info, start / source.info.sample_rate, source.position)


def _check_finite(header: AudioInfo, block: Samples, position: int) -> None:
    is_finite = np.isfinite(block)  # [C, t]
    if is_finite.all():
        return
    index = int(np.argmin(is_finite.all(axis=0)))
    channel = int(np.argmin(is_finite[:, index]))
    seconds = (position + index) / header.sample_rate
    found = f"{block[channel, index]} in channel {channel} at {seconds:.6f} s (sample {position + index})"
    raise InvalidSamplesError(header.path, found, "finite samples")


def _select(blocks: Iterable[Samples], channels: Channels) -> Generator[Samples]:
    for block in blocks:
        if channels == "all":
            yield block  # [C, t]
        elif channels == "mono":
            yield block.mean(axis=0, keepdims=True)  # [1, t]
        elif isinstance(channels, int):
            yield block[channels : channels + 1]  # [1, t]


def _resampled(blocks: Iterable[Samples], resampler: StreamResampler) -> Generator[torch.Tensor]:
    for block in blocks:
        yield resampler.process(torch.from_numpy(block))  # [C, t']
    yield resampler.flush()


def _rearrange(blocks: Iterable[torch.Tensor], block_length: int) -> Generator[torch.Tensor]:
    """The same samples in blocks of `block_length`; the last one may be shorter."""
    waiting: list[torch.Tensor] = []
    length = 0
    for block in blocks:
        waiting.append(block)
        length += block.shape[1]
        if length < block_length:
            continue
        joined = torch.cat(waiting, dim=1)  # [C, length]
        whole = length - length % block_length
        yield from (part.clone() for part in torch.split(joined[:, :whole], block_length, dim=1))
        waiting, length = [joined[:, whole:].clone()], length - whole
    if length:
        yield torch.cat(waiting, dim=1)
