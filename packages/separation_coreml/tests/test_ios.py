"""What the Swift package repeats, and the numbers that its own tests compare with."""

import dataclasses
import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from separation_coreml import ios, registry
from separation_coreml.cli import main
from separation_coreml.convert_model import prepare

# The STFT of a model is that of a narrow one.
NARROW = {
    "scnet": {"dims": (4, 4, 4), "layers": 2},
    "bs_roformer": {"dim": 8, "depth": 1, "heads": 1, "dim_head": 8},
    "uvr_main": {"network": {"bins": 3072, "growth": 2, "bottleneck": 64}},
    "mdx23c": {"network": {"width": 4, "growth": 2, "blocks": 1, "bottleneck": 32}},
}
VECTORS = Path(__file__).parent.parent / "ios" / "Tests" / "SeparationKitTests" / "vectors.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("ios") / "vectors.json"
    assert main(["ios-vectors", "-o", str(path)]) == 0
    return json.loads(path.read_text())


@pytest.fixture
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


def test_the_vectors_cover_every_model_with_one_stft(checked_in):
    covered = {name for entry in checked_in["stft"] for name in entry["models"]}
    # One of waveforms, and a bag with an STFT for each member.
    assert set(registry.MODELS) - covered == {"wave_u_net", "mdx_net"}
    assert covered < set(registry.MODELS)


@pytest.mark.parametrize(
    "name",
    ["hdemucs_mmi", "umxhq_nowiener", "spleeter_2stems", "scnet", "bs_roformer", "uvr_main", "mdx23c"],
)
# Whole numbers of hops, and not.
@pytest.mark.parametrize("length", [18 * 1024, 17640])
def test_the_layout_is_the_analysis_and_synthesis_of_the_model(name, length):
    spec = registry.get_spec(name)
    family = importlib.import_module(f"separation_coreml.families.{spec.family}")
    narrow = dataclasses.replace(spec, options={**spec.options, **NARROW.get(name, {})})
    separator = family.build(narrow, length)
    layout = ios.get_layout(spec.family, separator.stft)
    waveform = ios.noise(7, 2, length)
    spectrogram = ios.analysis(waveform, separator.stft, layout)
    expected = separator.analysis(waveform[None])[0][0]
    torch.testing.assert_close(spectrogram, expected, rtol=0, atol=1e-6)

    stems = torch.randn(1, len(separator.stems), *spectrogram.shape)
    outputs = (stems,)
    if "waveforms" in separator.core_outputs:
        outputs = (stems, torch.zeros(1, len(separator.stems), 2, length))
    expected = separator.synthesis(outputs, length)[0, 0]
    found = ios.synthesis(stems[0, 0], separator.stft, layout, length)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_the_vectors_are_those_of_the_swift_algorithm_in_float64(checked_in):
    for entry in checked_in["stft"]:
        fourier = Mirror(entry["stft"], entry["layout"])
        waveform = ios.noise(3, 2, entry["length"]).double().numpy()
        spectrogram = fourier.analysis(waveform)
        assert list(spectrogram.shape) == entry["shape"]
        given = ios.noise(5, *entry["shape"]).double().numpy()
        for found, wanted in (
            (spectrogram, entry["analysis"]),
            (fourier.synthesis(given, entry["length"]), entry["synthesis"]),
        ):
            np.testing.assert_allclose(
                found.ravel()[wanted["indices"]], wanted["values"], rtol=0, atol=wanted["tolerance"]
            )


@pytest.mark.parametrize("size", [96, 112, 5120, 6144, 7680])
def test_the_transform_without_vdsp_splits_by_the_smallest_factor(size):
    signal = ios.noise(9, size).double().numpy()
    np.testing.assert_allclose(split_transform(signal), np.fft.fft(signal), rtol=0, atol=1e-11 * size)


def test_vdsp_has_a_transform_for_every_model(checked_in):
    # f · 2^n with n >= 3 and f one of 1, 3, 5, 15, as vDSP_DFT_zop_CreateSetup takes them.
    for entry in checked_in["stft"]:
        size = entry["stft"]["n_fft"]
        odd = size // (size & -size)
        assert odd in {1, 3, 5, 15}
        assert size // odd >= 8


