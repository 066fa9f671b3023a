"""A model of the registry, made ready to be converted: its graph, example inputs, names and metadata."""

import json
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
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    metadata: dict[str, str]


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

    Raises:
        ConfigError: See `registry.build`.
        FileError: See `registry.build`.
    """
    if name in registry.PITCH_MODELS:
        return _prepare_pitch(name, io, weights, seed, checkpoint, segment_seconds)
    separator = registry.build(
        name, weights=weights, seed=seed, checkpoint=checkpoint, segment_seconds=segment_seconds
    )
    spec = registry.get_spec(name)
    noise = torch.randn(
        1, separator.channels, separator.segment, generator=torch.Generator().manual_seed(seed)
    )
    inputs: tuple[Tensor, ...] = (0.1 * noise,)
    module: nn.Module = separator
    input_names: tuple[str, ...] = ("waveform",)
    output_names: tuple[str, ...] = ("stems",)
    if io == "core":
        with torch.no_grad():
            inputs = separator.analysis(*inputs)
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
        **({} if layout is None else {"spectrogram": json.dumps(asdict(layout))}),
    }
    return Source(module, inputs, input_names, output_names, texts)


def _prepare_pitch(
    name: str,
    io: Io,
    weights: registry.Weights,
    seed: int,
    checkpoint: str | Path | None,
    segment_seconds: float | None,
) -> Source:
    from separation_coreml.families import crepe

    if io != "waveform":
        raise ConfigError("io", repr(io), f"no such setting for {name}: its input is frames")
    count = crepe.frame_count(segment_seconds)
    module = crepe.build(name, weights=weights, seed=seed, checkpoint=checkpoint)
    noise = torch.randn(count, crepe.FRAME_LENGTH, generator=torch.Generator().manual_seed(seed))
    texts = {
        "author": crepe.SOURCE,
        "license": crepe.LICENCE,
        "description": f"CREPE {name.removeprefix('crepe-')}, a pitch tracker",
        "version": metadata.version("separation-coreml"),
        "model": name,
        "weights": Path(checkpoint).name if checkpoint is not None else weights,
        **crepe.metadata(count),
    }
    return Source(module, (0.1 * noise,), (crepe.INPUT,), (crepe.OUTPUT,), texts)


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
) -> ConvertReport:
    """Write a model of the registry as a `.mlpackage`; arguments and errors as of `prepare` and `convert`."""
    source = prepare(
        name, io=io, weights=weights, seed=seed, checkpoint=checkpoint, segment_seconds=segment_seconds
    )
    return convert(
        source.module,
        source.inputs,
        path,
        input_names=source.input_names,
        output_names=source.output_names,
        config=config,
        metadata=source.metadata,
    )
