"""Every family of the registry, narrow or at a short segment, converted and held against PyTorch."""

import dataclasses
import gc

import pytest
import torch

from separation_coreml import registry
from separation_coreml.convert_model import Io, convert_model
from separation_coreml.mil import load_program
from separation_coreml.verify import noise, separator_inputs, separator_reference, verify

# What to change in the options of a model, and a segment in s: what makes its graph is all there still.
NARROW = {
    "small": ({"width": 8, "narrow": 16}, 0.5),
    "htdemucs": ({"arguments": {"channels": 8, "t_layers": 3, "t_heads": 2, "bottom_channels": 32}}, 0.5),
    "htdemucs_ft": ({"arguments": {"channels": 4, "t_layers": 1, "t_heads": 2, "dconv_mode": 0}}, 0.4),
    "hdemucs_mmi": ({"arguments": {"channels": 8}}, 0.5),
    "hdemucs_high_musdb_plus": ({}, 0.5),
    "umxhq": ({}, 0.3),
    "umxhq_nowiener": ({}, 0.3),
    "spleeter_2stems": ({"filters": (2, 2, 4, 4, 6, 8)}, 0.5),
    "spleeter_5stems": ({"filters": (2, 2, 4, 4, 6, 8)}, 0.5),
    "wave_u_net": ({"features": 8, "levels": 4}, 0.3),
    "bs_roformer": ({"dim": 16, "depth": 1, "heads": 2, "dim_head": 8}, 0.2),
    "mel_band_roformer": ({"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "num_bands": 12}, 0.3),
    "mdx_net_drums": ({"network": {"bins": 512, "growth": 8, "levels": 2}}, 0.3),
    "uvr_kim_vocal_2": ({"network": {"bins": 3072, "growth": 8, "levels": 2}}, 0.3),
    "mdx23c": ({"network": {"width": 8, "growth": 4, "levels": 3}}, 0.3),
    "scnet": ({"dims": (8, 16, 32), "layers": 2}, 0.3),
}
# Networks whose width is the package's own, so that they come at their full size.
SLOW = {"hdemucs_high_musdb_plus", "umxhq"}


def cases():
    """The models above, and the first of each family that is not among them, as it is."""
    for name in NARROW:
        yield pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
    covered = {registry.get_spec(name).family for name in NARROW}
    for name, spec in registry.MODELS.items():
        if spec.family not in covered:
            covered.add(spec.family)
            yield pytest.param(name, marks=pytest.mark.slow)


def converted(name, io: Io, path, monkeypatch):
    """The program of a model, and the model."""
    changes, seconds = NARROW.get(name, ({}, 0.5))
    spec = registry.get_spec(name)
    narrow = dataclasses.replace(spec, options={**spec.options, **changes})
    monkeypatch.setitem(registry.MODELS, name, narrow)
    convert_model(name, path, io=io, weights="random", segment_seconds=seconds)
    return load_program(path), registry.build(name, weights="random", segment_seconds=seconds)


@pytest.mark.parametrize("name", list(cases()))
def test_a_family_is_the_same_model_after_conversion(name, tmp_path, monkeypatch):
    program, separator = converted(name, "waveform", tmp_path / "model.mlpackage", monkeypatch)
    report = verify(
        program, separator_reference(program, separator), noise(program, 1), stems=separator.stems
    )
    assert set(report.outputs[0].stems) == set(separator.stems)
    assert min(report.outputs[0].stems.values()) >= 110
    # What a whole network computes, and not a silence that any other would share.
    stems = program.run(**noise(program, 1))["stems"]
    assert stems.std(dim=(0, 2, 3)).min() > 1e-3
    gc.collect()


@pytest.mark.parametrize("name", ["htdemucs", "wave_u_net"])
def test_the_core_of_a_model_is_what_its_synthesis_needs(name, tmp_path, monkeypatch):
    program, separator = converted(name, "core", tmp_path / "core.mlpackage", monkeypatch)
    waveform = 0.1 * torch.randn(1, 2, separator.segment, generator=torch.Generator().manual_seed(1))
    inputs = separator_inputs(program, separator, waveform)
    assert verify(program, separator_reference(program, separator), inputs).passed
    outputs = program.run(**inputs)
    stems = separator.synthesis(tuple(outputs[name] for name in separator.core_outputs), separator.segment)
    assert (
        10 * torch.log10(separator(waveform).square().sum() / (stems - separator(waveform)).square().sum())
        > 110
    )
