"""Wave-U-Net: a U-Net on the waveform, one for each stem.

The published PyTorch version: six levels, resampling by four with a fixed low-pass filter, group norm, and
convolutions without padding, so that the network reads more than it gives. `analysis` puts zeros around the
waveform for that, as the authors do at the ends of a song. The names of the weights are those of the authors.

Reference:
    Stoller, Ewert, Dixon, "Wave-U-Net: A Multi-Scale Neural Network for End-to-End Audio Source Separation",
    ISMIR 2018; https://github.com/f90/Wave-U-Net-Pytorch
"""

import math
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from separation_coreml.checkpoints import WeightsNotFoundError, fill, network_state, read_checkpoint
from separation_coreml.families.base import Separator
from separation_coreml.registry import ModelSpec

_NORM_CHANNELS = 8  # in a group
_FILTER_LENGTH = 15


class _Convolution(nn.Module):
    """Convolution without padding, group norm, ReLU."""

    def __init__(self, before: int, after: int, kernel_size: int) -> None:
        super().__init__()
        self.filter = nn.Conv1d(before, after, kernel_size)
        self.norm = nn.GroupNorm(after // _NORM_CHANNELS, after)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.filter(x)))


class _Resampler(nn.Module):
    """Keeps every `stride`-th sample, or puts `stride - 1` between each two, behind a low-pass filter."""

    def __init__(self, channels: int, stride: int, *, up: bool) -> None:
        super().__init__()
        self.stride, self.up = stride, up
        self.filter = nn.Parameter(_low_pass(0.5 / stride).repeat(channels, 1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        channels, half = x.shape[1], _FILTER_LENGTH // 2
        padded = functional.pad(x, (half, half), mode="reflect")
        if not self.up:
            return functional.conv1d(padded, self.filter, stride=self.stride, groups=channels)
        wanted = (x.shape[-1] - 1) * self.stride + 1
        wide = functional.conv_transpose1d(padded, self.filter, stride=self.stride, groups=channels)
        return _centre(wide, wanted)


class _Down(nn.Module):
    def __init__(self, before: int, kept: int, after: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.pre_shortcut_convs = nn.ModuleList([_Convolution(before, kept, kernel_size)])
        self.post_shortcut_convs = nn.ModuleList([_Convolution(kept, after, kernel_size)])
        self.downconv = _Resampler(after, stride, up=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shortcut = self.pre_shortcut_convs[0](x)
        return self.downconv(self.post_shortcut_convs[0](shortcut)), shortcut


class _Up(nn.Module):
    def __init__(self, before: int, after: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.upconv = _Resampler(before, stride, up=True)
        self.pre_shortcut_convs = nn.ModuleList([_Convolution(before, after, kernel_size)])
        self.post_shortcut_convs = nn.ModuleList([_Convolution(2 * after, after, kernel_size)])

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        x = self.pre_shortcut_convs[0](self.upconv(x))
        joined = torch.cat([_centre(shortcut, x.shape[-1]), x], dim=1)
        combined: Tensor = self.post_shortcut_convs[0](joined)
        return combined


class _UNet(nn.Module):
    def __init__(self, channels: int, outputs: int, widths: list[int], kernel_size: int, stride: int) -> None:
        super().__init__()
        levels = list(pairwise(widths))
        self.downsampling_blocks = nn.ModuleList(
            _Down(channels if index == 0 else kept, kept, after, kernel_size, stride)
            for index, (kept, after) in enumerate(levels)
        )
        self.upsampling_blocks = nn.ModuleList(
            _Up(before, after, kernel_size, stride) for after, before in reversed(levels)
        )
        self.bottlenecks = nn.ModuleList([_Convolution(widths[-1], widths[-1], kernel_size)])
        self.output_conv = nn.Conv1d(widths[0], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        shortcuts: list[Tensor] = []
        for block in self.downsampling_blocks:
            x, shortcut = block(x)
            shortcuts.append(shortcut)
        x = self.bottlenecks[0](x)
        for block in self.upsampling_blocks:
            x = block(x, shortcuts.pop())
        # The authors clip where they do not train.
        return torch.clamp(self.output_conv(x), -1.0, 1.0)


class WaveUNetSeparator(Separator):
    """Wave-U-Net.

    Args:
        stems: Their names; each has a network of its own.
        sample_rate: In Hz.
        channels: Of the mixture and of each stem.
        segment: In samples.
        overlap: See `Separator`.
        features: Channels of the first level; each further one has twice as many.
        levels: How many there are.
        kernel_size: Of the convolutions; odd.
        stride: What each level resamples by.

    Shape:
        - core input: waveform with zeros around it, `[B, channels, T']`
        - core output: stems `[B, stems, channels, T'']`, `T''` at least the length of the waveform
    """

    def __init__(
        self,
        stems: tuple[str, ...],
        *,
        sample_rate: int,
        channels: int,
        segment: int,
        overlap: float,
        features: int,
        levels: int,
        kernel_size: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.stems, self.sample_rate, self.channels = stems, sample_rate, channels
        self.segment, self.overlap = segment, overlap
        self._levels, self._kernel_size, self._stride = levels, kernel_size, stride
        widths = [features * 2**level for level in range(levels)]
        self.waveunets = nn.ModuleDict(
            {stem: _UNet(channels, channels, widths, kernel_size, stride) for stem in stems}
        )

    def analysis(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """The waveform with zeros around it."""
        before, total = self._context(waveform.shape[-1])
        return (functional.pad(waveform, (before, total - before - waveform.shape[-1])),)

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The networks."""
        (waveform,) = inputs
        return (torch.stack([self.waveunets[stem](waveform) for stem in self.stems], dim=1),)

    def synthesis(self, outputs: tuple[Tensor, ...], length: int) -> Tensor:
        """What the networks give over the length of the waveform."""
        (stems,) = outputs
        return stems[..., :length]

    def _context(self, length: int) -> tuple[int, int]:
        """Zeros before the waveform, and the length that the network has to read to give `length` samples."""
        margin = self._kernel_size - 1
        # With less the resampling filters of the narrowest level would have too little to mirror.
        given, narrowest = 0, _FILTER_LENGTH // 2
        while given < length:
            narrowest += 1
            given = narrowest
            for _ in range(self._levels - 1):
                given = (given - 1) * self._stride + 1 - 2 * margin if given > 1 else 0
        read = narrowest + margin
        for _ in range(self._levels - 1):
            read = (read - 1) * self._stride + 1 + 2 * margin
        return (read - given) // 2, read


def _centre(x: Tensor, length: int) -> Tensor:
    start = (x.shape[-1] - length) // 2
    return x[..., start : start + length]


def _low_pass(cutoff: float) -> Tensor:
    """The authors' filter, `[1, 1, 15]`: a windowed sinc whose middle value is left without the window.

    The window is Blackman's but for its second cosine, which is 1 throughout (in the authors' formula its
    argument does not depend on the position).
    """
    last = _FILTER_LENGTH - 1
    values = []
    for index in range(_FILTER_LENGTH):
        distance = index - last // 2
        if distance == 0:
            values.append(2 * math.pi * cutoff)
        else:
            window = 0.42 - 0.5 * math.cos(2 * math.pi * index / last) + 0.08
            values.append(math.sin(2 * math.pi * cutoff * distance) / distance * window)
    taps = torch.tensor(values, dtype=torch.float32, device="cpu")
    return (taps / taps.sum()).reshape(1, 1, -1)


def build(spec: ModelSpec, segment: int) -> Separator:
    """The network of a model of this family, without trained weights."""
    return WaveUNetSeparator(
        spec.stems,
        sample_rate=spec.sample_rate,
        channels=spec.channels,
        segment=segment,
        overlap=spec.overlap,
        **spec.options,
    )


def load(separator: Separator, spec: ModelSpec, checkpoint: Path | None) -> None:
    """Put trained weights into a separator of this family.

    Args:
        separator: From `build`.
        spec: Its model.
        checkpoint: A checkpoint of the authors' programs, or a state dict.

    Raises:
        FileError: If the file cannot be read or is of another model.
        WeightsNotFoundError: If there is no checkpoint: the authors publish an archive (`.7z`) only.
    """
    if checkpoint is None:
        raise WeightsNotFoundError(
            f"model: the weights of {spec.name!r} are published as an archive at {spec.source} (models.7z); "
            "unpack it and give the file: --checkpoint waveunet/model"
        )
    fill(separator, network_state(read_checkpoint(checkpoint)), checkpoint, title=spec.name)
