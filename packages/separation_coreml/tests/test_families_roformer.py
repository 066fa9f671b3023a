"""BS-RoFormer and Mel-Band RoFormer against the package bs-roformer, where the architectures coincide."""

import dataclasses
from itertools import pairwise

import bs_roformer as upstream
import pytest
import torch

from audio_io.errors import FileError
from separation_coreml import checkpoints, registry
from separation_coreml.families import bs_roformer, mel_band_roformer
from separation_coreml.families.base import vary
from separation_coreml.families.roformer import apart

LENGTH = 17640  # a whole number of hops
NARROW = {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8}
FAMILIES = {"bs_roformer": bs_roformer, "mel_band_roformer": mel_band_roformer}


@pytest.fixture(scope="module")
def waveform():
    return 0.2 * torch.randn(2, 2, LENGTH, generator=torch.Generator().manual_seed(0))


def narrow(name, **changes):
    spec = registry.get_spec(name)
    return dataclasses.replace(spec, options={**spec.options, **NARROW, **changes})


def built(name, **changes):
    spec = narrow(name, **changes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        separator = FAMILIES[spec.family].build(spec, LENGTH).eval()
        vary(separator)
    return separator.requires_grad_(requires_grad=False)


def package(family, stems):
    """The network of the package without what it has gained since the checkpoints were trained."""
    settings = {
        **NARROW,
        "stereo": True,
        "num_stems": stems,
        "time_transformer_depth": 1,
        "freq_transformer_depth": 1,
        "num_residual_streams": 1,
        "stft_hop_length": 441,
        "flash_attn": False,
        "mask_estimator_depth": 2,
    }
    if family == "bs_roformer":
        return upstream.BSRoformer(**settings).eval()
    more = {"linear_transformer_depth": 0, "add_value_residual": False, "match_input_audio_length": True}
    return upstream.MelBandRoformer(**settings, **more).eval()


def translated(state, network):
    """The state of our network under the names of the package; all of it has to find its place."""
    rest, result = dict(state), {}
    for key, value in network.state_dict().items():
        if "to_value_residual_mix" in key:
            # A sigmoid of 0, so that the values are not mixed with those of the first layer.
            result[key] = torch.full_like(value, -1e9) if key.endswith("bias") else torch.zeros_like(value)
            continue
        parts = key.replace(".branch.", ".").split(".")
        if isinstance(network, upstream.MelBandRoformer) and parts[0] == "layers":
            parts[2] = str(int(parts[2]) - 1)  # the first one is a transformer that none of the models has
        result[key] = rest.pop(".".join(parts))
    assert not rest
    return result


@pytest.mark.parametrize("name", ["bs_roformer", "bs_roformer_4stems", "mel_band_roformer"])
@torch.inference_mode()
def test_forward_is_that_of_the_package(name, waveform):
    separator = built(name, **({"mask_widening": 4} if name == "bs_roformer_4stems" else {}))
    network = package(registry.get_spec(name).family, len(separator.stems))
    network.load_state_dict(translated(separator.state_dict(), network))
    expected = network(waveform).reshape(2, len(separator.stems), 2, LENGTH)
    stems = separator(waveform)
    error = (stems - expected).square().sum()
    assert 10 * torch.log10(expected.square().sum() / error) > 120
    # Random weights must not make an output so small that a comparison proves nothing.
    assert stems.std(dim=(0, 2, 3)).min() > 1e-3


@pytest.mark.parametrize("name", ["bs_roformer_4stems", "mel_band_roformer"])
@torch.inference_mode()
def test_three_steps_are_the_whole_model(name, waveform):
    separator = built(name)
    mixture = waveform[..., :10000]
    inputs = separator.analysis(mixture)
    outputs = separator.core(*inputs)
    assert [tuple(value.shape) for value in inputs] == [(2, 4, 1025, 23)]
    assert [tuple(value.shape) for value in outputs] == [(2, len(separator.stems), 4, 1025, 23)]
    assert not any(value.is_complex() for value in (*inputs, *outputs))
    torch.testing.assert_close(separator.synthesis(outputs, 10000), separator(mixture))


@torch.inference_mode()
def test_silence_stays_silence():
    # Its bands have the norm 0.
    for name in FAMILIES:
        assert not built(name)(torch.zeros(1, 2, 5000)).any()


def test_the_bands_are_the_published_ones():
    bands = bs_roformer.bands()
    assert [stop - start for start, stop in bands] == (
        24 * [2] + 12 * [4] + 8 * [12] + 8 * [24] + 8 * [48] + [128, 129]
    )
    assert all(before[1] == after[0] for before, after in pairwise(bands))
    assert apart(bands) == [list(range(62))]
    bands = mel_band_roformer.bands(44100, 60)
    network = upstream.MelBandRoformer(dim=2, depth=1, dim_head=8, heads=1, num_residual_streams=1)
    covered = torch.zeros(60, 1025, dtype=torch.bool)
    for index, (start, stop) in enumerate(bands):
        covered[index, start:stop] = True
    assert torch.equal(covered, network.freqs_per_band)
    assert [len(row) for row in apart(bands)] == [30, 30]


@pytest.mark.parametrize(
    ("name", "count", "shapes"),
    [
        (
            "bs_roformer",
            699,
            {
                "layers.11.1.layers.0.0.rotary_embed.freqs": (32,),
                "layers.11.1.layers.0.0.norm.gamma": (512,),
                "layers.11.1.layers.0.0.to_qkv.weight": (1536, 512),
                "layers.11.1.layers.0.0.to_gates.weight": (8, 512),
                "layers.11.1.layers.0.0.to_out.0.weight": (512, 512),
                "layers.0.0.layers.0.1.net.0.gamma": (512,),
                "layers.0.0.layers.0.1.net.4.weight": (512, 2048),
                "final_norm.gamma": (512,),
                "band_split.to_features.61.0.gamma": (516,),
                "band_split.to_features.61.1.weight": (512, 516),
                "mask_estimators.0.to_freqs.0.0.0.weight": (2048, 512),
                "mask_estimators.0.to_freqs.61.0.2.weight": (1032, 2048),
            },
        ),
        (
            "bs_roformer_4stems",
            1355,
            {
                "layers.7.1.layers.0.0.to_qkv.weight": (1536, 384),
                "mask_estimators.3.to_freqs.0.0.0.weight": (768, 384),
            },
        ),
        (
            "mel_band_roformer",
            684,
            {
                "layers.5.1.norm.gamma": (384,),
                "band_split.to_features.0.1.weight": (384, 28),
                "band_split.to_features.59.1.weight": (384, 520),
                "mask_estimators.0.to_freqs.59.0.2.weight": (1536, 1536),
                "mask_estimators.0.to_freqs.59.0.4.weight": (1040, 1536),
            },
        ),
    ],
)
def test_names_and_sizes_are_those_of_the_published_checkpoints(name, count, shapes):
    state = registry.skeleton(name).state_dict()
    assert len(state) == count
    for key, shape in shapes.items():
        assert tuple(state[key].shape) == shape
    assert ("final_norm.gamma" in state) == (name != "mel_band_roformer")


def test_checkpoints_are_read(tmp_path):
    spec = narrow("mel_band_roformer")
    state = {key: value + 1 for key, value in built("mel_band_roformer").state_dict().items()}
    wrapped = {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}
    for content in (state, wrapped):
        torch.save(content, tmp_path / "model.ckpt")
        separator = built("mel_band_roformer")
        mel_band_roformer.load(separator, spec, tmp_path / "model.ckpt")
        for key, value in separator.state_dict().items():
            assert torch.equal(value, state[key])
    # Weights of the package's newer architecture.
    state["layers.1.0.layers.0.0.to_value_residual_mix.bias"] = torch.zeros(2)
    torch.save(state, tmp_path / "new.ckpt")
    with pytest.raises(FileError, match=r"_mix.bias', expected only the parameters of mel_band_roformer"):
        mel_band_roformer.load(separator, spec, tmp_path / "new.ckpt")


def test_without_network_the_message_names_the_published_file(monkeypatch, tmp_path):
    def offline(*_args, **_options):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    spec = registry.get_spec("bs_roformer")
    with pytest.raises(checkpoints.WeightsNotFoundError, match=r"ep_317_sdr_12\.9755\.ckpt: could not be"):
        bs_roformer.load(registry.skeleton("bs_roformer"), spec, None)
