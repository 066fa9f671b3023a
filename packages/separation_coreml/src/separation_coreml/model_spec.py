"""The description of a model in the registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
