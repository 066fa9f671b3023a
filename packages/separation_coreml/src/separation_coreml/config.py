"""Settings of a conversion."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from audio_io.settings import check, setting

Precision: TypeAlias = Literal["fp32", "fp16", "mixed"]
Quantize: TypeAlias = Literal["none", "int8", "palettize4", "palettize6", "prune"]
Target: TypeAlias = Literal["iOS16", "iOS17", "iOS18", "macOS13", "macOS14", "macOS15"]
ComputeUnits: TypeAlias = Literal["all", "cpu", "cpu_and_gpu", "cpu_and_ne"]
Capture: TypeAlias = Literal["trace", "export"]


@dataclass(frozen=True)
class ConvertConfig:
    """How a model becomes a Core ML package.

    Attributes:
        precision: Type that the program computes in. `mixed` is fp16 with normalisations, attention,
            Fourier transforms and what comes after the last layers in fp32.
        quantize: How weights are stored. `int8` is one scale per output channel, `palettizeN` a table of
            2^N values per tensor found by k-means, `prune` sets the smallest weights to zero.
        sparsity: Share of each weight tensor that `prune` sets to zero.
        target: Oldest system that the package shall run on.
        compute_units: Where an app shall run it; written into the metadata, as Core ML decides at loading.
        capture: How the graph is taken from PyTorch.
    """

    precision: Precision = setting(
        "fp32", "type to compute in; mixed keeps norms, attention, STFT and masks in fp32"
    )
    quantize: Quantize = setting("none", "how weights are stored")
    sparsity: float = setting(0.5, "share of weights that prune sets to zero", minimum=0.01, maximum=0.99)
    target: Target = setting("iOS17", "oldest system to run on")
    compute_units: ComputeUnits = setting("all", "where apps shall run it, written into the metadata")
    capture: Capture = setting("trace", "how the graph is taken from PyTorch")

    def __post_init__(self) -> None:
        check(self)
