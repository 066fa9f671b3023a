from genre.cli import main


def test_help(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: genre")
