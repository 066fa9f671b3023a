"""A model of the registry, made ready to be converted: its graph, example inputs, names and metadata."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from audio_io.errors import ConfigError
from separation_coreml import registry
from separation_coreml.config import ConvertConfig
from separation_coreml.convert import ConvertReport, convert
from separation_coreml.families.base import Separator
from separation_coreml.ios import get_layout

Io: TypeAlias = Literal["waveform", "core"]


@dataclass(frozen=True)
class Source:
    """What a converter needs of a model.

    Attributes:
        module: The whole separator, or its network between the two STFTs.
        inputs: Example inputs: noise of the model's own segment length, or its analysis.
        input_names: Of the inputs.
        output_names: Of the outputs.
        metadata: For the converted file, so that it can be run without this package.
        further_inputs: Inputs for the further segments, if any.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    metadata: dict[str, str]
    further_inputs: tuple[tuple[Tensor, ...], ...] = ()

    @property
    def stems(self) -> tuple[str, ...]:
        """What comes out of a separator, in order; empty for others."""
        return tuple(self.metadata["stems"].split(",")) if "stems" in self.metadata else ()


class Core(nn.Module):
    """The network of a separator alone: `core` as `forward`."""

    def __init__(self, separator: Separator) -> None:
        super().__init__()
        self.separator = separator

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the network gives."""
        return self.separator.core(*inputs)


def prepare(
    name: str,
    *,
    io: Io = "waveform",
    weights: registry.Weights = "official",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    segment_seconds: float | None = None,
    further_segments: Sequence[float] = (),
) -> Source:
    """Build a model and all that a converter needs of it.

    Args:
        name: One of `registry.MODELS`, or of `registry.PITCH_MODELS`, which take frames in place of a
            waveform.
        io: `waveform` for the whole model; `core` for the network alone, for apps with an STFT of their own.
        weights: See `registry.build`.
        seed: See `registry.build`; also of the example input.
        checkpoint: See `registry.build`.
        segment_seconds: See `registry.build`.
        further_segments: Other lengths in s that the graph shall take as well: of the pitch trackers, and of
            the core of networks that are convolutions throughout (`Separator.any_frames`).

    Raises:
        ConfigError: See `registry.build`; also if the graph of the model holds its length.
        FileError: See `registry.build`.
    """
    if not all(0 < seconds < math.inf for seconds in further_segments):
        raise ConfigError("further_segments", further_segments, "lengths above 0 s")
    if name in registry.PITCH_MODELS:
        return _prepare_pitch(name, io, weights, seed, checkpoint, segment_seconds, further_segments)
    shape = registry.skeleton(name) if io == "core" else None
    if shape is not None and shape.stft is None and len(shape.core_inputs) > 1:
        # What an app has to compute for the core would not be in the metadata.
        expected = f"waveform, as {name} has an STFT for each stem, or one of its members"
        raise ConfigError("io", "'core'", expected)
    if further_segments and (shape is None or not shape.any_frames):
        raise ConfigError(
            "further_segments",
            f"{name} with io {io}",
            "io core of a network of convolutions (small, mdx_net_vocals, uvr_main, mdx23c, ...), or a pitch "
            "tracker; the graphs of others hold their length",
        )
    separator = registry.build(
        name, weights=weights, seed=seed, checkpoint=checkpoint, segment_seconds=segment_seconds
    )
    spec = registry.get_spec(name)
    lengths = [separator.segment, *(round(seconds * spec.sample_rate) for seconds in further_segments)]
    if min(lengths) < separator.least_segment:
        expected = f"at least {separator.least_segment} samples for {name}"
        raise ConfigError("further_segments", f"{min(lengths)} samples", expected)
    inputs: tuple[Tensor, ...] = (_noise(1, separator.channels, separator.segment, seed=seed),)
    further: tuple[tuple[Tensor, ...], ...] = ()
    module: nn.Module = separator
    input_names: tuple[str, ...] = ("waveform",)
    output_names: tuple[str, ...] = ("stems",)
    if io == "core":
        with torch.no_grad():
            inputs = separator.analysis(*inputs)
            further = tuple(
                separator.analysis(_noise(1, separator.channels, length, seed=seed)) for length in lengths[1:]
            )
        module = Core(separator)
        input_names, output_names = separator.core_inputs, separator.core_outputs
    layout = get_layout(spec.family, separator.stft) if io == "core" else None
    texts = {
        "author": spec.source,
        "license": spec.licence,
        "description": spec.title,
        "version": metadata.version("separation-coreml"),
        "model": name,
        "io": io,
        "weights": Path(checkpoint).name if checkpoint is not None else weights,
        **separator.metadata(),
        **({"segments": ",".join(map(str, lengths))} if further else {}),
        **({} if layout is None else {"spectrogram": json.dumps(asdict(layout))}),
    }
    return Source(module, inputs, input_names, output_names, texts, further)


def _noise(*shape: int, seed: int) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _prepare_pitch(
    name: str,
    io: Io,
    weights: registry.Weights,
    seed: int,
    checkpoint: str | Path | None,
    segment_seconds: float | None,
    further_segments: Sequence[float],
) -> Source:
    from separation_coreml.families import crepe

    if io != "waveform":
        raise ConfigError("io", repr(io), f"no such setting for {name}: its input is frames")
    count = crepe.frame_count(segment_seconds)
    module = crepe.build(name, weights=weights, seed=seed, checkpoint=checkpoint)
    further = tuple(
        (_noise(crepe.frame_count(seconds), crepe.FRAME_LENGTH, seed=seed),) for seconds in further_segments
    )
    texts = {
        "author": crepe.SOURCE,
        "license": crepe.LICENCE,
        "description": f"CREPE {name.removeprefix('crepe-')}, a pitch tracker",
        "version": metadata.version("separation-coreml"),
        "model": name,
        "weights": Path(checkpoint).name if checkpoint is not None else weights,
        **crepe.metadata(count),
    }
    inputs = (_noise(count, crepe.FRAME_LENGTH, seed=seed),)
    return Source(module, inputs, (crepe.INPUT,), (crepe.OUTPUT,), texts, further)


def convert_model(
    name: str,
    path: str | Path,
    *,
    config: ConvertConfig | None = None,
    io: Io = "waveform",
    weights: registry.Weights = "official",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    segment_seconds: float | None = None,
    further_segments: Sequence[float] = (),
    parity: bool = True,
) -> ConvertReport:
    """Write a model of the registry as a `.mlpackage`; arguments and errors as of `prepare` and `convert`."""
    source = prepare(
        name,
        io=io,
        weights=weights,
        seed=seed,
        checkpoint=checkpoint,
        segment_seconds=segment_seconds,
        further_segments=further_segments,
    )
    return convert(
        source.module,
        source.inputs,
        path,
        input_names=source.input_names,
        output_names=source.output_names,
        config=config,
        metadata=source.metadata,
        further_inputs=source.further_inputs,
        parity=parity,
        stems=source.stems,
    )
