"""Settings from a file and from the command line."""

import argparse

import pytest

from genre.cli import main
from genre.run_config import Settings
from genre.settings_file import add_settings, read_settings


def test_options_come_before_the_file_and_the_file_before_the_defaults(tmp_path):
    (tmp_path / "run.toml").write_text("[train]\nepochs = 7\nlr = 1\n[augment]\naugment_add_noise = false\n")
    parser = argparse.ArgumentParser()
    add_settings(parser)
    # 50 is the default, and yet comes before the file.
    found = read_settings(parser.parse_args(["--epochs", "50", "--config", str(tmp_path / "run.toml")]))
    assert (found.train.epochs, found.train.lr, found.train.weight_decay) == (50, 1.0, 1e-4)
    assert not found.augment.augment_add_noise
    assert read_settings(parser.parse_args([])) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nepoch = 7", "epoch: found in"),
        ("[training]\nepochs = 7", "training: found in"),
        ("[train]\nepochs = 7.5", "epochs: found 7.5, expected a whole number"),
        ("[train]\nuse_amp = 1", "use_amp: found 1, expected true or false"),
        ("[train]\nlr = -1.0", "lr: found -1.0, expected at least 0.0"),
        ("train = ", "no TOML"),
    ],
)
def test_a_bad_settings_file_is_one_sentence(tmp_path, capsys, text, message):
    (tmp_path / "run.toml").write_text(text)
    arguments = ["train", str(tmp_path), "-o", str(tmp_path / "out"), "--config", str(tmp_path / "run.toml")]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
