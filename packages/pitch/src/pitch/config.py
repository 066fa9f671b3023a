"""Settings of pitch tracking. Free of torch, so that the command line can show its help at once."""

from dataclasses import dataclass
from typing import Literal

from audio_io.errors import ConfigError
from audio_io.settings import check, setting
from pitch.capacities import CapacityName
from pitch.constants import MAX_FMAX

EngineName = Literal["auto", "fast", "plain"]
DecoderName = Literal["argmax", "weighted_argmax", "viterbi", "weighted_viterbi"]

# Frames that go through the network at once: enough to keep a CPU busy, about 0.2 GB of activations for
# `full`.
BATCH_SIZE = 64


@dataclass(frozen=True)
class TrackConfig:
    """How a recording is tracked; every field is an option of `pitch track`.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    model: CapacityName = setting("full", "size of the network")
    decoder: DecoderName = setting("weighted_viterbi", "how posteriors become pitch")
    engine: EngineName = setting("auto", "how the network is computed; auto is fast on a CPU, plain on a GPU")
    hop_length: int = setting(160, "step between frames", unit="samples at 16 kHz", minimum=1)
    fmin: float = setting(50.0, "lowest pitch", unit="Hz", minimum=0.0)
    fmax: float = setting(MAX_FMAX, "highest pitch", unit="Hz", minimum=32.0)
    threshold: float = setting(0.5, "least confidence of a voiced frame", minimum=0.0, maximum=1.0)
    channel: int | None = setting(None, "channel to track, counted from 0; none mixes all", minimum=0)
    batch_size: int = setting(
        BATCH_SIZE, "frames that go through the network at once", unit="frames", minimum=1
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.fmin < min(self.fmax, MAX_FMAX):
            raise ConfigError("fmin", f"{self.fmin} Hz", f"less than fmax ({self.fmax} Hz) and {MAX_FMAX} Hz")
