"""What the Swift package repeats, and the numbers that its own tests compare with."""

import json
from pathlib import Path

import pytest
import torch

from separation_coreml import ios, registry
from separation_coreml.cli import main
from separation_coreml.convert_model import prepare

VECTORS = Path(__file__).parent.parent / "ios" / "Tests" / "SeparationKitTests" / "vectors.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("ios") / "vectors.json"
    assert main(["ios-vectors", "-o", str(path)]) == 0
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def checked_in():
    return json.loads(VECTORS.read_text())


def test_the_checked_in_vectors_are_what_python_computes(written, checked_in):
    # Otherwise run: separation-coreml ios-vectors -o ios/Tests/SeparationKitTests/vectors.json
    assert written["noise"] == checked_in["noise"]
    assert written["starts"] == checked_in["starts"]
    for now, then in zip(written["overlap_add"], checked_in["overlap_add"], strict=True):
        torch.testing.assert_close(
            torch.tensor(now.pop("output")), torch.tensor(then.pop("output")), rtol=0, atol=then["tolerance"]
        )
        assert now == pytest.approx(then)
    for now, then in zip(written["stft"], checked_in["stft"], strict=True):
        for key in ("analysis", "synthesis"):
            mine, other = now.pop(key), then.pop(key)
            assert mine["indices"] == other["indices"]
            assert mine["values"] == pytest.approx(other["values"], abs=other["tolerance"], rel=0)
        assert now == then


def test_the_vectors_cover_every_model_with_a_layout(checked_in):
    covered = [name for entry in checked_in["stft"] for name in entry["models"]]
    assert sorted(covered) == sorted(n for n, spec in registry.MODELS.items() if spec.family in ios.LAYOUTS)


@pytest.mark.parametrize("name", ["hdemucs_mmi", "umxhq_nowiener", "spleeter_2stems"])
def test_the_layout_is_the_analysis_and_synthesis_of_the_model(name):
    separator = registry.build(name, weights="random", segment_seconds=0.4)
    layout = ios.LAYOUTS[registry.get_spec(name).family]
    waveform = ios.noise(7, 2, separator.segment)
    spectrogram = ios.analysis(waveform, separator.stft, layout)
    expected = separator.analysis(waveform[None])[0][0]
    torch.testing.assert_close(spectrogram, expected, rtol=0, atol=1e-6)

    stems = torch.randn(1, len(separator.stems), *spectrogram.shape)
    outputs = (stems,)
    if "waveforms" in separator.core_outputs:
        outputs = (stems, torch.zeros(1, len(separator.stems), 2, separator.segment))
    expected = separator.synthesis(outputs, separator.segment)[0, 0]
    found = ios.synthesis(stems[0, 0], separator.stft, layout, separator.segment)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_core_tells_its_layout_in_the_metadata():
    source = prepare("umxhq_nowiener", io="core", weights="random", segment_seconds=0.2)
    assert json.loads(source.metadata["spectrogram"])["before"] == 0
    assert "spectrogram" not in prepare("umxhq_nowiener", weights="random", segment_seconds=0.2).metadata
