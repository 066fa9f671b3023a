"""Settings of one training run, of prediction and of export that are not the network's. Free of torch."""

from dataclasses import dataclass, field
from typing import Literal

from audio_io.errors import ConfigError
from audio_io.settings import check, setting
from genre.config import AugmentConfig, FeatureConfig, SeparationConfig, TrainConfig


@dataclass(frozen=True)
class Settings:
    """What the result of a training depends on, besides the tracks; the tables of a TOML file.

    Attributes:
        features: How stems become pictures.
        separation: How recordings become stems.
        augment: How training pictures are varied.
        train: How the network is trained.
    """

    features: FeatureConfig = field(default_factory=FeatureConfig)
    separation: SeparationConfig = field(default_factory=SeparationConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class RunConfig:
    """Where and how a training runs; the result depends on `split` alone.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    split: Literal["random", "artist"] = setting(
        "random", "what the validation tracks are: random tracks, or all tracks of random artists"
    )
    resume: bool = setting(True, "go on with the folder's checkpoint if it has one")
    cache_frozen: bool = setting(
        True,
        "compute what the frozen stages give once for tracks that are not augmented, and keep it on disk",
    )
    devices: int = setting(1, "devices a node", minimum=1)
    nodes: int = setting(1, "nodes", minimum=1)
    strategy: str = setting("auto", "Lightning's strategy for several devices, for example ddp")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class PredictConfig:
    """How the windows of a recording are voted over.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    window_overlap: float = setting(
        0.5, "share of a window that the next one covers again", minimum=0.0, maximum=0.95
    )
    window_batch: int = setting(8, "windows that go through the network together", minimum=1)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ExportConfig:
    """The ONNX file.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    opset: int = setting(18, "version of ONNX's operators", minimum=18, maximum=23)
    tolerance: float = setting(
        1e-4, "greatest difference of a probability from PyTorch's that the check accepts", minimum=0.0
    )

    def __post_init__(self) -> None:
        check(self)
        if self.tolerance == 0:
            raise ConfigError("tolerance", 0, "above 0")
