"""Settings of a corpus of the phantom. Free of numpy, for the command line's help."""

from dataclasses import dataclass

from audio_io.errors import ConfigError
from audio_io.settings import check, setting


@dataclass(frozen=True)
class PhantomConfig:
    """How much the phantom says, and how it is filmed.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    speakers: int = setting(6, "speakers: men and women in turn, every sixth a child", minimum=1)
    utterances: int = setting(10, "utterances of each speaker", minimum=1)
    seed: int = setting(0, "seed of everything that is drawn", minimum=0)
    fps: float | None = setting(
        None, "frames a second of the film; none is the mel rate, 27.17", minimum=1.0, maximum=1000.0
    )
    size: int = setting(256, "height and width of the film", unit="pixels", minimum=32)

    def __post_init__(self) -> None:
        check(self)
        if self.size % 2:
            raise ConfigError("size", self.size, "an even number, as video needs it")
