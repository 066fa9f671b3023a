"""Settings of pruning, distillation and fine-tuning. Free of torch, for the command line's help."""

from dataclasses import dataclass
from typing import Literal

from audio_io.errors import ConfigError
from audio_io.settings import check, setting
from pitch.capacities import CapacityName

Criterion = Literal["l1", "l2", "fpgm", "taylor", "cssp"]


@dataclass(frozen=True)
class PruneConfig:
    """How a smaller network is cut out of a larger one; see `pitch.training.prune`.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    criterion: Criterion = setting("cssp", "what decides which channels stay")
    compensate: bool = setting(True, "let the kept channels stand in for the dropped ones")
    reestimate: bool = setting(True, "measure the BatchNorm statistics again")
    frames: int = setting(1536, "generated frames to measure on", unit="frames", minimum=64)
    seed: int = setting(0, "seed of those frames", minimum=0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class FitConfig:
    """How a network is trained.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    steps: int = setting(6000, "optimizer steps in all", minimum=1)
    batch_size: int = setting(256, "frames a step", unit="frames", minimum=1)
    learning_rate: float = setting(5e-4, "highest learning rate of AdamW", minimum=0.0)
    weight_decay: float = setting(1e-4, "weight decay of AdamW", minimum=0.0)
    warmup_steps: int = setting(200, "steps of rising learning rate", minimum=0)
    decay_steps: int = setting(1500, "last steps, in which the learning rate falls to 1 %", minimum=0)
    clip: float = setting(1.0, "greatest norm of the gradient", minimum=0.0)
    train_first: bool = setting(False, "train the first layer too (slower on a CPU)")
    precision: Literal["float32", "bfloat16"] = setting(
        "float32", "arithmetic of the layers; bfloat16 is twice as fast where the hardware has it"
    )
    check_every: int = setting(250, "steps between validations and checkpoints", minimum=1)
    workers: int = setting(1, "processes that make batches; 0 makes them in between", minimum=0)
    seed: int = setting(0, "seed of everything that is drawn", minimum=0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class DistillConfig(FitConfig):
    """How a student learns a teacher's posteriors.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    student: CapacityName = setting("regular", "capacity that is trained")
    teacher: CapacityName = setting("full", "capacity that it learns from")
    recorded_share: float = setting(
        0.5, "share of frames from the recordings, the rest is generated", minimum=0.0, maximum=1.0
    )
    reuse: int = setting(2, "steps that each labelled batch serves", minimum=1)


@dataclass(frozen=True)
class FinetuneConfig(FitConfig):
    """How a network is adapted to labelled recordings.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    steps: int = setting(1000, "optimizer steps in all", minimum=1)
    learning_rate: float = setting(1e-4, "highest learning rate of AdamW", minimum=0.0)
    decay_steps: int = setting(250, "last steps, in which the learning rate falls to 1 %", minimum=0)
    warmup_steps: int = setting(50, "steps of rising learning rate", minimum=0)
    check_every: int = setting(100, "steps between validations and checkpoints", minimum=1)
    model: CapacityName = setting("full", "capacity that is trained")
    validation_share: float = setting(0.1, "share of the files kept for validation", minimum=0.0, maximum=0.9)
    unvoiced: bool = setting(True, "train on unvoiced frames too, towards no pitch at all")
    noise: bool = setting(True, "train with added noise and filters")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation_share == 0.0:
            raise ConfigError("validation_share", 0.0, "more than 0, so that progress can be judged")