class Mirror:
    """ShortTimeFourier.swift in float64."""

    def __init__(self, stft, layout):
        self.stft, self.layout = SimpleNamespace(**stft), SimpleNamespace(**layout)
        self.size, self.hop = self.stft.n_fft, self.stft.hop_length
        length = self.stft.win_length
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
        margin = (self.size - length) // 2
        self.window = np.zeros(self.size)
        self.window[margin : margin + length] = hann if self.stft.window == "hann" else 1
        self.scale = self.size**-0.5 if self.stft.normalized else 1.0

    def after(self, length):
        hop, layout = self.hop, self.layout
        count = layout.after
        if layout.whole_hops:
            count += (length + hop - 1) // hop * hop - length
        if layout.multiple > 1:
            samples = layout.before + length + count
            frames = (samples + hop - 1) // hop + 1
            whole = (frames + layout.multiple - 1) // layout.multiple * layout.multiple
            count += (whole - 1) * hop - samples
        return count

    def analysis(self, waveform):
        layout = self.layout
        outer = pad(waveform, layout.before, self.after(waveform.shape[1]), layout.pad_mode)
        inner = self.size // 2 if self.stft.center else 0
        padded = pad(outer, inner, inner, self.stft.pad_mode)
        frames = 1 + (padded.shape[1] - self.size) // self.hop - 2 * layout.frames
        bins = self.size // 2 + 1 - layout.bins
        values = np.zeros((2 * len(waveform), bins, frames))
        for frame in range(frames):
            start = (frame + layout.frames) * self.hop
            spectrum = np.fft.fft(padded[:, start : start + self.size] * self.window)[:, :bins]
            values[0::2, :, frame] = spectrum.real * self.scale
            values[1::2, :, frame] = spectrum.imag * self.scale
        return values

    def synthesis(self, spectrogram, length):
        rows, bins, frames = spectrogram.shape
        total = self.size + (frames + 2 * self.layout.frames - 1) * self.hop
        weights, sums = np.zeros(total), np.zeros((rows // 2, total))
        for frame in range(frames + 2 * self.layout.frames):
            weights[frame * self.hop : frame * self.hop + self.size] += self.window**2
        for frame in range(frames):
            half = np.zeros((rows // 2, self.size // 2 + 1), dtype=complex)
            half[:, :bins] = spectrogram[0::2, :, frame] + 1j * spectrogram[1::2, :, frame]
            half[:, [0, -1]] = half[:, [0, -1]].real
            whole = np.concatenate([half, half[:, -2:0:-1].conj()], axis=1)
            start = (frame + self.layout.frames) * self.hop
            sums[:, start : start + self.size] += np.fft.ifft(whole).real * self.window
        offset = (self.size // 2 if self.stft.center else 0) + self.layout.before
        count = min(length, total - offset)
        weight = weights[offset : offset + count]
        waveform = np.zeros((rows // 2, length))
        safe = np.where(weight > 1e-11, weight, np.inf)
        waveform[:, :count] = sums[:, offset : offset + count] / safe / self.scale
        return waveform


def pad(signal, before, after, mode):
    if mode == "reflect":
        assert signal.shape[1] > max(before, after)
    return np.pad(signal, ((0, 0), (before, after)), mode=mode)


def split_transform(signal):
    """FourierTransform.swift without vDSP."""
    count = len(signal)
    if count == 1:
        return signal.astype(complex)
    factor = next(number for number in range(2, count + 1) if count % number == 0)
    part = count // factor
    parts = [split_transform(signal[offset::factor]) for offset in range(factor)]
    bins = np.arange(count)
    turns = [np.exp(-2j * np.pi * (offset * bins % count) / count) for offset in range(factor)]
    return sum(parts[offset][bins % part] * turns[offset] for offset in range(factor))


def test_a_core_tells_its_layout_in_the_metadata():
    source = prepare("umxhq_nowiener", io="core", weights="random", segment_seconds=0.2)
    assert json.loads(source.metadata["spectrogram"])["before"] == 0
    assert "spectrogram" not in prepare("umxhq_nowiener", weights="random", segment_seconds=0.2).metadata
