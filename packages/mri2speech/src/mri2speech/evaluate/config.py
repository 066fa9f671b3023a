"""Settings of an evaluation. Free of torch and numpy, for the command line's help."""

from dataclasses import dataclass
from typing import Literal

from audio_io.settings import check, setting


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    part: Literal["test", "validation", "train", "all"] = setting(
        "test", "part of the split that is measured"
    )
    players: int = setting(6, "utterances to listen to on the page", minimum=0)
    griffin_lim: bool = setting(True, "measure Griffin-Lim beside the vocoder")

    def __post_init__(self) -> None:
        check(self)
