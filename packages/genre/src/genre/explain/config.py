"""Settings of attribution. Free of torch, for the command line's help."""

from dataclasses import dataclass
from typing import Literal

from audio_io.errors import ConfigError
from audio_io.settings import check, setting

Maps = Literal["gradcam", "gradients", "none"]


@dataclass(frozen=True)
class ExplainConfig:
    """What is explained, and how.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    maps: Maps = setting(
        "gradients",
        "where each stem counted: integrated gradients, Grad-CAM by stem (coarser, faster), or no maps",
    )
    genre: str | None = setting(None, "the genre that is explained, instead of the predicted one")
    gradient_steps: int = setting(16, "points on the path of integrated gradients", minimum=2)
    cell_size: int = setting(
        8, "cells of integrated gradients, which are noisy pixel by pixel", unit="pixels", minimum=1
    )
    deleted_share: float = setting(
        0.1,
        "share of the map whose deletion is compared with that of random places",
        minimum=0.0,
        maximum=0.9,
    )
    deletions: int = setting(4, "random deletions that are compared with", minimum=1)
    seed: int = setting(0, "seed of the random deletions", minimum=0)

    def __post_init__(self) -> None:
        check(self)
        if self.deleted_share == 0:
            raise ConfigError("deleted_share", 0, "above 0")
