"""Settings from a TOML file and from the command line, the latter before the former. Free of torch.

[train]
epochs = 20
[augment]
augment_mode = "waveform"
"""

import argparse
import dataclasses
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audio_io.errors import ConfigError, FileError
from audio_io.settings import add_arguments
from genre.run_config import Settings

TABLES: Mapping[str, type] = {
    field.name: typing.get_type_hints(Settings)[field.name] for field in dataclasses.fields(Settings)
}


def add_settings(parser: argparse.ArgumentParser, *tables: str, note: str = "") -> None:
    """Add `--config` and an option for each field of tables of `Settings`, all of them by default.

    Args:
        parser: Of the command.
        tables: Names of the tables.
        note: What the help says about all of them.
    """
    parser.add_argument("--config", metavar="FILE", help="TOML file with settings; options come before it")
    for table in tables or TABLES:
        add_optional(parser, TABLES[table], title=f"settings of [{table}]{note}")


def add_optional(parser: argparse.ArgumentParser, config_class: type, *, title: str) -> None:
    """`audio_io.settings.add_arguments`, but what was not given is None, for `given`."""
    add_arguments(parser, config_class, title=title)
    parser.set_defaults(**dict.fromkeys(field.name for field in dataclasses.fields(config_class)))


def given(arguments: argparse.Namespace, config_class: type) -> dict[str, Any]:
    """Fields of a configuration that were given on the command line; see `add_optional`."""
    names = [field.name for field in dataclasses.fields(config_class)]
    return {name: value for name in names if (value := getattr(arguments, name, None)) is not None}


def read_settings(arguments: argparse.Namespace, base: Settings | None = None) -> Settings:
    """The settings that a command was called with.

    Args:
        arguments: Parsed by a parser from `add_settings`.
        base: What holds where neither the command line nor the file says anything; the defaults if None.

    Raises:
        FileError: If the file cannot be read as TOML.
        ConfigError: If it has an unknown table or field, or a value cannot be used.
    """
    base = Settings() if base is None else base
    tables = read_toml(arguments.config) if arguments.config else {}
    parts = {}
    for name, kind in TABLES.items():
        values = {**tables.get(name, {}), **given(arguments, kind)}
        parts[name] = dataclasses.replace(getattr(base, name), **values)
    return Settings(**parts)


def read_toml(path: str | Path) -> dict[str, dict[str, Any]]:
    """Tables of a TOML file, every field known and of its type.

    Raises:
        FileError: If the file cannot be read as TOML.
        ConfigError: If it has an unknown table or field, or a value of another type.
    """
    try:
        with Path(path).open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise FileError(path, f"nothing readable ({error.strerror})", "a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(path, f"no TOML ({error})", "a TOML file with settings") from error
    for table, values in content.items():
        if table not in TABLES or not isinstance(values, dict):
            raise ConfigError(table, f"in {path}", "one of the tables " + ", ".join(TABLES))
        hints = typing.get_type_hints(TABLES[table])
        for name, value in values.items():
            if name not in hints:
                raise ConfigError(name, f"in [{table}] of {path}", "one of " + ", ".join(hints))
            values[name] = _typed(name, value, hints[name])
    return content


def _typed(name: str, value: Any, hint: Any) -> Any:  # noqa: ANN401 - what TOML holds, and an annotation
    options = typing.get_args(hint) or (hint,)
    kinds = tuple(type(option) if isinstance(option, str) else option for option in options)
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) not in kinds:
        names = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}
        expected = " or ".join(names[kind] for kind in dict.fromkeys(kinds) if kind in names)
        raise ConfigError(name, repr(value), expected)
    return value
