"""BS-RoFormer: a transformer over bands that lie side by side; see `roformer`.

`bs_roformer` gives vocals (trained by viperx), `bs_roformer_4stems` four stems (trained on MUSDB18-HQ alone
by the authors of Music-Source-Separation-Training). The bands are those of the paper's experiments: 2 bins
each up to 1 kHz, then 4, 12, 24, 48, and two of an eighth of the spectrum.
"""

from separation_coreml.families.base import Separator
from separation_coreml.families.roformer import Band, RoformerConfig, build_separator, load
from separation_coreml.model_spec import ModelSpec

__all__ = ["bands", "build", "load"]

# Widths in bins, and how many bands have each.
_WIDTHS = ((2, 24), (4, 12), (12, 8), (24, 8), (48, 8), (128, 1), (129, 1))


def bands() -> tuple[Band, ...]:
    """The 62 bands of 1,025 bins."""
    found: list[Band] = []
    start = 0
    for width, count in _WIDTHS:
        for _ in range(count):
            found.append((start, start + width))
            start += width
    return tuple(found)


def build(spec: ModelSpec, segment: int) -> Separator:
    """The network of a model of this family, without trained weights."""
    options = {key: value for key, value in spec.options.items() if key != "url"}
    return build_separator(spec, segment, RoformerConfig(bands(), **options))
