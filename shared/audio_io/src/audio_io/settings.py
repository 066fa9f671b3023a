"""Configuration as frozen dataclasses, and the same fields as command-line options.

A configuration class states every default once, with its unit and help text::

    @dataclass(frozen=True)
    class TrackConfig:
        hop_length: int = setting(160, "step between frames", unit="samples at 16 kHz", minimum=1)

`add_arguments` turns the fields into options (`--hop-length`), `from_arguments` builds the class back from
what was parsed, and `check` (called from `__post_init__`) enforces the bounds for the Python API and the
command line alike.
"""

import argparse
import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from audio_io.errors import ConfigError

T = TypeVar("T")


def setting(
    default: T,
    help: str,  # noqa: A002 - argparse's own word for it
    *,
    unit: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> T:
    """A dataclass field with its documentation and bounds.

    Args:
        default: The default value; it has to be immutable.
        help: What the setting does, for `--help` and the documentation.
        unit: Unit of the value, shown with the default.
        minimum: Least value accepted, inclusive.
        maximum: Greatest value accepted, inclusive.
    """
    metadata = {"help": help, "unit": unit, "minimum": minimum, "maximum": maximum}
    # To the type checker `field` has the type of its default.
    return dataclasses.field(default=default, metadata=metadata)


def check(config: object) -> None:
    """Enforce types of choice and bounds of every field of a configuration.

    Args:
        config: An instance of a dataclass whose fields were made by `setting`.

    Raises:
        ConfigError: If a value is outside its bounds or choices; it names the field.
    """
    for field in dataclasses.fields(config):  # type: ignore[arg-type]  # any dataclass instance
        value = getattr(config, field.name)
        choices, kind = _choices_and_type(_hints(type(config))[field.name])
        if choices and value not in choices:
            raise ConfigError(field.name, repr(value), "one of " + ", ".join(map(str, choices)))
        if kind is int and value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise ConfigError(field.name, repr(value), "a whole number")
        minimum, maximum = field.metadata.get("minimum"), field.metadata.get("maximum")
        if value is None or (minimum is None and maximum is None):
            continue
        below = minimum is not None and not value >= minimum
        above = maximum is not None and not value <= maximum
        if below or above:
            raise ConfigError(field.name, value, _range_text(minimum, maximum))


def add_arguments(parser: argparse.ArgumentParser, config_class: type, *, title: str = "settings") -> None:
    """Add one option for each field of a configuration class to a parser.

    Booleans become `--flag/--no-flag`, `Literal` fields become choices, `X | None` takes an X.
    """
    group = parser.add_argument_group(title)
    for field in dataclasses.fields(config_class):
        choices, kind = _choices_and_type(_hints(config_class)[field.name])
        unit = field.metadata.get("unit")
        shown = "none" if field.default is None else field.default
        text = f"{field.metadata.get('help', '')} (default: {shown}{f' {unit}' if unit else ''})".replace(
            "%", "%%"
        )
        options: dict[str, Any] = {"dest": field.name, "default": field.default, "help": text}
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["type"] = kind
            options["choices"] = choices or None
            options["metavar"] = None if choices else kind.__name__.upper()
        group.add_argument("--" + field.name.replace("_", "-"), **options)


def from_arguments(config_class: type[T], arguments: argparse.Namespace) -> T:
    """Build the configuration from parsed arguments; the class's own checks apply."""
    names = [field.name for field in dataclasses.fields(config_class)]  # type: ignore[arg-type]
    return config_class(**{name: getattr(arguments, name) for name in names})


def _hints(config_class: type) -> Mapping[str, Any]:
    return typing.get_type_hints(config_class)


def _choices_and_type(hint: Any) -> tuple[tuple[Any, ...], type]:  # noqa: ANN401 - a type annotation of any form
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = [option for option in typing.get_args(hint) if option is not type(None)]
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        return choices, type(choices[0])
    return (), hint


def _range_text(minimum: float | None, maximum: float | None) -> str:
    if maximum is None:
        return f"at least {minimum}"
    if minimum is None:
        return f"at most {maximum}"
    return f"from {minimum} to {maximum}"
