import matplotlib as mpl
import pytest

from audio_io.figures import DPI, PALETTE, new_figure


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_figure_is_saved_in_the_format_of_its_suffix(tmp_path, suffix, magic):
    with new_figure(tmp_path / f"a.{suffix}") as figure:
        figure.subplots().plot([1, 2])
    assert (tmp_path / f"a.{suffix}").read_bytes().startswith(magic)


def test_the_style_is_ours_inside_and_unchanged_outside(tmp_path):
    before = mpl.rcParams["axes.prop_cycle"]
    with new_figure(tmp_path / "a.png", width=2, height=1) as figure:
        (line,) = figure.subplots().plot([1, 2])
        assert line.get_color() == PALETTE[0]
    assert mpl.rcParams["axes.prop_cycle"] == before
    header = (tmp_path / "a.png").read_bytes()[16:24]
    assert (int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")) == (2 * DPI, DPI)


def test_a_figure_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), new_figure(tmp_path / "a.png"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())
