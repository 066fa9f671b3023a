"""The network of BS-RoFormer and Mel-Band RoFormer: transformers along time and along bands, in turn.

The spectrogram is cut into bands; each becomes one vector for each frame. After the transformers each band
gives the part of a complex mask that belongs to its bins. The bands of BS-RoFormer lie side by side, those of
Mel-Band RoFormer overlap: a bin of two bands has the mean of their masks. The names of the weights are those
of the published checkpoints, which were trained before the package bs-roformer got residuals of values, hyper
connections and other positions.

Reference:
    Lu, Wang, Kong, Hung, "Music Source Separation with Band-Split RoPE Transformer", arXiv:2309.02612;
    Wang, Lu, Won, "Mel-Band RoFormer for Music Source Separation", arXiv:2310.01809;
    https://github.com/lucidrains/BS-RoFormer, version 0.3;
    https://github.com/ZFTurbo/Music-Source-Separation-Training, models/bs_roformer
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from separation_coreml.checkpoints import WeightFile, fill, network_state, read_checkpoint
from separation_coreml.families.base import RmsNorm, Separator, StftSettings
from separation_coreml.model_spec import ModelSpec

N_FFT = 2048
HOP_LENGTH = 441
_ROTARY_BASE = 10000.0
_WIDENING = 4  # of the layers between attention and attention

Band = tuple[int, int]  # first bin, and the bin after the last


@dataclass(frozen=True)
class RoformerConfig:
    """What distinguishes one network from another.

    Attributes:
        bands: In ascending order, together all bins.
        dim: Width of the transformers.
        depth: Number of pairs of transformers.
        heads: Of an attention.
        dim_head: Width of a head; even.
        norm_each: Whether each transformer ends with a norm (Mel-Band RoFormer), or the last one only.
        mask_layers: Linear layers of the network that makes a band's mask.
        mask_widening: Width of the layers between them, as a multiple of `dim`.
    """

    bands: tuple[Band, ...]
    dim: int
    depth: int
    heads: int = 8
    dim_head: int = 64
    norm_each: bool = False
    mask_layers: int = 2
    mask_widening: int = 4


class _Rotary(nn.Module):
    """Rotary position embedding: pairs of features turned by angles that grow with the position."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        exponents = torch.arange(0, dim, 2, dtype=torch.float32) / dim
        self.freqs = nn.Parameter(_ROTARY_BASE**-exponents, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        # Checkpoints hold pairs side by side. They come out as two halves: a product of queries and keys is
        # the same in any order of the features.
        angles = torch.arange(x.shape[-2], dtype=self.freqs.dtype)[:, None] * self.freqs
        cosine, sine = angles.cos(), angles.sin()
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.cat([even * cosine - odd * sine, odd * cosine + even * sine], dim=-1)


class _Attention(nn.Module):
    """Attention with rotary positions and a gate for each head."""

    def __init__(self, config: RoformerConfig, rotary: _Rotary) -> None:
        super().__init__()
        inner = config.heads * config.dim_head
        self.heads = config.heads
        self.rotary_embed = rotary
        self.norm = RmsNorm(config.dim)
        self.to_qkv = nn.Linear(config.dim, 3 * inner, bias=False)
        self.to_gates = nn.Linear(config.dim, config.heads)
        self.to_out = nn.Sequential(nn.Linear(inner, config.dim, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        query, key, value = (
            torch.unflatten(part, -1, (self.heads, -1)).transpose(1, 2)
            for part in self.to_qkv(x).chunk(3, dim=-1)
        )  # [N, heads, n, dim_head]
        query, key = self.rotary_embed(query), self.rotary_embed(key)
        heads = functional.scaled_dot_product_attention(query, key, value)
        gates = torch.sigmoid(self.to_gates(x)).transpose(1, 2).unsqueeze(-1)
        mixed: Tensor = self.to_out((heads * gates).transpose(1, 2).flatten(2))
        return mixed


class _FeedForward(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        # Dropout stood at 3; without it the numbers of the layers are still those of the checkpoints.
        self.net = nn.Sequential(
            RmsNorm(dim),
            nn.Linear(dim, _WIDENING * dim),
            nn.GELU(),
            nn.Identity(),
            nn.Linear(_WIDENING * dim, dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.net(x)
        return result


class _Transformer(nn.Module):
    """One layer of attention, as all published models have it."""

    def __init__(self, config: RoformerConfig, rotary: _Rotary) -> None:
        super().__init__()
        layer = nn.ModuleList([_Attention(config, rotary), _FeedForward(config.dim)])
        self.layers = nn.ModuleList([layer])
        self.norm = RmsNorm(config.dim) if config.norm_each else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            attention, feed_forward = layer
            x = x + attention(x)
            x = x + feed_forward(x)
        normed: Tensor = self.norm(x)
        return normed


class _BandSplit(nn.Module):
    """The values of each band as one vector.

    Shape:
        - input: `[B, frames, F · values]`
        - output: `[B, frames, bands, dim]`
    """

    def __init__(self, bands: Sequence[Band], values: int, dim: int) -> None:
        super().__init__()
        self.slices = [slice(values * start, values * stop) for start, stop in bands]
        self.to_features = nn.ModuleList()
        for start, stop in bands:
            width = values * (stop - start)
            self.to_features.append(nn.Sequential(RmsNorm(width), nn.Linear(width, dim)))

    def forward(self, x: Tensor) -> Tensor:
        bands = [layer(x[..., part]) for layer, part in zip(self.to_features, self.slices, strict=True)]
        return torch.stack(bands, dim=2)


class _MaskEstimator(nn.Module):
    """The mask of one stem from the vectors of the bands.

    Shape:
        - input: `[B, frames, bands, dim]`
        - output: `[B, frames, F · values]`
    """

    def __init__(self, config: RoformerConfig, values: int) -> None:
        super().__init__()
        self.bands, self.values = config.bands, values
        self.to_freqs = nn.ModuleList()
        hidden = [config.mask_widening * config.dim] * (config.mask_layers - 1)
        for start, stop in config.bands:
            widths = [config.dim, *hidden, 2 * values * (stop - start)]
            layers: list[nn.Module] = []
            for before, after in pairwise(widths):
                layers += [nn.Linear(before, after), nn.Tanh()]
            self.to_freqs.append(nn.Sequential(nn.Sequential(*layers[:-1]), nn.GLU(dim=-1)))
        counts = torch.zeros(config.bands[-1][1], dtype=torch.float32, device="cpu")
        for start, stop in config.bands:
            counts[start:stop] += 1
        self.register_buffer("share", (1 / counts).repeat_interleave(values), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        masks = [layer(x[:, :, index]) for index, layer in enumerate(self.to_freqs)]
        rows = [self._row(masks, row) for row in apart(self.bands)]
        return rows[0] if len(rows) == 1 else torch.stack(rows).sum(dim=0) * self.get_buffer("share")

    def _row(self, masks: list[Tensor], row: list[int]) -> Tensor:
        """The masks of bands that do not overlap, with zeros where none of them is."""
        parts, position = [], 0
        for index in row:
            start, stop = self.bands[index]
            parts.append(functional.pad(masks[index], (self.values * (start - position), 0)))
            position = stop
        return functional.pad(torch.cat(parts, dim=-1), (0, self.values * (self.bands[-1][1] - position)))


class RoformerSeparator(Separator):
    """BS-RoFormer or Mel-Band RoFormer.

    Args:
        config: Of the network.
        stems: Their names; each has a mask of its own.
        sample_rate: In Hz.
        channels: Of the mixture and of each stem.
        segment: In samples.
        overlap: See `Separator`.

    Shape:
        - core input: spectrogram `[B, 2 · channels, F, frames]` (real and imaginary part of each channel in
            turn)
        - core output: spectrograms `[B, stems, 2 · channels, F, frames]`
    """

    core_inputs = ("spectrogram",)
    core_outputs = ("spectrograms",)

    def __init__(
        self,
        config: RoformerConfig,
        stems: tuple[str, ...],
        *,
        sample_rate: int,
        channels: int,
        segment: int,
        overlap: float,
    ) -> None:
        super().__init__()
        self.stems, self.sample_rate, self.channels = stems, sample_rate, channels
        self.segment, self.overlap = segment, overlap
        self.stft, self.least_segment = StftSettings(N_FFT, HOP_LENGTH, N_FFT), N_FFT // 2 + 1
        # Each of the two is one object in all its places, as the checkpoints name it in each.
        along_time, along_bands = _Rotary(config.dim_head), _Rotary(config.dim_head)
        self.layers = nn.ModuleList(
            nn.ModuleList([_Transformer(config, along_time), _Transformer(config, along_bands)])
            for _ in range(config.depth)
        )
        self.final_norm = nn.Identity() if config.norm_each else RmsNorm(config.dim)
        self.band_split = _BandSplit(config.bands, 2 * channels, config.dim)
        self.mask_estimators = nn.ModuleList(_MaskEstimator(config, 2 * channels) for _ in stems)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)

    def analysis(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """The spectrogram of the waveform."""
        spectrum = torch.stft(
            waveform.flatten(0, 1), N_FFT, HOP_LENGTH, window=self.get_buffer("window"), return_complex=True
        )
        pairs = torch.view_as_real(spectrum).permute(0, 3, 1, 2)  # [B · C, 2, F, frames]
        return (pairs.reshape(-1, 2 * self.channels, *pairs.shape[2:]),)

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Bands, transformers, and the masks applied."""
        (spectrogram,) = inputs
        # [B, frames, F · values]: the real and imaginary parts of all channels side by side for each bin
        values = spectrogram.permute(0, 3, 2, 1).flatten(2)
        x = self.band_split(values)
        for pair in self.layers:
            assert isinstance(pair, nn.ModuleList)
            along_time, along_bands = pair
            x = _along(along_time, x.transpose(1, 2)).transpose(1, 2)
            x = _along(along_bands, x)
        x = self.final_norm(x)
        return (torch.stack([self._masked(spectrogram, mask(x)) for mask in self.mask_estimators], dim=1),)

    def synthesis(self, outputs: tuple[Tensor, ...], length: int) -> Tensor:
        """The inverse STFT of each stem."""
        (spectrograms,) = outputs
        batch, stems, _, bins, frames = spectrograms.shape
        pairs = spectrograms.reshape(-1, 2, bins, frames).permute(0, 2, 3, 1)
        spectrum = torch.view_as_complex(pairs.contiguous())
        waveforms = torch.istft(spectrum, N_FFT, HOP_LENGTH, window=self.get_buffer("window"), length=length)
        return waveforms.reshape(batch, stems, self.channels, length)

    def _masked(self, spectrogram: Tensor, mask: Tensor) -> Tensor:
        """The complex product, as `[B, 2 · channels, F, frames]`."""
        mask = torch.unflatten(mask, 2, (-1, 2 * self.channels)).permute(0, 3, 2, 1)
        real, imaginary = spectrogram[:, 0::2], spectrogram[:, 1::2]
        mask_real, mask_imaginary = mask[:, 0::2], mask[:, 1::2]
        product = [
            real * mask_real - imaginary * mask_imaginary,
            real * mask_imaginary + imaginary * mask_real,
        ]
        return torch.stack(product, dim=2).flatten(1, 2)


def apart(bands: Sequence[Band]) -> list[list[int]]:
    """Numbers of bands in rows, such that the bands of a row do not overlap; as few rows as will do.

    >>> apart([(0, 4), (2, 6), (4, 8)])
    [[0, 2], [1]]
    """
    rows: list[list[int]] = []
    for index, (start, _) in enumerate(bands):
        free = next((row for row in rows if bands[row[-1]][1] <= start), None)
        if free is None:
            rows.append([index])
        else:
            free.append(index)
    return rows


def _along(transformer: nn.Module, x: Tensor) -> Tensor:
    """A transformer along the third dimension of four."""
    return torch.unflatten(transformer(x.flatten(0, 1)), 0, tuple(x.shape[:2]))


def build_separator(spec: ModelSpec, segment: int, config: RoformerConfig) -> RoformerSeparator:
    """The network of a model, without trained weights."""
    return RoformerSeparator(
        config,
        spec.stems,
        sample_rate=spec.sample_rate,
        channels=spec.channels,
        segment=segment,
        overlap=spec.overlap,
    )


def load(separator: Separator, spec: ModelSpec, checkpoint: Path | None) -> None:
    """Put trained weights into a separator of either family.

    Args:
        separator: From `build`.
        spec: Its model.
        checkpoint: A state dict, or a checkpoint that holds one; None for the published file.

    Raises:
        FileError: If the file cannot be read or is of another model.
        WeightsNotFoundError: If the published file is not to be had.
    """
    # The trainers publish no hashes.
    path = WeightFile(spec.options["url"], None).fetch() if checkpoint is None else checkpoint
    fill(separator, network_state(read_checkpoint(path)), path, title=spec.name)
