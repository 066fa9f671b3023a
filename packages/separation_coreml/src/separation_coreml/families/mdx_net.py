"""MDX-Net (TFC-TDF-UNet v2): a U-Net on the complex spectrogram as channels, one network a stem.

A block is a stack of convolutions over time and frequency (TFC), to which two linear layers over frequency
(TDF) add what is far apart. The networks of the four stems differ in the length of their STFT, so the bag of
all four has four inputs and no STFT of its own; for `--io core` take its members.

The authors compute chunks of which they drop half a window at both ends. Here segments are as long as their
chunks and the weights of the overlap-add take that part.

The models of Ultimate Vocal Remover (UVR) are networks of the same kind for one stem. Its program multiplies
their output by a constant for each model, and the other stem is the mixture without the result
(`options["complement"]`, `options["gain"]`); so it is done here, on the spectrogram, inside the core.

Published weights are ONNX files, which `onnx_import` reads. The names of the weights in checkpoints are those
of the authors.

Reference:
    Kim, Choi, Chung, Lee, Jung, "KUIELab-MDX-Net: A Two-Stream Neural Network for Music Demixing", MDX
    workshop 2021, arXiv 2111.12203; https://github.com/kuielab/mdx-net (src/models),
    https://github.com/kuielab/mdx-net-submission (branch leaderboard_A)
"""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from separation_coreml.checkpoints import (
    CheckpointError,
    WeightFile,
    fill,
    network_state,
    only_file,
    read_checkpoint,
    reading_archive,
)
from separation_coreml.families.base import RESIDUAL_SCALE, Separator
from separation_coreml.families.tfc_tdf import SpectrogramSeparator
from separation_coreml.model_spec import ModelSpec
from separation_coreml.onnx_import import Layer, adopt, read_network

HOP_LENGTH = 1024
# What the authors' checkpoints hold besides the network.
_SPARE = ("window", "freq_pad")
_EXPECTED = "an MDX-Net (TFC-TDF-UNet v2)"


@dataclass(frozen=True)
class NetworkSettings:
    """The configuration of a network, by the authors' names where they are words.

    Attributes:
        bins: Lowest bins of the spectrogram, which the network sees and gives (`dim_f`).
        growth: Channels of the first level; each further one has as many more (`g`).
        levels: How often the resolution is halved (half of `num_blocks`, rounded down).
        convolutions: In a block (`l`).
        kernel_size: Of these convolutions (`k`).
        bottleneck: What the linear layers of a block divide the bins by on the way (`bn`); 0 for one layer
            without a narrow place.
        bias: Whether these layers have one.
    """

    bins: int = 2048
    growth: int = 32
    levels: int = 5
    convolutions: int = 3
    kernel_size: int = 3
    bottleneck: int = 8
    bias: bool = False


