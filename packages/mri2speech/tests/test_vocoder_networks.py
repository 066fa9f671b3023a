"""HiFi-GAN's networks and losses against the published numbers, torch's own weight norm and closed forms."""

import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from audio_io.errors import ConfigError, FileError
from mri2speech.features import mel_db, mel_log
from mri2speech.vocoder.checkpoint import (
    Training,
    current_keys,
    load_generator,
    load_training,
    original_keys,
    save_generator,
    save_training,
)
from mri2speech.vocoder.config import VocoderConfig
from mri2speech.vocoder.discriminators import MultiPeriodDiscriminator, MultiScaleDiscriminator
from mri2speech.vocoder.generator import Generator
from mri2speech.vocoder.losses import (
    STFT_SIZES,
    discriminator_loss,
    feature_loss,
    generator_loss,
    mel_loss,
    stft_distance,
)

V1 = {
    "num_mels": 80,
    "hop_size": 256,
    "segment_size": 8192,
    "upsample_rates": (8, 8, 2, 2),
    "upsample_kernel_sizes": (16, 16, 4, 4),
}
V3 = V1 | {
    "resblock": "2",
    "upsample_rates": (8, 8, 4),
    "upsample_kernel_sizes": (16, 16, 8),
    "upsample_initial_channel": 256,
    "resblock_kernel_sizes": (3, 5, 7),
    "resblock_dilation_sizes": ((1, 2), (2, 6), (3, 12)),
}
TINY = {
    "upsample_initial_channel": 16,
    "resblock_kernel_sizes": (3, 5),
    "resblock_dilation_sizes": ((1, 3, 5),) * 2,
}


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def generator(**settings):
    torch.manual_seed(0)
    built = Generator(VocoderConfig(**settings))
    # Weights as they are drawn give next to nothing; filters of length 1 let differences show.
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if name.endswith("original0"):
                parameter.fill_(1.0)
    return built.eval()


@pytest.fixture
def upstream(monkeypatch):
    """Builds a network with torch.nn.utils.weight_norm and spectral_norm, as the original project does."""

    def build(network, *arguments):
        with warnings.catch_warnings(), monkeypatch.context() as patch:
            warnings.simplefilter("ignore", FutureWarning)
            patch.setattr(parametrizations, "weight_norm", nn.utils.weight_norm)
            patch.setattr(parametrizations, "spectral_norm", nn.utils.spectral_norm)
            return network(*arguments).eval()

    return build


def without_norms(module):
    for layer in module.modules():
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight")
    return module


@pytest.mark.parametrize(
    ("shape", "published"),
    [(V1, 13.92), (V1 | {"upsample_initial_channel": 128}, 0.92), (V3, 1.46)],
    ids=["V1", "V2", "V3"],
)
def test_the_generators_have_the_parameters_of_table_1(shape, published):
    # In millions, as the paper has them: without the lengths that weight norm adds.
    assert parameters(Generator(VocoderConfig(**shape)).remove_weight_norm()) / 1e6 == pytest.approx(
        published, abs=0.01
    )


