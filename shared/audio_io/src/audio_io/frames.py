"""Frames of a signal, their sum back into one, and long signals in overlapping chunks.

`frame` and `overlap_add` are transposes of each other: the one copies a sample into every frame that covers
it, the other sums what the frames say about a sample. `<frame(x), y> = <x, overlap_add(y)>` holds for all x
and y.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from audio_io.errors import ConfigError
from audio_io.tracing import sizes

Fade = Literal["linear", "hann"]


def frame(x: Tensor, frame_length: int, hop_length: int) -> Tensor:
    """The complete frames of a signal, as a view of its memory.

    Samples after the last complete frame are left out; nothing is padded.

    Args:
        x: Signal.
        frame_length: Samples per frame, 1 to T.
        hop_length: Samples from one frame's start to the next, at least 1.

    Returns:
        Frames in order of time.

    Raises:
        ConfigError: If a length is out of range.

    Shape:
        Input: [..., T]
        Output: [..., K, frame_length] with K = 1 + floor((T - frame_length) / hop_length)

    >>> frame(torch.arange(6), frame_length=4, hop_length=2).tolist()
    [[0, 1, 2, 3], [2, 3, 4, 5]]
    """
    _check_at_least_one("hop_length", hop_length)
    _check_at_least_one("frame_length", frame_length)
    if x.shape[-1] < frame_length:
        raise ConfigError("frame_length", frame_length, f"at most the signal's length, {x.shape[-1]} samples")
    return x.unfold(-1, frame_length, hop_length)


def overlap_add(frames: Tensor, hop_length: int) -> Tensor:
    """The signal whose samples are the sums of all frame samples that fall on them.

    Frames are cut into R = ceil(N / hop) blocks of one hop. Block r of frame k lands on block k + r of the
    signal, so a matrix with row r moved right by r has the answer in its column sums. Moving the rows needs
    no scatter: with R zeros appended to every row of length K, reading the same memory with rows one shorter
    starts row r exactly r positions early. Only pad, reshape, slice and sum are left, which every exporter
    knows.

    Args:
        frames: Frames in order of time.
        hop_length: Samples from one frame's start to the next, at least 1; above N it leaves gaps of zeros.

    Returns:
        The sum, not normalised by any window.

    Raises:
        ConfigError: If the hop is below 1.

    Shape:
        Input: [..., K, N]
        Output: [..., T] with T = (K - 1) * hop_length + N

    >>> overlap_add(torch.ones(3, 4), hop_length=2).tolist()
    [1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0]
    """
    _check_at_least_one("hop_length", hop_length)
    *lead, n_frames, length = sizes(frames)
    n_blocks = -(-length // hop_length)
    width = n_frames + n_blocks - 1
    blocks = F.pad(frames, (0, n_blocks * hop_length - length))  # [..., K, R * hop]
    blocks = blocks.reshape(*lead, n_frames, n_blocks, hop_length).transpose(-3, -2)  # [..., R, K, hop]
    rows = F.pad(blocks, (0, 0, 0, n_blocks))  # [..., R, K + R, hop]
    rows = rows.reshape(*lead, n_blocks * (n_frames + n_blocks), hop_length)
    rows = rows[..., : n_blocks * width, :].reshape(*lead, n_blocks, width, hop_length)
    signal = rows.sum(-3).reshape(*lead, width * hop_length)  # [..., (K + R - 1) * hop]
    return signal[..., : (n_frames - 1) * hop_length + length]


class Frame(nn.Module):
    """Module twin of `frame`; the arguments and shapes are the same."""

    def __init__(self, frame_length: int, hop_length: int) -> None:
        super().__init__()
        self.frame_length = frame_length
        self.hop_length = hop_length

    def forward(self, x: Tensor) -> Tensor:
        """The frames of `x`."""
        return frame(x, self.frame_length, self.hop_length)


class OverlapAdd(nn.Module):
    """Module twin of `overlap_add`; the arguments and shapes are the same."""

    def __init__(self, hop_length: int) -> None:
        super().__init__()
        self.hop_length = hop_length

    def forward(self, frames: Tensor) -> Tensor:
        """The sum of overlapping `frames`."""
        return overlap_add(frames, self.hop_length)


def iter_chunks(
    fn: Callable[[Tensor], Tensor], x: Tensor, chunk_length: int, overlap: int, *, fade: Fade = "linear"
) -> Iterator[Tensor]:
    """Finished pieces of `fn(x)`, computed in overlapping chunks and cross-faded where two chunks meet.

    The first overlap samples of a chunk move from the earlier chunk's answer a to the later one's b as
    `a + w (b - a)`; where both agree the result is that value to the bit, so the identity comes back
    unchanged. At most one chunk and its overlap are held at a time, so pieces of any total length can be
    written to disk.

    Args:
        fn: Called with `[..., chunk_length]`, always this length (the last chunk is padded with zeros), so a
            model
            of fixed shape fits. It keeps the last dimension and may change the others.
        x: Signal of at least one sample.
        chunk_length: Samples per chunk, at least 1.
        overlap: Samples that neighbouring chunks share, 0 to half a chunk.
        fade: Course of w over the overlap: a straight line, or the rising half of a Hann window.

    Yields:
        Pieces that follow each other without a gap.

    Raises:
        ConfigError: If a length is out of range, or `fn` changes the number of samples.

    Shape:
        Input: [..., T]
        Output: pieces [..., T_i] with the T_i adding up to T
    """
    _check_at_least_one("chunk_length", chunk_length)
    if not 0 <= overlap <= chunk_length // 2:
        raise ConfigError("overlap", overlap, f"0 to {chunk_length // 2} samples (half of chunk_length)")
    total = x.shape[-1]
    _check_at_least_one("length of x", total)
    hop = chunk_length - overlap
    tail: Tensor | None = None
    for start in range(0, max(total - overlap, 1), hop):
        chunk = x[..., start : start + chunk_length]
        result = fn(F.pad(chunk, (0, chunk_length - chunk.shape[-1])))
        if result.shape[-1] != chunk_length:
            raise ConfigError("fn", f"{result.shape[-1]} samples out", f"{chunk_length}, as many as went in")
        if tail is not None:
            mixed = tail + _fade_in(overlap, fade).to(result) * (result[..., :overlap] - tail)
            result = torch.cat([mixed, result[..., overlap:]], dim=-1)
        tail = result[..., hop:]
        last = start + chunk_length >= total
        yield result[..., : total - start if last else hop]


def chunk_apply(
    fn: Callable[[Tensor], Tensor], x: Tensor, chunk_length: int, overlap: int, *, fade: Fade = "linear"
) -> Tensor:
    """`fn(x)` for a signal too long for one call: the pieces of `iter_chunks`, joined.

    Args:
        fn: See `iter_chunks`.
        x: Signal of at least one sample.
        chunk_length: Samples per chunk, at least 1.
        overlap: Samples that neighbouring chunks share, 0 to half a chunk.
        fade: Course of the cross-fade.

    Returns:
        As many samples as `x` has; equal to `x` to the bit if `fn` is the identity.

    Raises:
        ConfigError: See `iter_chunks`.

    Shape:
        Input: [..., T]
        Output: [..., T], the leading dimensions as `fn` returns them

    >>> chunk_apply(lambda chunk: 2 * chunk, torch.arange(5.0), chunk_length=4, overlap=2).tolist()
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    return torch.cat(list(iter_chunks(fn, x, chunk_length, overlap, fade=fade)), dim=-1)


def _fade_in(length: int, fade: Fade) -> Tensor:
    # Sampled at half positions: the ramp never reaches 0 or 1, and w(n) + w(length - 1 - n) = 1.
    ramp = (torch.arange(length, dtype=torch.float64, device="cpu") + 0.5) / max(length, 1)
    if fade == "linear":
        return ramp
    if fade == "hann":
        return torch.sin(0.5 * torch.pi * ramp).square()
    raise ConfigError("fade", repr(fade), "linear or hann")


def _check_at_least_one(field: str, value: int) -> None:
    if value < 1:
        raise ConfigError(field, value, "at least 1 sample")