class _Convolutions(nn.Module):
    def __init__(self, channels: int, settings: NetworkSettings) -> None:
        super().__init__()
        size = settings.kernel_size
        self.H = nn.ModuleList(
            _normalised(nn.Conv2d(channels, channels, size, padding=size // 2), channels)
            for _ in range(settings.convolutions)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.H:
            x = layer(x)
        return x


class _Block(nn.Module):
    def __init__(self, channels: int, bins: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.tfc = _Convolutions(channels, settings)
        widths = [bins, bins // settings.bottleneck, bins] if settings.bottleneck else [bins, bins]
        self.tdf = nn.Sequential()
        for before, after in pairwise(widths):
            self.tdf.extend(_normalised(nn.Linear(before, after, bias=settings.bias), channels))

    def forward(self, x: Tensor) -> Tensor:
        x = self.tfc(x)
        far: Tensor = self.tdf(x)
        return x + far


def _normalised(layer: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU())


class ConvTdfNet(nn.Module):
    """The network of one stem.

    Args:
        channels: Of the spectrogram: real and imaginary part of each channel of the audio.
        settings: Its configuration.

    Shape:
        - input: `[B, channels, bins, frames]`, frames a multiple of `2 ** levels`
        - output: of the same shape
    """

    def __init__(self, channels: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        growth, bins = settings.growth, settings.bins
        self.first_conv = _normalised(nn.Conv2d(channels, growth, 1), growth)
        self.encoding_blocks, self.ds = nn.ModuleList(), nn.ModuleList()
        self.decoding_blocks, self.us = nn.ModuleList(), nn.ModuleList()
        width = growth
        for level in range(settings.levels):
            self.encoding_blocks.append(_Block(width, bins >> level, settings))
            down = nn.Conv2d(width, width + growth, 2, stride=2)
            width += growth
            self.ds.append(_normalised(down, width))
        self.bottleneck_block = _Block(width, bins >> settings.levels, settings)
        for level in reversed(range(settings.levels)):
            up = nn.ConvTranspose2d(width, width - growth, 2, stride=2)
            width -= growth
            self.us.append(_normalised(up, width))
            self.decoding_blocks.append(_Block(width, bins >> level, settings))
        self.final_conv = nn.Sequential(nn.Conv2d(width, channels, 1))

    def forward(self, spectrogram: Tensor) -> Tensor:
        """See the class."""
        x = self.first_conv(spectrogram).transpose(-1, -2)
        skipped: list[Tensor] = []
        for block, down in zip(self.encoding_blocks, self.ds, strict=True):
            x = block(x)
            skipped.append(x)
            x = down(x)
        x = self.bottleneck_block(x)
        for up, block in zip(self.us, self.decoding_blocks, strict=True):
            x = block(up(x) * skipped.pop())
        out: Tensor = self.final_conv(x.transpose(-1, -2))
        return out

    def layers(self) -> Iterator[tuple[nn.Module, nn.BatchNorm2d | None]]:
        """Convolutions and linear layers in the order of computation, each with the norm that follows it."""
        yield from _layers(self.first_conv)
        for block, down in zip(self.encoding_blocks, self.ds, strict=True):
            yield from _layers(block)
            yield from _layers(down)
        yield from _layers(self.bottleneck_block)
        for up, block in zip(self.us, self.decoding_blocks, strict=True):
            yield from _layers(up)
            yield from _layers(block)
        yield from _layers(self.final_conv)


def _layers(module: nn.Module) -> Iterator[tuple[nn.Module, nn.BatchNorm2d | None]]:
    leaves = [
        part for part in module.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
    ]
    norms: list[nn.BatchNorm2d | None] = [
        part for part in module.modules() if isinstance(part, nn.BatchNorm2d)
    ]
    yield from zip(leaves, norms or [None] * len(leaves), strict=True)


class MdxNetSeparator(SpectrogramSeparator):
    """MDX-Net for one stem, or for one stem and the rest of the mixture.

    Args:
        stems: One name, or two: the second is the mixture without the first.
        settings: Of the network.
        gain: What the output of the network is multiplied by.
        others: See `SpectrogramSeparator`.
    """

    def __init__(
        self, stems: tuple[str, ...], settings: NetworkSettings, *, gain: float = 1.0, **others: float
    ) -> None:
        super().__init__(stems, frames=2**settings.levels, hop_length=HOP_LENGTH, **others)  # type: ignore[arg-type]  # whole numbers but for one
        self.gain = gain
        self.network = ConvTdfNet(2 * self.channels, settings)

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The network on the bins that it knows; those above are in no stem, or in the second."""
        (spectrogram,) = inputs
        bins = self.network.settings.bins
        seen = self.gain * self.network(spectrogram[:, :, :bins])
        stem = functional.pad(seen, (0, 0, 0, spectrogram.shape[2] - bins))
        stems = [stem, spectrogram - stem][: len(self.stems)]
        return (torch.stack(stems, dim=1),)

    def settle(self) -> None:
        """See `Separator`: the statistics of noise, layers that are nearly linear, and small side branches.

        What the deep levels give multiplies what the encoder kept; it becomes a number near 1 that they
        change a little, as they change little in a residual branch.
        """
        network = self.network
        norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
        branches = [block.tdf[-2] for block in network.modules() if isinstance(block, _Block)]
        gates = [up[1] for up in network.us]  # type: ignore[index]  # modules have no common type
        with torch.no_grad():
            for norm in norms:
                norm.momentum = 1.0
                if norm not in gates:
                    # Most of the values that come to the ReLU pass it.
                    norm.bias.add_(1.0)
            for norm in (*branches, *gates):
                norm.weight.mul_(RESIDUAL_SCALE)
                norm.bias.mul_(RESIDUAL_SCALE).add_(1.0 if norm in gates else 0.0)
            (spectrogram,) = self.analysis(0.1 * torch.randn(1, self.channels, self.padded_length(0)))
            seen = spectrogram[:, :, : network.settings.bins]
            network.train()(seen)
            for norm in norms:
                norm.momentum = 0.1
                assert norm.running_var is not None
                # A channel that is silent in this noise need not be so elsewhere.
                norm.running_var.clamp_(min=0.1 * float(norm.running_var.mean()))
            last, output = network.final_conv[0], network.eval()(seen)
            means = output.mean((0, 2, 3), keepdim=True)
            last.bias -= means.flatten()
            for parameter in last.parameters():
                parameter.mul_(seen.std() / (output - means).std())


class MdxNetBag(Separator):
    """One network for each stem, each with its own STFT.

    Args:
        members: A separator of one stem each.

    Shape:
        - core inputs: the spectrogram that each member takes, in the order of the stems
        - core outputs: the spectrogram that each gives
    """

    def __init__(self, members: Sequence[MdxNetSeparator]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        first = members[0]
        self.sample_rate, self.channels = first.sample_rate, first.channels
        self.segment, self.overlap = first.segment, first.overlap
        self.stems = tuple(stem for member in members for stem in member.stems)
        self.core_inputs = tuple(f"spectrogram_{stem}" for stem in self.stems)
        self.core_outputs = tuple(f"stem_{stem}" for stem in self.stems)

    def analysis(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """The spectrograms of the members."""
        return tuple(member.analysis(waveform)[0] for member in _members(self))

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The networks."""
        return tuple(member.core(x)[0] for member, x in zip(_members(self), inputs, strict=True))

    def synthesis(self, outputs: tuple[Tensor, ...], length: int) -> Tensor:
        """The stems of the members."""
        stems = [member.synthesis((x,), length) for member, x in zip(_members(self), outputs, strict=True)]
        return torch.cat(stems, dim=1)

    def settle(self) -> None:
        """See `MdxNetSeparator`."""
        for member in _members(self):
            member.settle()


def _members(separator: Separator) -> list[MdxNetSeparator]:
    parts = separator.members if isinstance(separator, MdxNetBag) else [separator]
    return [part for part in parts if isinstance(part, MdxNetSeparator)]


def build(spec: ModelSpec, segment: int) -> Separator:
    """The network of a model of this family, without trained weights."""
    options = spec.options
    members = [
        MdxNetSeparator(
            stems,
            NetworkSettings(**options["network"]),
            gain=options.get("gain", 1.0),
            n_fft=n_fft,
            sample_rate=spec.sample_rate,
            channels=spec.channels,
            segment=segment,
            overlap=spec.overlap,
        )
        for stems, n_fft in _parts(spec)
    ]
    return members[0] if len(members) == 1 else MdxNetBag(members)


def _parts(spec: ModelSpec) -> list[tuple[tuple[str, ...], int]]:
    if spec.options.get("complement"):
        return [(spec.stems, spec.options["n_fft"])]
    return [((stem,), spec.options["n_fft"][stem]) for stem in spec.stems]


def load(separator: Separator, spec: ModelSpec, checkpoint: Path | None) -> None:
    """Put trained weights into a separator of this family.

    Args:
        separator: From `build`.
        spec: Its model.
        checkpoint: A published `.onnx` file, a checkpoint of the authors' program (`.ckpt`) or a state dict;
            the published archive (`onnx_A.zip`) or a folder with a file for each stem under its name
            (`vocals.onnx`, `vocals.ckpt`). None for the published files.

    Raises:
        FileError: If a file cannot be read or is of another model.
        MissingOnnxError: If a file is ONNX and the extra `onnx` is not installed.
        WeightsNotFoundError: If the published files are not to be had.
    """
    path = WeightFile(spec.options["url"], digest=None).fetch() if checkpoint is None else checkpoint
    for member in _members(separator):
        _load_network(member, path, spec)


def _load_network(member: MdxNetSeparator, path: Path, spec: ModelSpec) -> None:
    if path.is_dir():
        path = only_file(path, f"{member.stems[0]}.*")
    if path.suffix == ".zip":
        member.network = _from_onnx(member, path, _unzip(path, f"{member.stems[0]}.onnx"))
    elif path.suffix == ".onnx":
        member.network = _from_onnx(member, path)
    else:
        state = network_state(read_checkpoint(path))
        fill(member.network, state, path, title=spec.name, spare=(*_SPARE, *_counters(member.network)))


def _counters(network: nn.Module) -> tuple[str, ...]:
    # Only training reads them.
    return tuple(key for key in network.state_dict() if key.endswith("num_batches_tracked"))


def _unzip(path: Path, name: str) -> bytes:
    expected = f"an archive with one file {name}"
    if not path.is_file():
        raise CheckpointError(path, "no file", expected)
    # The member is read, not extracted, so its path cannot lead anywhere.
    with reading_archive(path, expected), zipfile.ZipFile(path) as archive:
        (member,) = [each for each in archive.namelist() if Path(each).name == name]
        return archive.read(member)


def _from_onnx(member: MdxNetSeparator, path: Path, content: bytes | None = None) -> ConvTdfNet:
    """The network of an ONNX file. It says all of the configuration but the length of the STFT."""
    found = read_network(path, content)
    settings = _settings(found.layers, path)
    wanted = member.network.settings.bins
    if settings.bins != wanted:
        raise CheckpointError(path, f"a network of {settings.bins} bins", f"{wanted} for this model")
    if found.operations != _operations(settings):
        raise CheckpointError(path, "another order of operations", _EXPECTED)
    network = ConvTdfNet(2 * member.channels, settings)
    adopt(list(network.layers()), found.layers, path)
    return network


def _settings(layers: Sequence[Layer], path: Path) -> NetworkSettings:
    kinds = [layer.kind for layer in layers]
    # The first block: convolutions between that of the input and the first linear layer.
    place = kinds.index("MatMul") if "MatMul" in kinds else 0
    if place < 2 or len(kinds) < place + 2:
        raise CheckpointError(path, "layers in another order", _EXPECTED)
    narrow = layers[place].weight
    return NetworkSettings(
        bins=narrow.shape[1],
        growth=layers[0].weight.shape[0],
        levels=kinds.count("ConvTranspose"),
        convolutions=place - 1,
        kernel_size=layers[1].weight.shape[-1],
        bottleneck=narrow.shape[1] // narrow.shape[0] if kinds[place + 1] == "MatMul" else 0,
        bias=layers[place].bias is not None,
    )


def _operations(settings: NetworkSettings) -> list[str]:
    """The graph that the exporter makes of `ConvTdfNet`."""
    linear = 2 if settings.bottleneck else 1
    block = ["Conv", "Relu"] * settings.convolutions + ["MatMul", "Relu"] * linear + ["Add"]
    down, up = ["Conv", "Relu"], ["ConvTranspose", "Relu", "Mul"]
    levels = settings.levels
    middle = (block + down) * levels + block + (up + block) * levels
    return ["Conv", "Relu", "Transpose", *middle, "Transpose", "Conv"]
