"""A small separator of our own: masks for the spectrogram of the mixture, from convolutions over time.

The network looks at the logarithm of the power of both channels, at full resolution up to 5.5 kHz, in pairs
of bins up to 11 kHz and in fours above. These 1,024 values a channel are cut into 16 bands. Every block has a
path in which a band knows itself alone (a convolution in groups), and a narrow one in which all bands know
each other; dilations give a context of 0.7 s to either side. What comes out are the shares of the stems in
each value, which sum to one, so that the stems sum to the mixture. The phase is that of the mixture.

It is trained on rendered songs (`separation_coreml.training`), and its weights are part of the package.

References:
    Bands with weights of their own: Luo, Yu, "Music Source Separation with Band-Split RNN", IEEE/ACM
    Transactions on Audio, Speech, and Language Processing 31, 2023. Dilated convolutions for masks: Luo,
    Mesgarani, "Conv-TasNet: Surpassing Ideal Time-Frequency Magnitude Masking for Speech Separation",
    IEEE/ACM Transactions on Audio, Speech, and Language Processing 27(8), 2019.
"""

import math
from importlib.resources import as_file, files
from pathlib import Path

import torch
from torch import Tensor, nn

from audio_io.atomic import file_digest
from separation_coreml.checkpoints import CheckpointError, fill, read_checkpoint
from separation_coreml.families.base import Separator, StftSettings
from separation_coreml.registry import ModelSpec

N_FFT, HOP_LENGTH = 4096, 1024
# How many bins share a value, and how many such values there are, from low to high. The highest bin, at half
# the sample rate, has the value of the one below.
POOLS = ((1, 512), (2, 256), (4, 256))
_VALUES = sum(count for _, count in POOLS)
_BANDS = 16
_DILATIONS = (1, 2, 4, 8)
# Spectra are divided by this before they are squared; of a song of standard deviation 1 white noise has the
# power 64 then. In half precision the floor is no subnormal number, which some hardware takes for zero, and
# powers beyond the ceiling (of a tone alone) are no overflow. The network itself counts from white noise.
SCALE, _FLOOR, _CEILING = 5.0, 6.4e-5, 6e4
_WHITE = math.log(64)


