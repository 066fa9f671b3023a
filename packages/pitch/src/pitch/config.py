"""Settings of pitch tracking. Free of torch, so that the command line can show its help at once."""

from dataclasses import dataclass
from typing import Literal

from audio_io.errors import ConfigError
from audio_io.settings import check, setting
from pitch.capacities import CapacityName
from pitch.constants import MAX_FMAX

EngineName = Literal["auto", "fast", "plain"]
DecoderName = Literal["argmax", "weighted_argmax", "viterbi", "weighted_viterbi"]
PrecisionName = Literal["float32", "bfloat16", "float16"]
SampleFormat = Literal["s16le", "f32le"]

# Frames that go through the network at once: enough to keep a CPU busy, about 0.2 GB of activations for
# `full`.
BATCH_SIZE = 64

# Quieter frames are unvoiced: as torchcrepe.threshold.Silence has it.
SILENCE_DB = -60.0

# Frames that `Stream` waits, at most, for the best path to become certain: a tenth of a second at 10 ms.
LAG = 10


@dataclass(frozen=True)
class TrackConfig:
    """How a recording is tracked; every field is an option of `pitch track`.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    model: CapacityName = setting("full", "size of the network")
    decoder: DecoderName = setting("weighted_viterbi", "how posteriors become pitch")
    engine: EngineName = setting("auto", "how the network is computed; auto is fast on a CPU, plain on a GPU")
    precision: PrecisionName = setting("float32", "number format of the layers before the classifier")
    compile: bool = setting(False, "compile the plain network (torch.compile; CUDA graphs on a GPU)")
    hop_length: int = setting(160, "step between frames", unit="samples at 16 kHz", minimum=1)
    fmin: float = setting(50.0, "lowest pitch", unit="Hz", minimum=0.0)
    fmax: float = setting(MAX_FMAX, "highest pitch", unit="Hz", minimum=32.0, maximum=MAX_FMAX)
    threshold: float = setting(0.5, "confidence at which voicing begins", minimum=0.0, maximum=1.0)
    threshold_low: float | None = setting(
        None, "confidence below which voicing ends; none is the threshold", minimum=0.0, maximum=1.0
    )
    silence_db: float | None = setting(
        SILENCE_DB,
        "A-weighted level below which nothing is voiced; -200 is off",
        unit="dB of full scale",
        minimum=-200.0,
        maximum=0.0,
    )
    min_voiced: float = setting(0.0, "shortest voiced stretch", unit="s", minimum=0.0)
    min_unvoiced: float = setting(0.0, "shortest gap between voiced stretches", unit="s", minimum=0.0)
    channel: int | None = setting(None, "channel to track, counted from 0; none mixes all", minimum=0)
    batch_size: int = setting(
        BATCH_SIZE, "frames that go through the network at once", unit="frames", minimum=1
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.fmin < self.fmax:
            raise ConfigError("fmin", f"{self.fmin} Hz", f"less than fmax ({self.fmax} Hz)")
        if self.threshold_low is not None and not self.threshold_low <= self.threshold:
            raise ConfigError("threshold_low", self.threshold_low, f"at most threshold ({self.threshold})")


@dataclass(frozen=True)
class LiveConfig:
    """What `pitch live` listens to, and how long it waits.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    sample_rate: int = setting(48000, "of the input", unit="Hz", minimum=1)
    channels: int = setting(1, "of the input", minimum=1)
    format: SampleFormat = setting("s16le", "samples on standard input, as ffmpeg names them")
    lag: int = setting(LAG, "greatest wait for the best path", unit="frames", minimum=0)

    def __post_init__(self) -> None:
        check(self)
