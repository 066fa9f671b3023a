"""MDX23C (TFC-TDF-UNet v3): one network for all stems, on the complex spectrogram cut into bands as channels.

Against MDX-Net: norms of each example (InstanceNorm) before their layers, shortcuts around every block, and
the result multiplied by the first layer's output. The names of the weights are those of the authors.

Reference:
    Kim, Lee, Jung, "Sound Demixing Challenge 2023 Music Demixing Track Technical Report: TFC-TDF-UNet v3",
    arXiv 2306.09382; https://github.com/kuielab/sdx23 (my_submission/src/tfc_tdf_v3.py). Configurations and
    weights: https://github.com/ZFTurbo/Music-Source-Separation-Training (configs/config_musdb18_mdx23c.yaml,
    configs/config_vocals_mdx23c.yaml)
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from separation_coreml.checkpoints import WeightFile, fill, network_state, read_checkpoint
from separation_coreml.families.base import RESIDUAL_SCALE
from separation_coreml.families.tfc_tdf import SpectrogramSeparator
from separation_coreml.model_spec import ModelSpec


@dataclass(frozen=True)
class NetworkSettings:
    """The configuration of a network, by the authors' names where they are words.

    Attributes:
        bins: Lowest bins of the spectrogram, which the network sees and gives (`dim_f`).
        bands: What these are cut into (`num_subbands`).
        width: Channels of the first level (`num_channels`).
        growth: Channels that each further level has more.
        levels: How often the resolution is halved (`num_scales`).
        blocks: Blocks at a level (`num_blocks_per_scale`).
        bottleneck: What the linear layers of a block divide the bins of a band by on the way.
    """

    bins: int = 4096
    bands: int = 4
    width: int = 128
    growth: int = 128
    levels: int = 5
    blocks: int = 2
    bottleneck: int = 4


def _behind_norm(channels: int, layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.InstanceNorm2d(channels, affine=True), nn.GELU(), layer)


class _Block(nn.Module):
    def __init__(self, before: int, after: int, bins: int, bottleneck: int) -> None:
        super().__init__()
        narrow = bins // bottleneck
        self.tfc1 = _behind_norm(before, nn.Conv2d(before, after, 3, padding=1, bias=False))
        self.tdf = _behind_norm(after, nn.Linear(bins, narrow, bias=False))
        self.tdf.extend(_behind_norm(after, nn.Linear(narrow, bins, bias=False)))
        self.tfc2 = _behind_norm(after, nn.Conv2d(after, after, 3, padding=1, bias=False))
        self.shortcut = nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        near = self.tfc1(x)
        out: Tensor = self.tfc2(near + self.tdf(near)) + self.shortcut(x)
        return out


class _Blocks(nn.Module):
    def __init__(self, before: int, after: int, bins: int, settings: NetworkSettings) -> None:
        super().__init__()
        widths = [before] + [after] * settings.blocks
        self.blocks = nn.ModuleList(
            _Block(first, second, bins, settings.bottleneck) for first, second in pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class _Resampler(nn.Module):
    def __init__(self, before: int, after: int, *, up: bool) -> None:
        super().__init__()
        layer = nn.ConvTranspose2d if up else nn.Conv2d
        self.conv = _behind_norm(before, layer(before, after, 2, stride=2, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class _Encoder(nn.Module):
    def __init__(self, width: int, bins: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.tfc_tdf = _Blocks(width, width, bins, settings)
        self.downscale = _Resampler(width, width + settings.growth, up=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept = self.tfc_tdf(x)
        return self.downscale(kept), kept


class _Decoder(nn.Module):
    def __init__(self, width: int, bins: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.upscale = _Resampler(width + settings.growth, width, up=True)
        self.tfc_tdf = _Blocks(2 * width, width, bins, settings)

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        out: Tensor = self.tfc_tdf(torch.cat([self.upscale(x), kept], dim=1))
        return out


class TfcTdfNet(nn.Module):
    """The network.

    Args:
        channels: Of the spectrogram: real and imaginary part of each channel of the audio.
        stems: How many it gives.
        settings: Its configuration.

    Shape:
        - input: `[B, channels, bins, frames]`, frames a multiple of `2 ** levels`
        - output: `[B, stems, channels, bins, frames]`
    """

    def __init__(self, channels: int, stems: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings, self.stems = settings, stems
        inputs, width, bins = channels * settings.bands, settings.width, settings.bins // settings.bands
        levels = [(width + level * settings.growth, bins >> level) for level in range(settings.levels)]
        self.first_conv = nn.Conv2d(inputs, width, 1, bias=False)
        self.encoder_blocks = nn.ModuleList(_Encoder(*level, settings) for level in levels)
        deepest = width + settings.levels * settings.growth
        self.bottleneck_block = _Blocks(deepest, deepest, bins >> settings.levels, settings)
        self.decoder_blocks = nn.ModuleList(_Decoder(*level, settings) for level in reversed(levels))
        self.final_conv = nn.Sequential(
            nn.Conv2d(width + inputs, width, 1, bias=False),
            nn.GELU(),
            nn.Conv2d(width, stems * inputs, 1, bias=False),
        )

    def forward(self, spectrogram: Tensor) -> Tensor:
        """See the class."""
        # The number of frames is asked nowhere, so that a captured graph holds none.
        batch, channels, bins = spectrogram.shape[:3]
        bands = self.settings.bands
        mixture = spectrogram.reshape(batch, channels * bands, bins // bands, -1)
        first = self.first_conv(mixture)
        x = first.transpose(-1, -2)
        skipped: list[Tensor] = []
        for encoder in self.encoder_blocks:
            x, kept = encoder(x)
            skipped.append(kept)
        x = self.bottleneck_block(x)
        for decoder in self.decoder_blocks:
            x = decoder(x, skipped.pop())
        x = self.final_conv(torch.cat([mixture, x.transpose(-1, -2) * first], dim=1))
        stems: Tensor = x.reshape(batch, self.stems, channels, bins, -1)
        return stems


class Mdx23cSeparator(SpectrogramSeparator):
    """MDX23C.

    Args:
        stems: What comes out.
        settings: Of the network.
        others: See `SpectrogramSeparator`.
    """

    def __init__(self, stems: tuple[str, ...], settings: NetworkSettings, **others: float) -> None:
        super().__init__(stems, frames=2**settings.levels, **others)  # type: ignore[arg-type]  # whole numbers but for one
        self.network = TfcTdfNet(2 * self.channels, len(stems), settings)

    def settle(self) -> None:
        """See `Separator`: shortcuts that keep the size of what passes, beside small branches."""
        for block in self.network.modules():
            if isinstance(block, _Block):
                last = block.tfc2[2]
                assert isinstance(last, nn.Conv2d)
                nn.init.kaiming_uniform_(block.shortcut.weight, nonlinearity="linear")
                nn.init.kaiming_uniform_(last.weight, nonlinearity="linear")
                with torch.no_grad():
                    last.weight.mul_(RESIDUAL_SCALE)

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The network on the bins that it knows; those above are in no stem."""
        (spectrogram,) = inputs
        bins = self.network.settings.bins
        stems = self.network(spectrogram[:, :, :bins])
        return (functional.pad(stems, (0, 0, 0, spectrogram.shape[2] - bins)),)


def build(spec: ModelSpec, segment: int) -> Mdx23cSeparator:
    """The network of a model of this family, without trained weights."""
    return Mdx23cSeparator(
        spec.stems,
        NetworkSettings(**spec.options["network"]),
        n_fft=spec.options["n_fft"],
        hop_length=spec.options["hop_length"],
        sample_rate=spec.sample_rate,
        channels=spec.channels,
        segment=segment,
        overlap=spec.overlap,
    )


def load(separator: Mdx23cSeparator, spec: ModelSpec, checkpoint: Path | None) -> None:
    """Put trained weights into a separator of this family.

    Args:
        separator: From `build`.
        spec: Its model.
        checkpoint: A checkpoint as published (`.ckpt`), or a state dict. None for the published file.

    Raises:
        FileError: If the file cannot be read or is of another model.
        WeightsNotFoundError: If the published file is not to be had.
    """
    path = WeightFile(spec.options["url"], digest=None).fetch() if checkpoint is None else checkpoint
    fill(separator.network, network_state(read_checkpoint(path)), path, title=spec.name)
