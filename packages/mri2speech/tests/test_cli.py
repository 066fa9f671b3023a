from importlib.metadata import entry_points

from mri2speech.cli import main


def test_help(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: mri2speech")


def test_train_is_a_script_of_its_own():
    (script,) = entry_points(group="console_scripts", name="train")
    assert script.value == "mri2speech.cli:train"
