"""SCNet: a U-Net that compresses high frequencies more than low ones, and recurrent layers in its middle.

Each level of the encoder keeps the bins of the low band, and makes the middle one 4 and the high one 16 times
shorter. Between encoder and decoder, bidirectional LSTMs run along frequency and along time; every second
pair works on the Fourier transform of the features over time. The names of the weights are those of the
published checkpoints, which belong to the authors' first version: it does not normalise spectrograms.

Reference:
    Tong, Zhu, Chen, Kang, Jiang, Li, Wu, Meng, "SCNet: Sparse Compression Network for Music Source
    Separation", ICASSP 2024, arXiv:2401.13276; https://github.com/starrytong/SCNet
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from separation_coreml.checkpoints import WeightFile, fill, network_state, read_checkpoint
from separation_coreml.families.base import Separator, StftSettings
from separation_coreml.model_spec import ModelSpec

N_FFT = 4096
HOP_LENGTH = 1024
STRIDES = (1, 4, 16)  # of the low, the middle and the high band
KERNELS = (3, 4, 16)
DEPTHS = (3, 2, 1)  # convolution modules of a band
_COMPRESSION = 4  # of the channels inside of a convolution module
STFT_NOTE = (
    "zeros are put after the waveform up to the next odd number of hops above its length; "
    "the inverse is cut to it"
)
ROOT = "https://github.com/ZFTurbo/Music-Source-Separation-Training/releases/download/"


class _ConvolutionModule(nn.Module):
    """Residual branches along time, for the bins of a band one by one.

    Shape:
        - input and output: `[N, channels, frames]`
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        hidden = channels // _COMPRESSION
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, channels),
                nn.Conv1d(channels, 2 * hidden, 3, padding=1),
                nn.GLU(dim=1),
                nn.Conv1d(hidden, hidden, 3, padding=1, groups=hidden),
                nn.GroupNorm(1, hidden),
                nn.SiLU(),
                nn.Conv1d(hidden, channels, 1),
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x


