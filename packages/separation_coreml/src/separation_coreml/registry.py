"""Every model by name: what it is, where it comes from, and how it is built."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from audio_io.errors import ConfigError

if TYPE_CHECKING:
    from separation_coreml.families.base import Separator

Weights = Literal["official", "random"]


@dataclass(frozen=True)
class ModelSpec:
    """One published model.

    Attributes:
        name: What it is called on the command line.
        family: The module of `separation_coreml.families` that builds it.
        title: What it is, in a line.
        sample_rate: In Hz.
        channels: Of the mixture and of each stem.
        stems: What it gives, in order.
        segment_seconds: Length it works on at once, as its authors run it, in s.
        overlap: Share of a segment that the next one covers again.
        parameters: Number of trained values.
        licence: Of the weights, or of the code where the authors name one for both.
        source: Where code and weights are published.
        options: Configuration, as the module of the family takes it.
    """

    name: str
    family: str
    title: str
    sample_rate: int
    channels: int
    stems: tuple[str, ...]
    segment_seconds: float
    overlap: float
    parameters: int
    licence: str
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def segment(self) -> int:
        """Length it works on at once, in samples."""
        return int(self.segment_seconds * self.sample_rate + 1e-6)


_STEMS = ("drums", "bass", "other", "vocals")
_DEMUCS = {"family": "demucs", "sample_rate": 44100, "channels": 2, "overlap": 0.25, "licence": "MIT"}
_DEMUCS_SOURCE = "https://github.com/adefossez/demucs"
# Reference: https://github.com/facebookresearch/demucs, demucs/grids/mmi.py and conf/config.yaml.
_HTDEMUCS = {"dconv_mode": 3, "bottom_channels": 512, "t_dropout": 0.02}


def _htdemucs(name: str, title: str, **changes: Any) -> ModelSpec:  # noqa: ANN401 - any field of ModelSpec
    options = {"class": "htdemucs", "sources": list(_STEMS), "arguments": _HTDEMUCS}
    options.update(changes.pop("options", {}))
    settings: dict[str, Any] = {
        **_DEMUCS,
        "stems": _STEMS,
        "segment_seconds": 7.8,
        "parameters": 41_984_456,
        "source": _DEMUCS_SOURCE,
        **changes,
    }
    return ModelSpec(name=name, title=title, options=options, **settings)


_SPECS: tuple[ModelSpec, ...] = (
    _htdemucs("htdemucs", "Hybrid Transformer Demucs v4", options={"signatures": ["955717e8"]}),
)

MODELS: dict[str, ModelSpec] = {spec.name: spec for spec in _SPECS}


def get_spec(name: str) -> ModelSpec:
    """The model of a name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in MODELS:
        raise ConfigError("model", repr(name), "one of " + ", ".join(MODELS))
    return MODELS[name]


def build(
    name: str,
    *,
    weights: Weights = "official",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    segment_seconds: float | None = None,
) -> "Separator":
    """A separator, ready to run: in evaluation mode and without gradients.

    Args:
        name: One of `MODELS`.
        weights: `official`, which are fetched by the project's own names and checked against their hash, or
            `random`.
        seed: For random weights.
        checkpoint: A file of weights to use instead of the official ones.
        segment_seconds: Length to work on at once in s, instead of the model's own.

    Raises:
        ConfigError: If the name is unknown or the segment is no length.
        FileError: If the checkpoint cannot be read or is of another model; the first difference is named.
        WeightsNotFoundError: If the official weights are not here and cannot be fetched.
    """
    import torch

    spec = get_spec(name)
    family = importlib.import_module(f"separation_coreml.families.{spec.family}")
    segment = spec.segment if segment_seconds is None else round(segment_seconds * spec.sample_rate)
    if segment < 1:
        raise ConfigError("segment_seconds", segment_seconds, "a length above 0 s")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        separator: Separator = family.build(spec, segment)
        if weights == "random" and checkpoint is None:
            from separation_coreml.families.base import vary

            vary(separator)
    if checkpoint is not None or weights == "official":
        family.load(separator, spec, None if checkpoint is None else Path(checkpoint))
    return separator.eval().requires_grad_(requires_grad=False)
