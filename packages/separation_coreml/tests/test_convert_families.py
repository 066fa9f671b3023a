"""Every family of the registry, narrow or at a short segment, converted and held against PyTorch."""

import dataclasses
import functools
import gc

import pytest
import torch
from torchaudio.models import HDemucs

from separation_coreml import registry
from separation_coreml.convert_model import Io, convert_model, prepare
from separation_coreml.families import bs_roformer, torchaudio_hdemucs
from separation_coreml.mil import load_program
from separation_coreml.onnx_export import export_onnx
from separation_coreml.verify import noise, separator_inputs, separator_reference, verify

TINY = {"channels": 4, "t_layers": 1, "t_heads": 2, "dconv_mode": 0}
# What to change in the options of a model, and a segment in s: what makes its graph is all there still.
NARROW = {
    "small": ({"width": 8, "narrow": 16}, 0.5),
    "htdemucs": ({"arguments": {"channels": 8, "t_layers": 3, "t_heads": 2, "bottom_channels": 32}}, 0.5),
    "htdemucs_ft": ({"arguments": TINY, "bag": ("drums", "vocals")}, 0.4),
    "hdemucs_mmi": ({"arguments": {"channels": 8}}, 0.5),
    "hdemucs_high_musdb_plus": ({}, 0.5),
    "umxhq": ({}, 0.3),
    "umxhq_nowiener": ({}, 0.3),
    "spleeter_2stems": ({"filters": (2, 2, 4, 4, 6, 8)}, 0.5),
    "spleeter_5stems": ({"filters": (2, 2, 4, 4, 6, 8)}, 0.5),
    "wave_u_net": ({"features": 8, "levels": 3}, 0.3),
    "bs_roformer": ({"dim": 16, "depth": 1, "heads": 2, "dim_head": 8}, 0.2),
    "mel_band_roformer": ({"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "num_bands": 12}, 0.3),
    "mdx_net_drums": ({"network": {"bins": 512, "growth": 8, "levels": 2}}, 0.3),
    "uvr_kim_vocal_2": ({"network": {"bins": 3072, "growth": 8, "levels": 2}}, 0.3),
    "mdx23c": ({"network": {"width": 8, "growth": 4, "levels": 3}}, 0.3),
    "scnet": ({"dims": (8, 16, 32), "layers": 2}, 0.3),
}
# Fewer stems, where each has a network of its own.
STEMS = {
    "htdemucs_ft": ("drums", "vocals"),
    "umxhq": ("vocals", "bass"),
    "umxhq_nowiener": ("vocals", "bass"),
    "spleeter_5stems": ("vocals", "piano", "bass"),
    "wave_u_net": ("bass", "vocals"),
}


def cases():
    """The models above, and the first of each family that is not among them, as it is."""
    for name in NARROW:
        yield pytest.param(name)
    covered = {registry.get_spec(name).family for name in NARROW}
    for name, spec in registry.MODELS.items():
        if spec.family not in covered:
            covered.add(spec.family)
            yield pytest.param(name, marks=pytest.mark.slow)


@pytest.fixture
def narrow(monkeypatch):
    """Makes a model of the registry narrow and gives its segment in s."""
    # Widths that are no option of a model.
    monkeypatch.setattr(
        torchaudio_hdemucs, "hdemucs_high", functools.partial(HDemucs, nfft=4096, depth=6, channels=8)
    )
    monkeypatch.setattr(bs_roformer, "_WIDTHS", ((2, 4), (24, 2), (128, 7), (73, 1)))

    def change(name, **others):
        changes, seconds = NARROW.get(name, ({}, 0.5))
        spec = registry.get_spec(name)
        options = {**spec.options, **changes, **others}
        changed = dataclasses.replace(spec, options=options, stems=STEMS.get(name, spec.stems))
        monkeypatch.setitem(registry.MODELS, name, changed)
        return seconds

    return change


@pytest.fixture
def converted(narrow, tmp_path):
    """Converts a model, narrow, and gives its program and the model."""

    def convert(name, io: Io = "waveform", **others):
        seconds = narrow(name, **others)
        path = tmp_path / "model.mlpackage"
        convert_model(name, path, io=io, weights="random", segment_seconds=seconds, parity=False)
        return load_program(path), registry.build(name, weights="random", segment_seconds=seconds)

    return convert


@pytest.mark.parametrize("name", list(cases()))
def test_a_family_is_the_same_model_after_conversion(name, converted):
    program, separator = converted(name)
    report = verify(
        program, separator_reference(program, separator), noise(program, 1), stems=separator.stems
    )
    assert set(report.outputs[0].stems) == set(separator.stems)
    assert min(report.outputs[0].stems.values()) >= 110
    # What a whole network computes, and not a silence that any other would share.
    stems = program.run(**noise(program, 1))["stems"]
    assert stems.std(dim=(0, 2, 3)).min() > 1e-3
    gc.collect()


@pytest.mark.parametrize("name", list(cases()))
def test_a_family_is_the_same_model_as_an_onnx_file(name, narrow, tmp_path):
    pytest.importorskip("onnxruntime", reason="extra onnx")
    source = prepare(name, weights="random", segment_seconds=narrow(name))
    report = export_onnx(
        source.module,
        source.inputs,
        tmp_path / "model.onnx",
        input_names=source.input_names,
        output_names=source.output_names,
        stems=registry.get_spec(name).stems,
    )
    (stems,) = report.parity.outputs
    assert set(stems.stems) == set(registry.get_spec(name).stems)
    assert min(stems.stems.values()) >= 110
    gc.collect()


@pytest.mark.parametrize(
    ("name", "options"), [("htdemucs", {"arguments": TINY}), ("wave_u_net", {"levels": 2})]
)
def test_the_core_of_a_model_is_what_its_synthesis_needs(name, options, converted):
    program, separator = converted(name, "core", **options)
    waveform = 0.1 * torch.randn(1, 2, separator.segment, generator=torch.Generator().manual_seed(1))
    inputs = separator_inputs(program, separator, waveform)
    assert verify(program, separator_reference(program, separator), inputs).passed
    outputs = program.run(**inputs)
    stems = separator.synthesis(tuple(outputs[name] for name in separator.core_outputs), separator.segment)
    assert (
        10 * torch.log10(separator(waveform).square().sum() / (stems - separator(waveform)).square().sum())
        > 110
    )
