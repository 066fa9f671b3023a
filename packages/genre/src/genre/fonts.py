"""Names of genres and files in figures, whatever their script."""

import contextlib
import warnings
from collections.abc import Iterator

# Those of Linux, macOS and Windows.
_EAST_ASIAN_FONTS = (
    "Noto Sans CJK JP", "IPAexGothic", "Hiragino Sans", "Yu Gothic", "MS Gothic", "Microsoft YaHei",
    "Malgun Gothic",
)  # fmt: skip


@contextlib.contextmanager
def all_scripts() -> Iterator[None]:
    """Names of genres and files in the fonts that are here; what none of them has becomes a box."""
    import matplotlib as mpl
    from matplotlib.font_manager import fontManager

    here = set(fontManager.get_font_names())
    families = ["DejaVu Sans", *(font for font in _EAST_ASIAN_FONTS if font in here)]
    with mpl.rc_context({"font.family": families}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield
