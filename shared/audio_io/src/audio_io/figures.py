"""The one look of all figures: style, colours that colour-blind readers can tell apart, atomic saving.

Needs matplotlib: `pip install audio-io[figures]`.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio_io.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito, "Color Universal Design" (2008), without yellow, which vanishes on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DPI = 150

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.dpi": DPI,
    "font.size": 9,
    "grid.alpha": 0.25,
    "image.cmap": "magma",
    "legend.frameon": False,
    "savefig.dpi": DPI,
}


@contextlib.contextmanager
def new_figure(target: str | Path, *, width: float = 10.0, height: float = 4.0) -> "Iterator[Figure]":
    """A figure in the house style, saved atomically to `target` when the block ends without an exception.

    The figure is made without pyplot: no global state, no display, nothing to close.

    Args:
        target: Image file; its suffix (`.png`, `.svg`, `.pdf`) sets the format.
        width: Width, in inches.
        height: Height, in inches.
    """
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "axes.prop_cycle": cycler(color=PALETTE)}):
        figure = Figure(figsize=(width, height))
        yield figure
        with atomic_path(target) as temporary:
            figure.savefig(temporary)
