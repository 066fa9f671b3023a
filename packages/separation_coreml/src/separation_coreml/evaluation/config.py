"""Settings of an evaluation. Free of torch, so that the command line can show its help at once."""

from dataclasses import dataclass
from typing import Literal

from audio_io.settings import check, setting

Subset = Literal["auto", "train", "test", "all"]


@dataclass(frozen=True)
class EvaluateConfig:
    """What songs are used, and what is computed.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    subset: Subset = setting("auto", "part of a data set; auto takes test where there is one")
    limit: int | None = setting(None, "use only the first songs", unit="songs", minimum=1)
    rendered: int | None = setting(None, "songs to render, in place of a data set", minimum=1)
    seconds: float = setting(20.0, "length of a rendered song", unit="s", minimum=0.5)
    seed: int = setting(0, "seed of the first rendered song", minimum=0)
    bss_eval: bool = setting(False, "compute SDR, SIR and SAR with filters of 512 taps too")
    baselines: bool = setting(False, "also score the mixture itself, median filters, and an ideal mask")
    workers: int = setting(1, "processes that share the songs", minimum=1)

    def __post_init__(self) -> None:
        check(self)