def test_the_discriminators_keep_the_layers_of_the_original():
    mpd, msd = MultiPeriodDiscriminator(), MultiScaleDiscriminator()
    first = 5 * 32 + 32
    middle = sum(5 * i * o + o for i, o in ((32, 128), (128, 512), (512, 1024), (1024, 1024)))
    one = first + middle + 3 * 1024 + 1
    assert parameters(without_norms(mpd)) == 5 * one
    layers = ((1, 128, 15, 1), (128, 128, 41, 4), (128, 256, 41, 16), (256, 512, 41, 16), (512, 1024, 41, 16))
    layers += ((1024, 1024, 41, 16), (1024, 1024, 5, 1), (1024, 1, 3, 1))
    one = sum(i // groups * o * kernel + o for i, o, kernel, groups in layers)
    assert parameters(without_norms(msd)) == 3 * one
    waveform = torch.randn(1, 1, 8400, generator=torch.manual_seed(0))
    scores = [score.shape[1] for score, _ in mpd(waveform)]
    # Four strides of 3 in the rows, of which there are N / period, rounded up; all columns are kept.
    rows = [-(-8400 // period) for period in (2, 3, 5, 7, 11)]
    for _ in range(4):
        rows = [-(-count // 3) for count in rows]
    assert scores == [count * period for count, period in zip(rows, (2, 3, 5, 7, 11), strict=True)]
    assert [len(maps) for _, maps in mpd(waveform) + msd(waveform)] == [6] * 5 + [8] * 3


def test_keys_are_those_of_the_original():
    keys = set(original_keys(Generator(VocoderConfig()).state_dict()))
    convolutions = ["conv_pre", "conv_post", *(f"ups.{i}" for i in range(4))]
    convolutions += [f"resblocks.{n}.convs{s}.{m}" for n in range(12) for s in (1, 2) for m in range(3)]
    assert keys == {f"{name}.{part}" for name in convolutions for part in ("weight_g", "weight_v", "bias")}
    keys = set(original_keys(Generator(VocoderConfig(**V3)).state_dict()))
    assert {"resblocks.8.convs.1.weight_v", "ups.2.weight_g"} < keys
    keys = set(original_keys(MultiPeriodDiscriminator(0.1).state_dict()))
    layers = [f"convs.{m}" for m in range(5)] + ["conv_post"]
    parts = ("weight_g", "weight_v", "bias")
    assert keys == {
        f"discriminators.{n}.{name}.{part}" for n in range(5) for name in layers for part in parts
    }
    keys = set(original_keys(MultiScaleDiscriminator(0.1).state_dict()))
    layers = [f"convs.{m}" for m in range(7)] + ["conv_post"]
    spectral = ("weight_orig", "weight_u", "weight_v", "bias")
    assert keys == {
        f"discriminators.{n}.{name}.{part}"
        for n, norm in enumerate((spectral, parts, parts))
        for name in layers
        for part in norm
    }


@pytest.mark.parametrize("kernels", [(20, 21, 9, 4), (20, 14, 8, 5)], ids=["even", "odd differences"])
@pytest.mark.parametrize("frames", [1, 7])
def test_the_output_has_420_samples_for_each_frame(kernels, frames):
    waveform = generator(**TINY, upsample_kernel_sizes=kernels)(torch.zeros(2, 64, frames))
    assert waveform.shape == (2, 1, frames * 420)


@pytest.mark.parametrize("settings", [TINY, V3 | {"upsample_initial_channel": 16}], ids=["1", "2"])
def test_checkpoints_of_either_weight_norm_and_of_none_are_the_same_generator(settings, upstream, tmp_path):
    ours = generator(**settings)
    mel = torch.randn(1, ours.config.num_mels, 5)
    expected = ours(mel)
    assert expected.std() > 0.01
    ours.config.save(tmp_path / "config.json")
    theirs = upstream(Generator, ours.config)
    # The original takes the keys as we write them, and computes the same with them.
    theirs.load_state_dict(original_keys(ours.state_dict()))
    assert torch.allclose(theirs(mel), expected, atol=1e-6)
    for name, state in (("old", theirs.state_dict()), ("new", ours.state_dict())):
        torch.save({"generator": state}, tmp_path / f"g_{name}")
        for folded in (False, True):
            found = load_generator(tmp_path / f"g_{name}", remove_weight_norm=folded)
            assert torch.allclose(found(mel), expected, atol=1e-5)
    save_generator(tmp_path / "g_plain", load_generator(tmp_path / "g_old"))
    stored = torch.load(tmp_path / "g_plain", weights_only=True)["generator"]
    assert not any(key.endswith(("weight_g", "weight_v")) for key in stored)
    for folded in (False, True):
        found = load_generator(tmp_path / "g_plain", remove_weight_norm=folded)
        assert torch.allclose(found(mel), expected, atol=1e-5)


def test_optimisers_of_the_original_fit_because_the_parameters_have_one_order(upstream):
    networks = (
        (Generator, VocoderConfig(**TINY)),
        (MultiPeriodDiscriminator, 0.1),
        (MultiScaleDiscriminator, 0.1),
    )
    for network, argument in networks:
        ours = original_keys(dict(network(argument).named_parameters()))
        assert list(ours) == [name for name, _ in upstream(network, argument).named_parameters()]


def test_spectral_norm_is_read_and_written_in_the_original_spelling(upstream):
    ours = MultiScaleDiscriminator(0.0625).eval()
    waveform = torch.randn(1, 1, 1000)
    expected = [score for score, _ in ours(waveform)]
    theirs = upstream(MultiScaleDiscriminator, 0.0625)
    theirs.load_state_dict(original_keys(ours.state_dict()))
    for score, (found, _) in zip(expected, theirs(waveform), strict=True):
        assert torch.allclose(found, score, atol=1e-5)
    again = MultiScaleDiscriminator(0.0625).eval()
    again.load_state_dict(current_keys(theirs.state_dict(), again))
    for score, (found, _) in zip(expected, again(waveform), strict=True):
        assert torch.equal(found, score)


def test_half_precision_is_stored_and_read(tmp_path):
    ours = generator(**TINY)
    save_generator(tmp_path / "g_00000001", ours, half=True)
    stored = torch.load(tmp_path / "g_00000001", weights_only=True)["generator"]
    assert {value.dtype for value in stored.values()} == {torch.float16}
    found = load_generator(tmp_path / "g_00000001")
    mel = torch.randn(1, 64, 4)
    assert found.conv_pre.weight.dtype == torch.float32
    assert (found(mel) - ours(mel)).abs().max() < 2e-3 * ours(mel).abs().max()


def test_what_is_no_checkpoint_or_another_architecture_is_said_in_one_sentence(tmp_path):
    save_generator(tmp_path / "g_00000001", generator(**TINY))
    wide = VocoderConfig(**TINY | {"upsample_initial_channel": 32})
    with pytest.raises(
        FileError, match=r"g_00000001: found conv_pre\.bias of shape \[16\], expected \[32\], as its config"
    ):
        load_generator(tmp_path / "g_00000001", config=wide)
    other = VocoderConfig(**TINY | {"resblock": "2"})
    with pytest.raises(FileError, match=r"found no resblocks\.0\.convs\.0\.bias, expected one of shape"):
        load_generator(tmp_path / "g_00000001", config=other)
    (tmp_path / "g_00000002").write_bytes(b"no weights")
    with pytest.raises(FileError, match="g_00000002: found a file that torch cannot read"):
        load_generator(tmp_path / "g_00000002")
    torch.save({"mpd": {}}, tmp_path / "g_00000003")
    with pytest.raises(
        FileError, match=r"g_00000003: found mpd, expected a checkpoint of HiFi-GAN's generator"
    ):
        load_generator(tmp_path / "g_00000003")
    (tmp_path / "config.json").unlink()
    with pytest.raises(FileError, match=r"config\.json: found no such file"):
        load_generator(tmp_path / "g_00000001")


def test_a_training_checkpoint_of_the_original_is_gone_on_with(tmp_path):
    def training():
        networks = generator(**TINY), MultiPeriodDiscriminator(0.0625), MultiScaleDiscriminator(0.0625)
        optimizers = (
            torch.optim.AdamW(networks[0].parameters()),
            torch.optim.AdamW(networks[2].parameters()),
        )
        return Training(*networks, *optimizers)

    state = training()
    state.steps, state.epoch = 55000, 12
    save_training(tmp_path, state)
    path = tmp_path / "do_00055000"
    stored = torch.load(path, weights_only=True)
    assert set(stored) == {"mpd", "msd", "optim_g", "optim_d", "steps", "epoch", "batch"}
    del stored["batch"]
    torch.save(stored, path)
    again = training()
    assert load_training(tmp_path, again)
    assert (again.steps, again.epoch, again.batch) == (55000, 12, 0)
    assert not load_training(tmp_path / "nothing", again)


def test_config_json_of_the_original_is_read_and_its_other_keys_are_kept(tmp_path):
    original = {
        "resblock": "1", "num_gpus": 0, "batch_size": 16, "learning_rate": 0.0002, "adam_b1": 0.8,
        "adam_b2": 0.99, "lr_decay": 0.999, "seed": 1234, "upsample_rates": [8, 8, 2, 2],
        "upsample_kernel_sizes": [16, 16, 4, 4], "upsample_initial_channel": 512,
        "resblock_kernel_sizes": [3, 7, 11], "resblock_dilation_sizes": [[1, 3, 5]] * 3,
        "segment_size": 8192, "num_mels": 80, "num_freq": 1025, "n_fft": 1024, "hop_size": 256,
        "win_size": 1024, "sampling_rate": 22050, "fmin": 0, "fmax": 8000, "fmax_for_loss": None,
        "num_workers": 4, "dist_config": {"dist_backend": "nccl", "world_size": 1},
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(original))
    config = VocoderConfig.load(tmp_path / "config.json")
    assert config.mel.fmax == 8000
    assert config.extra["dist_config"]["dist_backend"] == "nccl"
    config.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == original | {"preemphasis": 0.97}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"upsample_rates": [10, 7, 3]}, r"found upsample_rates = \[10, 7, 3\], expected factors of 420"),
        ({"segment_size": 8192}, "found segment_size = 8192, expected a multiple of hop_size, 420"),
        ({"resblock": "3"}, "found resblock = '3', expected one of 1, 2"),
        ({"resblock_kernel_sizes": [3, 4, 11]}, "resblock_kernel_sizes = .*expected odd numbers"),
        ({"upsample_initial_channel": 100}, "upsample_initial_channel = 100, expected a multiple of 16"),
        ({"batch_size": "many"}, "config.json: found batch_size = 'many', expected a whole number"),
    ],
)
def test_a_config_that_cannot_be_used_names_the_field(change, sentence, tmp_path):
    VocoderConfig().save(tmp_path / "config.json")
    stored = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(FileError, match=sentence):
        VocoderConfig.load(tmp_path / "config.json")


def test_the_defaults_are_those_of_the_brief():
    config = VocoderConfig()
    assert (config.batch_size, config.learning_rate, config.segment_size) == (16, 5e-5, 8400)
    assert (config.adam_b1, config.adam_b2, config.lr_decay) == (0.8, 0.99, 0.999)
    assert config.segment_frames == 20
    with pytest.raises(ConfigError, match="upsample_kernel_sizes: found 5, expected at least"):
        VocoderConfig(upsample_kernel_sizes=(5, 21, 9, 4))


def test_losses_are_the_equations_of_the_paper():
    random = np.random.default_rng(0)
    real, false = (
        [
            (random.normal(size=(2, n)), [random.normal(size=(2, 4, n)), random.normal(size=(2, 8, n))])
            for n in (10, 30)
        ]
        for _ in range(2)
    )

    def tensors(judgements):
        return [(torch.from_numpy(score), [torch.from_numpy(m) for m in maps]) for score, maps in judgements]

    expected = sum(((1 - r) ** 2).mean() + (f**2).mean() for (r, _), (f, _) in zip(real, false, strict=True))
    assert float(discriminator_loss(tensors(real), tensors(false))) == pytest.approx(expected, rel=1e-12)
    expected = sum(((1 - f) ** 2).mean() for f, _ in false)
    assert float(generator_loss(tensors(false))) == pytest.approx(expected, rel=1e-12)
    expected = 2 * sum(
        np.abs(r - f).mean()
        for (_, rs), (_, fs) in zip(real, false, strict=True)
        for r, f in zip(rs, fs, strict=True)
    )
    assert float(feature_loss(tensors(real), tensors(false))) == pytest.approx(expected, rel=1e-12)


def test_the_mel_loss_is_the_distance_of_the_mels_that_the_generator_takes():
    random = torch.manual_seed(0)
    real, false = (torch.randn(2, 1, 8400, generator=random, dtype=torch.float64) for _ in range(2))
    config = VocoderConfig().mel
    expected = (mel_log(mel_db(real, config)) - mel_log(mel_db(false, config))).abs().mean()
    assert torch.allclose(mel_loss(real, false, config), expected)
    # Half the amplitude is ln 2 less in every band.
    assert float(mel_loss(real, real / 2, config)) == pytest.approx(np.log(2), rel=1e-9)


def test_the_stft_distance_has_its_closed_form_for_a_gain():
    waveform = torch.randn(8400, generator=torch.manual_seed(0), dtype=torch.float64)
    # Of half the amplitude the convergence is 1/2 and the logarithms differ by ln 2, at every size.
    assert float(stft_distance(waveform, waveform / 2)) == pytest.approx(0.5 + np.log(2), rel=1e-3)
    assert len(STFT_SIZES) == 3
    assert float(stft_distance(waveform, waveform)) == 0
    silence = torch.zeros(8400, requires_grad=True)
    stft_distance(waveform.float(), silence).backward()
    assert torch.isfinite(silence.grad).all()
