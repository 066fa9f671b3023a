import pytest
import torch

from audio_io.errors import ConfigError
from separation_coreml import registry

FAMILIES_A = {"demucs", "torchaudio_hdemucs", "openunmix", "spleeter", "wave_u_net"}
FAMILIES_A |= {"bs_roformer", "mel_band_roformer", "scnet"}
MINE = [name for name, spec in registry.MODELS.items() if spec.family in FAMILIES_A]


@pytest.mark.parametrize("name", MINE)
def test_the_official_configuration_has_the_published_size_and_shape(name):
    spec = registry.get_spec(name)
    separator = registry.skeleton(name)
    parameters = sum(value.numel() for value in separator.parameters() if value.requires_grad)
    assert parameters == spec.parameters
    assert separator.stems == spec.stems
    assert (separator.sample_rate, separator.channels) == (spec.sample_rate, spec.channels)
    assert (separator.segment, separator.overlap) == (spec.segment, spec.overlap)


def test_published_sizes():
    # In millions, as the authors or the sizes of their files give them.
    sizes = {"htdemucs": 42.0, "htdemucs_6s": 27.4, "hdemucs_mmi": 83.6, "hdemucs_high_musdb": 83.6}
    for name, millions in sizes.items():
        assert round(registry.get_spec(name).parameters / 1e6, 1) == millions


def test_the_segment_of_htdemucs_is_that_of_its_training():
    assert registry.get_spec("htdemucs").segment == 343980


def test_random_weights_are_repeatable_and_differ_by_seed():
    def first(seed):
        return registry.build("umxhq", weights="random", seed=seed).model.target_models["bass"].fc1.weight

    before = torch.random.get_rng_state()
    assert torch.equal(first(3), first(3))
    assert not torch.equal(first(3), first(4))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_separator_is_ready_to_run():
    separator = registry.build("umxhq", weights="random", segment_seconds=0.5)
    assert not separator.training
    assert not any(value.requires_grad for value in separator.parameters())
    assert separator.segment == 22050


@pytest.mark.parametrize("name", ["htdemux", ""])
def test_an_unknown_model_is_refused_with_the_known_ones(name):
    with pytest.raises(ConfigError, match="expected one of htdemucs, "):
        registry.build(name)


def test_a_segment_without_length_is_refused():
    with pytest.raises(ConfigError, match="segment_seconds: found 0"):
        registry.build("umxhq", weights="random", segment_seconds=0)


# The bounds are those of the STFT; Wave-U-Net has none.
@pytest.mark.parametrize(
    ("name", "seconds"), [("small", 0.047), ("umxhq_nowiener", 0.047), ("wave_u_net", None), ("scnet", 0.024)]
)
def test_a_segment_too_short_for_the_model_is_refused(name, seconds):
    if seconds is None:
        separator = registry.build(name, weights="random", segment_seconds=0.01)
    else:
        with pytest.raises(
            ConfigError, match=f"found {seconds - 0.002}, expected at least {seconds} s for {name}"
        ):
            registry.build(name, weights="random", segment_seconds=seconds - 0.002)
        separator = registry.build(name, weights="random", segment_seconds=seconds)
    stems = separator(torch.zeros(1, 2, separator.segment))
    assert stems.shape == (1, len(separator.stems), 2, separator.segment)
