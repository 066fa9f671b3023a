"""Every model by name: what it is, where it comes from, and how it is built."""

import importlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from audio_io.errors import ConfigError
from separation_coreml.model_spec import ModelSpec
from separation_coreml.models_bands import BAND_MODELS
from separation_coreml.models_mdx import MDX_MODELS

if TYPE_CHECKING:
    from separation_coreml.families.base import Separator

__all__ = ["MODELS", "PITCH_MODELS", "ModelSpec", "Weights", "build", "get_spec", "skeleton"]

Weights = Literal["official", "random"]


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


_FT_SIGNATURES = ("f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d")
_6S = (*_STEMS, "guitar", "piano")
_UMX_STEMS = ("vocals", "drums", "bass", "other")

_SPECS: tuple[ModelSpec, ...] = (
    _htdemucs("htdemucs", "Hybrid Transformer Demucs v4", options={"signatures": ["955717e8"]}),
    _htdemucs(
        "htdemucs_ft",
        "four fine-tuned htdemucs, each giving one stem, as one model",
        parameters=4 * 41_984_456,
        options={"signatures": _FT_SIGNATURES, "bag": _STEMS},
    ),
    *(
        _htdemucs(
            f"htdemucs_ft_{stem}",
            f"the member of htdemucs_ft that gives {stem}, alone",
            stems=(stem,),
            options={"signatures": [signature]},
        )
        for stem, signature in zip(_STEMS, _FT_SIGNATURES, strict=True)
    ),
    _htdemucs(
        "htdemucs_6s",
        "Hybrid Transformer Demucs v4 with guitar and piano",
        stems=_6S,
        parameters=27_414_996,
        options={
            "signatures": ["5c90dfd2"],
            "sources": list(_6S),
            "arguments": {**_HTDEMUCS, "bottom_channels": 0},
        },
    ),
    _htdemucs(
        "hdemucs_mmi",
        "Hybrid Demucs v3, trained on more songs",
        segment_seconds=44.0,
        parameters=83_637_832,
        options={"class": "hdemucs", "signatures": ["75fc33f5"], "arguments": {}},
    ),
    *(
        ModelSpec(
            name=name,
            family="torchaudio_hdemucs",
            title=f"torchaudio's {bundle} (Hybrid Demucs v3)",
            sample_rate=44100,
            channels=2,
            stems=_STEMS,
            segment_seconds=10.0,
            overlap=0.25,
            parameters=83_639_368,
            licence="MIT",
            source="https://docs.pytorch.org/audio/stable/pipelines.html",
            options={"bundle": bundle},
        )
        for name, bundle in (
            ("hdemucs_high_musdb", "HDEMUCS_HIGH_MUSDB"),
            ("hdemucs_high_musdb_plus", "HDEMUCS_HIGH_MUSDB_PLUS"),
        )
    ),
    *(
        ModelSpec(
            name=name + suffix,
            family="openunmix",
            title=f"Open-Unmix {name}, {kind}",
            sample_rate=44100,
            channels=2,
            stems=_UMX_STEMS,
            segment_seconds=299 * 1024 / 44100,
            overlap=0.25,
            parameters=parameters,
            licence=licence,
            source="https://github.com/sigsep/open-unmix-pytorch",
            options={"model": name, "iterations": iterations},
        )
        for name, parameters, licence in (
            ("umxhq", 35_573_392, "MIT"),
            ("umxl", 113_028_752, "CC-BY-NC-SA-4.0"),
        )
        for suffix, iterations, kind in (
            ("", 1, "one step of the Wiener filter"),
            ("_nowiener", 0, "no Wiener filter"),
        )
    ),
    *(
        ModelSpec(
            name=f"spleeter_{len(stems)}stems",
            family="spleeter",
            title=f"Spleeter, {len(stems)} stems, up to 11 kHz",
            sample_rate=44100,
            channels=2,
            stems=stems,
            segment_seconds=508 * 1024 / 44100,
            overlap=0.25,
            parameters=len(stems) * 9_822_725,
            licence="MIT",
            source="https://github.com/deezer/spleeter",
            options={"activation": activation, "softmax": len(stems) == 5, "archive": archive},
        )
        for stems, activation, archive in (
            (("vocals", "accompaniment"), "leaky", "2stems"),
            (("vocals", "drums", "bass", "other"), "elu", "4stems"),
            (("vocals", "piano", "drums", "bass", "other"), "elu", "5stems"),
        )
    ),
    ModelSpec(
        name="wave_u_net",
        family="wave_u_net",
        title="Wave-U-Net, one network a stem",
        sample_rate=44100,
        channels=2,
        stems=("bass", "drums", "other", "vocals"),
        segment_seconds=2.0,
        overlap=0.25,
        parameters=69_910_152,
        licence="MIT",
        source="https://github.com/f90/Wave-U-Net-Pytorch",
        options={"features": 32, "levels": 6, "kernel_size": 5, "stride": 4},
    ),
    *BAND_MODELS,
    *MDX_MODELS,
    ModelSpec(
        name="small",
        family="small",
        title="a small separator of this project, trained on rendered songs",
        sample_rate=44100,
        channels=2,
        stems=_STEMS,
        segment_seconds=255 * 1024 / 44100,
        overlap=0.25,
        parameters=3_245_056,
        licence="MIT",
        source="docs/separation_coreml_small.md",
        options={
            "width": 64,
            "narrow": 128,
            "digest": "441e6dee4021bfd5d866d38d1a25ecb8bbca88f85d269e52a9b898ab76ad67bb",
        },
    ),
)

MODELS: dict[str, ModelSpec] = {spec.name: spec for spec in _SPECS}

# What can be converted besides separators: the capacities of CREPE (`families.crepe`).
PITCH_MODELS: tuple[str, ...] = tuple(
    f"crepe-{capacity}" for capacity in ("tiny", "small", "regular", "medium", "large", "full")
)


def get_spec(name: str) -> ModelSpec:
    """The model of a name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in MODELS:
        raise ConfigError("model", repr(name), "one of " + ", ".join(MODELS))
    return MODELS[name]


def skeleton(name: str) -> "Separator":
    """A separator without values (on torch's `meta` device), to look at its shapes and count its parameters.

    Raises:
        ConfigError: If there is no such model.
    """
    import torch

    spec = get_spec(name)
    with torch.device("meta"):
        separator: Separator = _family(spec).build(spec, spec.segment)
    return separator


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
        ConfigError: If the name is unknown, or the segment too short for the model.
        FileError: If the checkpoint cannot be read or is of another model; the first difference is named.
        WeightsNotFoundError: If the official weights are not here and cannot be fetched.
    """
    import torch

    spec = get_spec(name)
    family = _family(spec)
    segment = spec.segment if segment_seconds is None else round(segment_seconds * spec.sample_rate)
    if segment < 1:
        raise ConfigError("segment_seconds", segment_seconds, "a length above 0 s")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        separator: Separator = family.build(spec, segment)
        if weights == "random" and checkpoint is None:
            from separation_coreml.families.base import vary

            vary(separator)
            separator.settle()
    if segment < separator.least_segment:
        least = math.ceil(1000 * separator.least_segment / spec.sample_rate) / 1000
        raise ConfigError("segment_seconds", segment_seconds, f"at least {least:g} s for {name}")
    if checkpoint is not None or weights == "official":
        family.load(separator, spec, None if checkpoint is None else Path(checkpoint))
    return separator.eval().requires_grad_(requires_grad=False)


def _family(spec: ModelSpec) -> Any:  # noqa: ANN401 - modules have no common type
    return importlib.import_module(f"separation_coreml.families.{spec.family}")
