"""Settings of an evaluation. Free of torch, so that the command line can show its help at once."""

from dataclasses import dataclass
from typing import Literal, get_args

from audio_io.errors import ConfigError
from audio_io.settings import check, setting
from pitch.capacities import CapacityName, get_capacity
from pitch.config import DecoderName
from pitch.constants import MAX_FMAX

DatasetName = Literal[
    "generated", "mdb-stem-synth", "bach10-mf0-synth", "ptdb-tug", "mir-1k", "vocadito", "folder"
]
# `raw` is the paper's: each frame on its own, the mean of the bins around the most likely one.
EvaluatedDecoder = Literal["raw", DecoderName]
DECODERS: tuple[str, ...] = ("raw", *get_args(DecoderName))


@dataclass(frozen=True)
class EvaluateConfig:
    """What is evaluated and how; every field is an option of `pitch evaluate`.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    models: str | None = setting(None, "capacities, separated by commas; none: all whose weights are here")
    decoders: str = setting("raw,weighted_viterbi", "ways from posteriors to pitch, separated by commas")
    against: str | None = setting(None, "take the track of this capacity for the truth")
    threshold: float = setting(0.5, "least confidence of a voiced frame", minimum=0.0, maximum=1.0)
    fmin: float = setting(0.0, "lowest pitch", unit="Hz", minimum=0.0)
    fmax: float = setting(MAX_FMAX, "highest pitch", unit="Hz", minimum=32.0, maximum=MAX_FMAX)
    limit: int | None = setting(None, "use only the first recordings", unit="recordings", minimum=1)
    seconds: float = setting(4.0, "length of a generated clip", unit="s", minimum=1.0)
    clips: int = setting(6, "generated clips of a family, each at every level of noise", minimum=1)
    seed: int = setting(0, "of the generated set", minimum=0)

    def __post_init__(self) -> None:
        check(self)
        for name in [*_parts(self.models or ""), *([] if self.against is None else [self.against])]:
            get_capacity(name)
        for name in _parts(self.decoders):
            if name not in DECODERS:
                raise ConfigError("decoders", repr(name), "some of " + ", ".join(DECODERS))
        if not _parts(self.decoders):
            raise ConfigError("decoders", repr(self.decoders), "at least one of " + ", ".join(DECODERS))
        if not self.fmin < self.fmax:
            raise ConfigError("fmin", f"{self.fmin} Hz", f"less than fmax ({self.fmax} Hz)")

    @property
    def model_names(self) -> list[CapacityName] | None:
        """The capacities, None for all whose weights are here."""
        return None if self.models is None else [get_capacity(name).name for name in _parts(self.models)]

    @property
    def decoder_names(self) -> list[str]:
        """The decoders, in the order of the reports."""
        return _parts(self.decoders)


def _parts(text: str) -> list[str]:
    # A name given twice would be counted twice.
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
