"""Settings of the rendered corpus. Free of numpy, for the command line's help."""

from dataclasses import dataclass
from typing import Literal

from audio_io.settings import check, setting

SOUNDS = (
    "The instruments are those of the soundfont TimGM6mb by Tim Brechbill (GPL-2), which the wheel of "
    "pretty_midi (MIT) carries; TinySoundFont (MIT) plays them. The songs are composed by rules in this "
    "package."
)


@dataclass(frozen=True)
class DemoConfig:
    """How large the rendered corpus is; there are as many songs of each of the ten genres.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    seed: int = setting(0, "seed of artists and songs", minimum=0)
    artists: int = setting(10, "artists of each genre", minimum=1, maximum=99)
    songs: int = setting(3, "songs of each artist", minimum=1, maximum=99)
    duration: float = setting(8.0, "length of a song", unit="s", minimum=1.0, maximum=600.0)
    sample_rate: int = setting(22050, "sample rate of the files", unit="Hz", minimum=8000, maximum=96000)
    container: Literal["flac", "wav"] = setting("flac", "format of the files, 16 bit, mono")

    def __post_init__(self) -> None:
        check(self)
