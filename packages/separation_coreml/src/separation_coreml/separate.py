"""From a song to its stems: segments that overlap, weighted and summed, at constant memory.

Each segment is weighted with a triangle and the sum divided by the sum of the weights, as demucs does it
(`demucs.apply`, `transition_power=1`). With `placement="demucs"` the result is that of
`demucs.apply.apply_model(shifts=0, split=True)`. The default, `even`, takes the least number of segments that
overlap as asked and spreads them evenly: demucs starts one every stride up to the end of the song, so that
its last one is often mostly padding.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from audio_io.errors import ConfigError
from audio_io.progress import Progress
from audio_io.resampling import resample
from audio_io.settings import check, setting
from separation_coreml.engines import Engine

Placement = Literal["even", "demucs"]
# What demucs adds to the standard deviation.
_LEAST_DEVIATION = 1e-8


@dataclass(frozen=True)
class SeparateConfig:
    """How a song is cut into segments.

    Raises:
        ConfigError: If a value is outside its bounds.
    """

    placement: Placement = setting("even", "where segments start: spread evenly, or as demucs does")
    overlap: float | None = setting(
        None,
        "share of a segment that the next one covers again, the model's own if none",
        minimum=0.0,
        maximum=0.95,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Level:
    """Of a song: what is taken out of it before it is separated and put back after.

    Attributes:
        mean: Of the mean of the channels.
        deviation: Of the mean of the channels.
        length: In samples.
    """

    mean: float
    deviation: float
    length: int


def separate(
    waveform: Tensor,
    sample_rate: int,
    engine: Engine,
    *,
    config: SeparateConfig | None = None,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """Stems of a song in memory.

    Args:
        waveform: Full scale ±1. One channel is doubled where the model has two.
        sample_rate: In Hz; if it is not the model's, the waveform is resampled, and the stems have the
            model's rate.
        engine: The model.
        config: How the song is cut.
        progress: Advanced in seconds of audio.

    Returns:
        Stems by name, at the rate of the model.

    Raises:
        ConfigError: If the waveform has no samples, another number of channels, NaN or infinity, or the
            model gives NaN or infinity.

    Shape:
        - waveform: `[C, T]` or `[T]`
        - each stem: `[channels, T']`
    """
    if waveform.dim() not in {1, 2} or waveform.numel() == 0:
        raise ConfigError(
            "waveform", f"shape {list(waveform.shape)}", "[C, T] or [T] with at least one sample"
        )
    if not torch.isfinite(waveform).all():
        raise ConfigError("waveform", "samples that are NaN or infinite", "finite samples")
    mixture = resample(waveform.detach().cpu().float(), sample_rate, engine.sample_rate)
    mixture = match_channels(mixture.reshape(-1, mixture.shape[-1]), engine.channels)
    level = measure([mixture])
    parts = list(stream_stems([mixture], level, engine, config=config, progress=progress))
    return dict(zip(engine.stems, torch.cat(parts, dim=-1), strict=True))


def match_channels(block: Tensor, channels: int) -> Tensor:
    """The block with as many channels as a model has.

    Raises:
        ConfigError: If it has more than one, and another number.

    Shape:
        - block: `[C, T]`
        - output: `[channels, T]`
    """
    if len(block) == channels:
        return block
    if len(block) != 1:
        raise ConfigError("channels", len(block), "1" if channels == 1 else f"1 or {channels}")
    return block.expand(channels, -1)


def measure(blocks: Iterable[Tensor]) -> Level:
    """Mean, standard deviation and length of a song, block by block.

    Reference:
        Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
        COMPSTAT 1982.

    Shape:
        - each block: `[C, t]`
    """
    count, mean, squares = 0, 0.0, 0.0
    for block in blocks:
        mono = block.mean(0).double()
        size = len(mono)
        if size == 0:
            continue
        block_mean = float(mono.mean())
        difference = block_mean - mean
        squares += float(((mono - block_mean) ** 2).sum()) + difference**2 * count * size / (count + size)
        mean += difference * size / (count + size)
        count += size
    return Level(mean, math.sqrt(squares / max(count - 1, 1)), count)


def starts(length: int, segment: int, overlap: float, placement: Placement) -> list[int]:
    """Where segments start, in samples.

    Args:
        length: Of the song.
        segment: Of a segment.
        overlap: Least share of a segment that the next one covers again.
        placement: `demucs`: one every stride up to the end. `even`: the fewest that will do, spread from the
            beginning to the end.

    Example:
        >>> starts(25, 10, 0.25, "demucs")
        [0, 7, 14, 21]
        >>> starts(25, 10, 0.25, "even")
        [0, 5, 10, 15]
        >>> starts(24, 10, 0.25, "even")
        [0, 7, 14]
    """
    stride = max(int((1 - overlap) * segment), 1)
    if placement == "demucs":
        return list(range(0, length, stride))
    steps = math.ceil(max(length - segment, 0) / stride)
    return [round(step * (length - segment) / steps) for step in range(steps + 1)] if steps else [0]


def stream_stems(
    blocks: Iterable[Tensor],
    level: Level,
    engine: Engine,
    *,
    config: SeparateConfig | None = None,
    progress: Progress | None = None,
) -> Iterator[Tensor]:
    """Stems of a song that comes block by block; they come as soon as no later segment changes them.

    Args:
        blocks: The mixture at the rate of the model.
        level: Of the whole song, from `measure`.
        engine: The model.
        config: How the song is cut.
        progress: Advanced in seconds of audio.

    Raises:
        ConfigError: If the model gives NaN or infinity, or the blocks end before the length of the level.

    Shape:
        - each block: `[channels, t]`
        - each output: `[stems, channels, t']`; joined they are as long as the song
    """
    config = SeparateConfig() if config is None else config
    overlap = engine.overlap if config.overlap is None else config.overlap
    mean, deviation = (level.mean, level.deviation + _LEAST_DEVIATION) if engine.normalize else (0.0, 1.0)
    segment, length = engine.segment, level.length
    weight = _triangle(segment)
    # The zeros beyond the ends are zeros of the normalised song.
    window = _Window(((block - mean) / deviation for block in blocks), engine.channels, length)
    total = torch.zeros(len(engine.stems), engine.channels, segment)
    weights = torch.zeros(segment)
    begins = starts(length, segment, overlap, config.placement)
    for begin, following in zip(begins, [*begins[1:], length], strict=True):
        inside = min(segment, length - begin)
        # A segment that reaches beyond the end is moved so that what is inside lies in its middle; what comes
        # before is then read again, as in demucs.
        before = (segment - inside) // 2
        stems = engine.run(window.read(begin - before, segment))[..., before : before + inside]
        _check_finite(stems, begin, engine)
        total[..., :inside] += weight[:inside] * stems
        weights[:inside] += weight[:inside]
        ready = following - begin
        yield total[..., :ready] / weights[:ready] * deviation + mean
        total = torch.cat([total[..., ready:], torch.zeros_like(total[..., :ready])], dim=-1)
        weights = torch.cat([weights[ready:], torch.zeros(ready)])
        if progress is not None:
            progress.advance(ready / engine.sample_rate)


def _check_finite(stems: Tensor, begin: int, engine: Engine) -> None:
    """Half precision may overflow: such stems must not be written as if they were sound."""
    if torch.isfinite(stems).all():
        return
    stem, channel, index = (~torch.isfinite(stems)).nonzero()[0].tolist()
    value, place = float(stems[stem, channel, index]), (begin + index) / engine.sample_rate
    raise ConfigError(
        "model",
        f"{value} in the stem {engine.stems[stem]} at {place:.2f} s",
        "finite samples (float16 may overflow, which --precision mixed or fp32 of convert avoids)",
    )


def _triangle(length: int) -> Tensor:
    """Weights that rise to 1 in the middle, `[length]`."""
    half = length // 2
    rising = torch.cat([torch.arange(1, half + 1), torch.arange(length - half, 0, -1)])
    return rising / rising.max()


class _Window:
    """Reads a stream at places that hardly go back; beyond its ends there are zeros.

    Args:
        blocks: The stream, each block `[C, t]`.
        channels: Of the stream.
        length: Of the stream in samples.
    """

    def __init__(self, blocks: Iterable[Tensor], channels: int, length: int) -> None:
        self._blocks = iter(blocks)
        self._kept: deque[Tensor] = deque()
        self._first = self._next = 0  # positions in the stream of what is kept: from, to
        self._channels, self._length = channels, length

    def read(self, begin: int, length: int) -> Tensor:
        """The samples from `begin` on, `[C, length]`."""
        end = min(begin + length, self._length)
        while self._next < end:
            block = next(self._blocks, None)
            if block is None:
                raise ConfigError("waveform", f"{self._next} samples", f"{self._length}, as were measured")
            self._kept.append(block)
            self._next += block.shape[-1]
        # A later segment may reach back by half its length.
        while self._first + self._kept[0].shape[-1] < begin - length:
            self._first += self._kept.popleft().shape[-1]
        joined = torch.cat(list(self._kept), dim=-1)
        inside = joined[:, max(begin, 0) - self._first : end - self._first]
        output = torch.zeros(self._channels, length)
        output[:, max(-begin, 0) : max(-begin, 0) + inside.shape[-1]] = inside
        return output
