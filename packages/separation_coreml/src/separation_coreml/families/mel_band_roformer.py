"""Mel-Band RoFormer: a transformer over bands of a mel scale, which overlap; see `roformer`.

`mel_band_roformer` gives vocals; trained by Kimberley Jensen.
"""

from audio_io.mel import mel_filters
from separation_coreml.families.base import Separator
from separation_coreml.families.roformer import N_FFT, Band, RoformerConfig, build_separator, load
from separation_coreml.model_spec import ModelSpec

__all__ = ["bands", "build", "load"]


def bands(sample_rate: int, count: int) -> tuple[Band, ...]:
    """The bins of each mel band: where its triangle (Slaney's scale) is above 0."""
    covered = mel_filters(sample_rate, N_FFT, count) > 0
    # The first and the last bin stand where a triangle begins or ends; they count as parts of it.
    covered[0, 0] = covered[-1, -1] = True
    found: list[Band] = []
    for row in covered:
        bins = row.nonzero()
        found.append((int(bins[0]), int(bins[-1]) + 1))
    return tuple(found)


def build(spec: ModelSpec, segment: int) -> Separator:
    """The network of a model of this family, without trained weights."""
    options = {key: value for key, value in spec.options.items() if key not in {"url", "num_bands"}}
    network = RoformerConfig(bands(spec.sample_rate, spec.options["num_bands"]), norm_each=True, **options)
    return build_separator(spec, segment, network)