class SmallSeparator(Separator):
    """The small separator; the core takes and gives real and imaginary parts of each channel in turn.

    Args:
        stems: What comes out, in order.
        width: Channels of the network in each band.
        narrow: Channels of the path between the bands.
        sample_rate: In Hz.
        segment: See `Separator`.
        overlap: See `Separator`.

    Shape:
        - core input: `[B, 2 · channels, F, frames]`
        - core output: `[B, stems, 2 · channels, F, frames]`
    """

    core_inputs = ("spectrogram",)
    core_outputs = ("spectrograms",)
    any_frames = True
    normalize = True

    window: Tensor

    def __init__(
        self,
        stems: tuple[str, ...],
        *,
        width: int,
        narrow: int,
        sample_rate: int,
        segment: int,
        overlap: float,
    ) -> None:
        super().__init__()
        self.stems, self.channels = stems, 2
        self.sample_rate, self.segment, self.overlap = sample_rate, segment, overlap
        self.stft, self.least_segment = StftSettings(N_FFT, HOP_LENGTH, N_FFT), N_FFT // 2 + 1
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.network = ShareNetwork(self.channels, len(stems), width, narrow)

    def analysis(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """The spectrogram of the waveform."""
        spectrum = torch.stft(
            waveform.flatten(0, 1), N_FFT, HOP_LENGTH, window=self.window, return_complex=True
        )
        pairs = torch.view_as_real(spectrum).permute(0, 3, 1, 2)  # [B · C, 2, F, frames]
        return (pairs.reshape(len(waveform), 2 * self.channels, *pairs.shape[-2:]),)

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The shares, applied."""
        (spectrogram,) = inputs
        parts = torch.unflatten((spectrogram / SCALE).square(), 1, (self.channels, 2))
        # Stems and channels are one dimension meanwhile: coremltools needs one more to repeat values.
        shares = self.network(pool(parts.sum(2))).flatten(1, 2)
        masks = spread(shares).repeat_interleave(2, dim=1)
        return (torch.unflatten(masks, 1, (len(self.stems), -1)) * spectrogram[:, None],)

    def synthesis(self, outputs: tuple[Tensor, ...], length: int) -> Tensor:
        """The inverse STFT of each stem."""
        (spectrograms,) = outputs
        batch, stems, _, bins, frames = spectrograms.shape
        pairs = spectrograms.reshape(-1, 2, bins, frames).permute(0, 2, 3, 1).contiguous()
        waveform = torch.istft(
            torch.view_as_complex(pairs), N_FFT, HOP_LENGTH, window=self.window, length=length
        )
        return waveform.reshape(batch, stems, self.channels, length)


def pool(spectrogram: Tensor) -> Tensor:
    """Means over the bins that share a value.

    Shape:
        - input: `[..., F, frames]`
        - output: `[..., 1024, frames]`
    """
    # Counted from the front, here and in `spread`: torch's ONNX exporter puts what a negative dimension means
    # into a constant that other operations share.
    dim = spectrogram.dim() - 2
    parts, first = [], 0
    for bins, count in POOLS:
        part = spectrogram.narrow(dim, first, bins * count)
        parts.append(torch.unflatten(part, dim, (count, bins)).mean(dim + 1) if bins > 1 else part)
        first += bins * count
    return torch.cat(parts, dim=dim)


def spread(values: Tensor) -> Tensor:
    """The values for each bin; the way back from `pool`.

    Shape:
        - input: `[..., 1024, frames]`
        - output: `[..., F, frames]`
    """
    dim = values.dim() - 2
    each = torch.split(values, [count for _, count in POOLS], dim=dim)
    parts = [
        part.repeat_interleave(bins, dim=dim) if bins > 1 else part
        for (bins, _), part in zip(POOLS, each, strict=True)
    ]
    return torch.cat([*parts, values[..., -1:, :]], dim=dim)


class ShareNetwork(nn.Module):
    """From the power of the mixture to the share of each stem in it.

    Args:
        channels: Of the mixture.
        stems: How many.
        width: Channels of the network in each band.
        narrow: Channels of the path between the bands.

    Shape:
        - input: `[B, channels, 1024, frames]`
        - output: `[B, stems, channels, 1024, frames]`, from 0 to 1, of sum 1 over the stems
    """

    def __init__(self, channels: int, stems: int, width: int, narrow: int) -> None:
        super().__init__()
        self.channels, self.stems = channels, stems
        wide = _BANDS * width
        self.entry = nn.Sequential(
            nn.BatchNorm1d(channels * _VALUES),
            nn.Conv1d(channels * _VALUES, wide, 3, padding=1, groups=_BANDS),
        )
        self.blocks = nn.Sequential(*(_Block(wide, narrow, dilation) for dilation in _DILATIONS))
        self.exit = nn.Sequential(
            nn.BatchNorm1d(wide),
            nn.ReLU(),
            nn.Conv1d(wide, stems * channels * _VALUES, 1, groups=_BANDS),
        )

    def forward(self, power: Tensor) -> Tensor:
        """The shares; see the class."""
        return self.logits(power).softmax(dim=1)

    def logits(self, power: Tensor) -> Tensor:
        """Logarithms of the shares, up to a number that the stems have in common; training starts here."""
        level = (power.clamp(max=_CEILING) + _FLOOR).log() - _WHITE
        batch, channels = level.shape[:2]
        # From each channel's values to each band's, whose channels are neighbours then. The number of frames
        # is asked nowhere, so that a captured graph holds none.
        by_channel = level.reshape(batch, channels, _BANDS, _VALUES // _BANDS, -1)
        bands = by_channel.permute(0, 2, 1, 3, 4).reshape(batch, channels * _VALUES, -1)
        logits: Tensor = self.exit(self.blocks(self.entry(bands)))
        by_band = logits.reshape(batch, _BANDS, self.stems * channels, _VALUES // _BANDS, -1)
        by_stem = by_band.permute(0, 2, 1, 3, 4)
        return by_stem.reshape(batch, self.stems, channels, _VALUES, -1)


class _Block(nn.Module):
    """A convolution within each band, a narrow path between them, and a way around both."""

    def __init__(self, wide: int, narrow: int, dilation: int) -> None:
        super().__init__()
        self.within = nn.Sequential(
            nn.Conv1d(wide, wide, 3, padding=dilation, dilation=dilation, groups=_BANDS, bias=False),
            nn.BatchNorm1d(wide),
        )
        self.between = nn.Sequential(
            nn.Conv1d(wide, narrow, 1, bias=False),
            nn.BatchNorm1d(narrow),
            nn.ReLU(),
            nn.Conv1d(narrow, narrow, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm1d(narrow),
            nn.ReLU(),
            nn.Conv1d(narrow, wide, 1),
        )
        self.join = nn.Conv1d(wide, wide, 1, groups=_BANDS)

    def forward(self, x: Tensor) -> Tensor:
        y = (self.within(x) + self.between(x)).relu()
        result: Tensor = x + self.join(y)
        return result


def build(spec: ModelSpec, segment: int) -> Separator:
    """The network, without trained weights."""
    return SmallSeparator(
        spec.stems,
        width=spec.options["width"],
        narrow=spec.options["narrow"],
        sample_rate=spec.sample_rate,
        segment=segment,
        overlap=spec.overlap,
    )


def load(separator: Separator, spec: ModelSpec, checkpoint: Path | None) -> None:
    """Put trained weights into a separator of this family.

    Args:
        separator: From `build`.
        spec: Its model.
        checkpoint: A file from `train-small`; None for the weights of the package.

    Raises:
        FileError: If the file cannot be read or is of another model, or that of the package is damaged.
    """
    if checkpoint is not None:
        _fill(separator, spec, checkpoint)
        return
    with as_file(files("separation_coreml") / "data" / "small.pth") as path:
        if path.is_file() and (found := file_digest(path)) != spec.options["digest"]:
            raise CheckpointError(path, f"SHA-256 {found}", spec.options["digest"])
        _fill(separator, spec, path)


def _fill(separator: Separator, spec: ModelSpec, path: Path) -> None:
    # Counters of batches, which only training reads.
    spare = [name for name in separator.state_dict() if name.endswith("num_batches_tracked")]
    fill(separator, read_checkpoint(path), path, title=spec.name, spare=spare)
