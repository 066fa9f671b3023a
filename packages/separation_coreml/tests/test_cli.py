import pytest

from separation_coreml.cli import main


def test_help_says_honestly_that_there_are_no_commands_yet(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: separation-coreml")
    assert "No commands yet" in printed


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train"])
    assert stop.value.code == 2
    assert "separation-coreml: error: unrecognized arguments: train" in capsys.readouterr().err