class _Down(nn.Module):
    """The three bands, each with its own stride in frequency.

    Shape:
        - input: `[B, before, F, frames]`
        - output: three of `[B, after, F', frames]`
    """

    def __init__(self, before: int, after: int, shares: Sequence[float]) -> None:
        super().__init__()
        self.shares = shares
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, (kernel, 1), (stride, 1))
            for kernel, stride in zip(KERNELS, STRIDES, strict=True)
        )

    def widths(self, bins: int) -> list[int]:
        """How many bins each band has."""
        low = math.ceil(bins * self.shares[0])
        middle = math.ceil(bins * (self.shares[0] + self.shares[1]))
        return [low, middle - low, bins - middle]

    def forward(self, x: Tensor) -> list[Tensor]:
        bands = []
        parts = torch.split(x, self.widths(x.shape[2]), dim=2)
        for conv, part, kernel, stride in zip(self.convs, parts, KERNELS, STRIDES, strict=True):
            more = kernel - 1 if stride == 1 else -part.shape[2] % stride
            bands.append(conv(functional.pad(part, (0, 0, more // 2, more - more // 2))))
        return bands


class _Encoder(nn.Module):
    """One level: `_Down`, convolution modules, and one convolution over all bands."""

    def __init__(self, before: int, after: int, shares: Sequence[float]) -> None:
        super().__init__()
        self.SDlayer = _Down(before, after, shares)
        self.conv_modules = nn.ModuleList(_ConvolutionModule(after, depth) for depth in DEPTHS)
        self.globalconv = nn.Conv2d(after, after, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, list[int]]:
        """What goes on, what the decoder gets, and the bins of each band in it."""
        bands = []
        for module, band in zip(self.conv_modules, self.SDlayer(x), strict=True):
            rows = module(band.transpose(1, 2).flatten(0, 1))  # [B · F, channels, frames]
            bands.append(functional.gelu(torch.unflatten(rows, 0, (len(band), -1)).transpose(1, 2)))
        skipped = torch.cat(bands, dim=2)
        return self.globalconv(skipped), skipped, [band.shape[2] for band in bands]


class _Fusion(nn.Module):
    """What the encoder kept is added, and a convolution with a gate follows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1)

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        # The published layer reads the same channels twice; the sum of its weights for both reads them once.
        first, second = self.conv.weight.chunk(2, dim=1)
        convolved = functional.conv2d(x + skipped, first + second, self.conv.bias, padding=1)
        return functional.glu(convolved, dim=1)


class _Up(nn.Module):
    """The inverse of `_Down`."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convtrs = nn.ModuleList(
            nn.ConvTranspose2d(before, after, (kernel, 1), (stride, 1))
            for kernel, stride in zip(KERNELS, STRIDES, strict=True)
        )

    def forward(self, x: Tensor, given: list[int], wanted: list[int]) -> Tensor:
        """Bands of `given` bins become bands of `wanted` bins."""
        bands = []
        for conv, part, width in zip(self.convtrs, torch.split(x, given, dim=2), wanted, strict=True):
            wide = conv(part)
            start = (wide.shape[2] - width) // 2
            bands.append(wide[:, :, start : start + width])
        return torch.cat(bands, dim=2)


class _DualPath(nn.Module):
    """A bidirectional LSTM along frequency, and one along time.

    Shape:
        - input and output: `[B, channels, F, frames]`
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lstm_layers = nn.ModuleList(
            nn.LSTM(channels, channels, batch_first=True, bidirectional=True) for _ in range(2)
        )
        self.linear_layers = nn.ModuleList(nn.Linear(2 * channels, channels) for _ in range(2))
        self.norm_layers = nn.ModuleList(nn.GroupNorm(1, channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for path, order in enumerate(((0, 3, 2, 1), (0, 2, 3, 1))):
            # [B, rows, steps, channels]
            rows = self.norm_layers[path](x).permute(order)
            mixed, _ = self.lstm_layers[path](rows.flatten(0, 1))
            mixed = torch.unflatten(self.linear_layers[path](mixed), 0, tuple(rows.shape[:2]))
            x = x + mixed.permute([order.index(axis) for axis in range(4)])
        return x


class _Separation(nn.Module):
    """Dual-path layers; after each first a Fourier transform over time, after each second its inverse."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.dp_modules = nn.ModuleList(_DualPath(channels * (1 + index % 2)) for index in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for index, module in enumerate(self.dp_modules):
            x = module(x)
            if index % 2 == 0:
                spectrum = torch.fft.rfft(x, dim=3, norm="ortho")
                x = torch.cat([spectrum.real, spectrum.imag], dim=1)
            else:
                x = torch.fft.irfft(torch.complex(*x.chunk(2, dim=1)), dim=3, norm="ortho")
        return x


class ScnetSeparator(Separator):
    """SCNet.

    Args:
        stems: Their names.
        sample_rate: In Hz.
        channels: Of the mixture and of each stem.
        segment: In samples.
        overlap: See `Separator`.
        dims: Channels after each level of the encoder; each a multiple of 4.
        shares: Share of the bins in the low and in the middle band.
        layers: Number of dual-path layers; even.

    Shape:
        - core input: spectrogram `[B, 2 · channels, F, frames]` (real and imaginary part of each channel in
            turn), an even number of frames
        - core output: spectrograms `[B, stems, 2 · channels, F, frames]`
    """

    normalize = True
    core_inputs = ("spectrogram",)
    core_outputs = ("spectrograms",)

    def __init__(
        self,
        stems: tuple[str, ...],
        *,
        sample_rate: int,
        channels: int,
        segment: int,
        overlap: float,
        dims: Sequence[int],
        shares: tuple[float, float],
        layers: int = 6,
    ) -> None:
        super().__init__()
        self.stems, self.sample_rate, self.channels = stems, sample_rate, channels
        self.segment, self.overlap = segment, overlap
        # From there on `analysis` completes it to three hops, which is more than half a frame.
        self.least_segment = HOP_LENGTH
        self.stft = StftSettings(
            N_FFT, HOP_LENGTH, N_FFT, window="rectangular", normalized=True, note=STFT_NOTE
        )
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        values = 2 * channels
        for before, after in zip((values, *dims[:-1]), dims, strict=True):
            self.encoder.append(_Encoder(before, after, shares))
            given = before if len(self.encoder) > 1 else values * len(stems)
            self.decoder.insert(0, nn.ModuleList([_Fusion(after), _Up(after, given)]))
        self.separation_net = _Separation(dims[-1], layers)
        self.register_buffer("window", torch.ones(N_FFT), persistent=False)

    def analysis(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """The spectrogram of the waveform, with an even number of frames."""
        hops = waveform.shape[-1] // HOP_LENGTH + 1
        hops += 1 - hops % 2
        padded = functional.pad(waveform, (0, hops * HOP_LENGTH - waveform.shape[-1])).flatten(0, 1)
        spectrum = torch.stft(
            padded,
            N_FFT,
            HOP_LENGTH,
            window=self.get_buffer("window"),
            normalized=True,
            return_complex=True,
        )
        pairs = torch.view_as_real(spectrum).permute(0, 3, 1, 2)  # [B · C, 2, F, frames]
        return (pairs.reshape(-1, 2 * self.channels, *pairs.shape[2:]),)

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The network."""
        (x,) = inputs
        kept: list[tuple[Tensor, list[int], list[int]]] = []
        for level in self.encoder:
            assert isinstance(level, _Encoder)
            wanted = level.SDlayer.widths(x.shape[2])
            x, skipped, given = level(x)
            kept.append((skipped, given, wanted))
        x = self.separation_net(x)
        for pair in self.decoder:
            assert isinstance(pair, nn.ModuleList)
            fusion, up = pair
            skipped, given, wanted = kept.pop()
            x = up(fusion(x, skipped), given, wanted)
        return (torch.unflatten(x, 1, (len(self.stems), 2 * self.channels)),)

    def synthesis(self, outputs: tuple[Tensor, ...], length: int) -> Tensor:
        """The inverse STFT of each stem."""
        (spectrograms,) = outputs
        batch, stems, _, bins, frames = spectrograms.shape
        pairs = spectrograms.reshape(-1, 2, bins, frames).permute(0, 2, 3, 1)
        spectrum = torch.view_as_complex(pairs.contiguous())
        waveforms = torch.istft(
            spectrum, N_FFT, HOP_LENGTH, window=self.get_buffer("window"), normalized=True, length=length
        )
        return waveforms.reshape(batch, stems, self.channels, length)


def build(spec: ModelSpec, segment: int) -> Separator:
    """The network of a model of this family, without trained weights."""
    options = {key: value for key, value in spec.options.items() if key not in {"file", "digest"}}
    return ScnetSeparator(
        spec.stems,
        sample_rate=spec.sample_rate,
        channels=spec.channels,
        segment=segment,
        overlap=spec.overlap,
        **options,
    )


def load(separator: Separator, spec: ModelSpec, checkpoint: Path | None) -> None:
    """Put trained weights into a separator of this family.

    Args:
        separator: From `build`.
        spec: Its model.
        checkpoint: A state dict, or a checkpoint of the authors' programs; None for the published file.

    Raises:
        FileError: If the file cannot be read or is of another model.
        WeightsNotFoundError: If the published file is not to be had.
    """
    path = official_file(spec).fetch() if checkpoint is None else checkpoint
    fill(separator, network_state(read_checkpoint(path)), path, title=spec.name)


def official_file(spec: ModelSpec) -> WeightFile:
    """The file of a model."""
    return WeightFile(ROOT + spec.options["file"], spec.options["digest"])
