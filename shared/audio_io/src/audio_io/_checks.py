"""Checks of arguments that several modules take."""

from audio_io.errors import ConfigError


def check_count(field: str, value: object, unit: str) -> None:
    """Refuse what is no whole number of at least 1.

    Args:
        field: Name of the argument.
        value: What was given.
        unit: What it counts, such as `Hz`.

    Raises:
        ConfigError: If it is no such number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(field, repr(value), f"a whole number of {unit}, at least 1")
