"""Checks of arguments that several modules take."""

import numbers

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
    # NumPy's integers are whole numbers too: rates often come out of its arrays.
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ConfigError(field, repr(value), f"a whole number of {unit}, at least 1")
