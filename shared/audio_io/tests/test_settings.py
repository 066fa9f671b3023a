import argparse
from dataclasses import dataclass
from typing import Literal

import pytest

from audio_io.errors import ConfigError
from audio_io.settings import add_arguments, check, from_arguments, setting


@dataclass(frozen=True)
class Config:
    hop_length: int = setting(160, "step between frames", unit="samples", minimum=1)
    gain: float = setting(0.5, "level, as a share of 100 %", minimum=0.0, maximum=1.0)
    window: Literal["hann", "hamming"] = setting("hann", "shape of the window")
    channel: int | None = setting(None, "which one", minimum=0)
    pad: bool = setting(True, "whether to pad")

    def __post_init__(self):
        check(self)


def parse(*arguments):
    parser = argparse.ArgumentParser(prog="x")
    add_arguments(parser, Config)
    return from_arguments(Config, parser.parse_args(arguments))


def test_without_options_the_defaults_hold():
    assert parse() == Config()


def test_every_field_can_be_set():
    found = parse("--hop-length", "80", "--gain", "1", "--window", "hamming", "--channel", "2", "--no-pad")
    assert found == Config(80, 1.0, "hamming", 2, False)


def test_the_help_gives_default_and_unit(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    text = capsys.readouterr().out
    assert "step between frames (default: 160 samples)" in text
    assert "level, as a share of 100 % (default: 0.5)" in text
    assert "which one (default: none)" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop_length": 0}, "hop_length: found 0, expected at least 1"),
        ({"gain": 1.01}, "gain: found 1.01, expected from 0.0 to 1.0"),
        ({"gain": float("nan")}, "gain: found nan, expected from 0.0 to 1.0"),
        ({"window": "boxcar"}, "window: found 'boxcar', expected one of hann, hamming"),
        ({"channel": -1}, "channel: found -1, expected at least 0"),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(changes, message):
    with pytest.raises(ConfigError) as caught:
        Config(**changes)
    assert str(caught.value) == message


@pytest.mark.parametrize("arguments", [["--hop-length", "1.5"], ["--window", "boxcar"], ["--nothing", "1"]])
def test_what_argparse_refuses_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(*arguments)
    assert stop.value.code == 2
    assert "x: error: " in capsys.readouterr().err
