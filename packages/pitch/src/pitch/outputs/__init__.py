"""The files that `pitch track` can write, by the names that `--outputs` takes."""

from collections.abc import Iterable

from audio_io.errors import ConfigError

# What follows the name of the recording.
SUFFIXES = {
    "csv": ".f0.csv",
    "npy": ".f0.npy",
    "pt": ".f0.pt",
    "pitchtier": ".f0.PitchTier",
    "jams": ".jams",
    "notes": ".notes.csv",
    "midi": ".notes.mid",
    "png": ".f0.png",
    "svg": ".f0.svg",
    "json": ".f0.json",
}
DEFAULT_OUTPUTS = ("csv", "png", "json")


def check_outputs(names: str | Iterable[str]) -> tuple[str, ...]:
    """The names of output formats, each once, in the order of `SUFFIXES`.

    Args:
        names: Names, or one text with commas between them.

    Raises:
        ConfigError: If a name is unknown, or there is none.
    """
    asked = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    for name in asked:
        if name not in SUFFIXES:
            raise ConfigError("outputs", repr(name), "some of " + ",".join(SUFFIXES))
    if not asked:
        raise ConfigError("outputs", "nothing", "some of " + ",".join(SUFFIXES))
    return tuple(name for name in SUFFIXES if name in asked)
