"""Settings of the training. Free of torch, for the command line's help."""

from dataclasses import dataclass
from typing import Literal

from audio_io.errors import ConfigError
from audio_io.settings import check, setting

# As `stems.sounds` and `families.small` have them.
_SAMPLE_RATE, _N_FFT, _HOP_LENGTH = 44100, 4096, 1024


@dataclass(frozen=True)
class TrainConfig:
    """How the small separator is trained.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    songs: int = setting(375, "rendered songs to learn from", minimum=1)
    seconds: float = setting(10.0, "length of each", unit="s", minimum=1.0)
    validation_songs: int = setting(16, "further songs to measure on, with other seeds", minimum=1)
    steps: int = setting(2600, "optimizer steps in all", minimum=1)
    batch_size: int = setting(8, "excerpts a step", minimum=1)
    frames: int = setting(128, "length of an excerpt", unit="frames", minimum=1)
    remix: float = setting(
        0.5, "share of excerpts whose stems come from different songs", minimum=0.0, maximum=1.0
    )
    learning_rate: float = setting(2e-3, "highest learning rate of AdamW", minimum=0.0)
    weight_decay: float = setting(1e-2, "weight decay of AdamW", minimum=0.0)
    warmup_steps: int = setting(100, "steps of rising learning rate", minimum=0)
    decay_steps: int = setting(900, "last steps, in which the learning rate falls to 0", minimum=0)
    average: float = setting(0.995, "share of the averaged weights that a step keeps", minimum=0, maximum=1)
    clip: float = setting(5.0, "greatest norm of the gradient", minimum=0.0)
    precision: Literal["float32", "bfloat16"] = setting(
        "bfloat16", "arithmetic of the convolutions; bfloat16 is faster where the hardware has it"
    )
    check_every: int = setting(100, "steps between validations and checkpoints", minimum=1)
    seed: int = setting(0, "seed of everything that is drawn", minimum=0)

    def __post_init__(self) -> None:
        check(self)
        longest = int(self.seconds * _SAMPLE_RATE - _N_FFT) // _HOP_LENGTH + 1
        if self.frames > longest:
            raise ConfigError("frames", self.frames, f"at most {longest}, which the songs have")

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        rising = (step + 1) / max(self.warmup_steps, 1)
        falling = (self.steps - step) / max(self.decay_steps, 1)
        return self.learning_rate * max(0.0, min(1.0, rising, falling))
