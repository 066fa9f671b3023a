"""Samples in, frames out, however the samples are cut into blocks."""

from typing import Any

import torch
from torch import Tensor

from pitch.constants import WINDOW_SIZE

# What the process has as its default type and device is for tensors of its own.
_FORM: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}


class Framer:
    """Cuts a signal that comes in pieces into frames centred on the multiples of the hop.

    Zeros stand beyond both ends of the signal. What is kept between calls is less than a window and
    `multiple` hops.

    Args:
        hop_length: Step between frames, in samples.
        multiple: Frames are given out this many at a time, as a network that works in batches wants them;
            1 gives each out as soon as its last sample is there.

    Shape:
        T samples make `1 + T // hop_length` frames, none if T is 0
    """

    def __init__(self, hop_length: int, *, multiple: int = 1) -> None:
        self.hop_length = hop_length
        self.multiple = multiple
        self.reset()

    def reset(self) -> None:
        """Forget all samples; the framer is ready for another signal."""
        self._buffer = torch.zeros(WINDOW_SIZE // 2, **_FORM)
        # Samples to come that no frame covers, where the hop is longer than the window.
        self._skip = 0
        self._is_empty = True

    def push(self, samples: Tensor) -> Tensor:
        """The frames that these samples complete; a multiple of `multiple`.

        Shape:
            - samples: `[t]` with any t
            - Output: `[N, 1024]`, a view
        """
        self._is_empty = self._is_empty and len(samples) == 0
        return self._take(samples, self.multiple)

    def finish(self) -> Tensor:
        """The frames that reach beyond the end; then the framer is ready for another signal.

        Shape:
            - Output: `[N, 1024]`
        """
        if self._is_empty:
            return torch.zeros(0, WINDOW_SIZE, **_FORM)
        frames = self._take(torch.zeros(WINDOW_SIZE // 2, **_FORM), 1)
        self.reset()
        return frames

    def _take(self, samples: Tensor, multiple: int) -> Tensor:
        skipped = min(self._skip, len(samples))
        self._skip -= skipped
        buffer = torch.cat([self._buffer, samples[skipped:]])
        ready = max(0, 1 + (len(buffer) - WINDOW_SIZE) // self.hop_length)
        count = ready // multiple * multiple
        used = count * self.hop_length
        self._skip += max(0, used - len(buffer))
        # A copy: the view given out would keep the whole block alive.
        self._buffer = buffer[used:].clone()
        if count == 0:
            return torch.zeros(0, WINDOW_SIZE, **_FORM)
        return buffer.unfold(0, WINDOW_SIZE, self.hop_length)[:count]
