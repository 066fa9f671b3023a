"""`import pitch as torchcrepe`: what the functions return when they are called by position."""

import inspect

import numpy as np
import pytest
import torch
import torchcrepe

import audio_io
import pitch
from audio_io.errors import ConfigError

SUBMODULES = ["convert", "decode", "filter", "load", "loudness", "threshold"]
CLASSES = {
    "Crepe": ["__init__", "forward", "embed", "layer"],
    "threshold.At": ["__init__", "__call__"],
    "threshold.Hysteresis": ["__init__", "__call__"],
    "threshold.Silence": ["__init__", "__call__"],
}


def find(module, dotted):
    for name in dotted.split("."):
        module = getattr(module, name)
    return module


def positional(function):
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.default) for p in parameters if p.kind is not p.KEYWORD_ONLY]


@pytest.mark.parametrize(("name", "method"), [(name, method) for name in CLASSES for method in CLASSES[name]])
def test_methods_take_the_same_arguments(name, method):
    theirs, ours = (getattr(find(module, name), method) for module in (torchcrepe, pitch))
    assert positional(ours) == positional(theirs)


def test_constants_of_modules_are_the_same():
    for name in SUBMODULES:
        theirs, ours = getattr(torchcrepe, name), getattr(pitch, name)
        for constant, value in vars(theirs).items():
            if constant.isupper():
                assert getattr(ours, constant) == value


def calls(module, signals):
    """A call by position of every public function, by name: torchcrepe's own must not reach ours."""
    torch.manual_seed(0)
    audio, long = signals["sung"][:, :4000], signals["sung"]
    frames = next(module.preprocess(audio, 16000, 160, None, "cpu", True))
    posteriors = torch.rand(2, 360, 30)
    hertz = torch.linspace(50, 1000, 40).reshape(2, 20)
    gaps = torch.where(hertz % 90 < 20, torch.nan, hertz)
    bins = torch.arange(40).reshape(2, 20)
    convert, decode, filters, threshold = module.convert, module.decode, module.filter, module.threshold
    network = module.Crepe("tiny").eval()
    return {
        "predict": lambda: module.predict(audio, 16000, 160, 50.0, 550.0, "tiny", decode.argmax),
        "predict, with periodicity": lambda: module.predict(
            audio, 16000, None, 50.0, 2006.0, "tiny", decode.viterbi, False, True, 7, "cpu", False
        ),
        "predict, several": lambda: module.predict(
            torch.cat([audio, audio.flip(1)]), 16000, 160, 50.0, 550.0, "tiny", decode.argmax, False, True
        ),
        "predict, at another rate": lambda: module.predict(long, 22050, 220, 50.0, 550.0, "tiny"),
        "embed": lambda: module.embed(audio, 16000, 160, "tiny", 7, "cpu", False).detach(),
        "preprocess": lambda: list(module.preprocess(audio, 16000, 160, 7, "cpu", False)),
        "infer": lambda: module.infer(frames, "tiny", "cpu").detach(),
        "infer, embedding": lambda: module.infer(frames, "tiny", "cpu", True).detach(),
        "postprocess": lambda: module.postprocess(posteriors.clone(), 50.0, 900.0, decode.weighted_argmax),
        "resample": lambda: module.resample(long, 22050),
        "Crepe": lambda: network(frames, False).detach(),
        "Crepe.embed": lambda: network.embed(frames).detach(),
        "Crepe.layer": lambda: network.layer(
            frames[:, None, :, None], network.conv1, network.conv1_BN, (0, 0, 254, 254)
        ).detach(),
        "argmax": lambda: decode.argmax(posteriors.clone()),
        "weighted_argmax": lambda: decode.weighted_argmax(posteriors.clone()),
        "viterbi": lambda: decode.viterbi(posteriors.clone()),
        "bins_to_cents": lambda: convert.bins_to_cents(bins),
        "bins_to_frequency": lambda: convert.bins_to_frequency(bins),
        "cents_to_bins": lambda: convert.cents_to_bins(hertz, torch.ceil),
        "cents_to_frequency": lambda: convert.cents_to_frequency(hertz),
        "frequency_to_bins": lambda: convert.frequency_to_bins(hertz, torch.round),
        "frequency_to_cents": lambda: convert.frequency_to_cents(hertz),
        "mean": lambda: filters.mean(gaps, 3),
        "median": lambda: filters.median(gaps, 3),
        "nanfilter": lambda: filters.nanfilter(gaps, 3, filters.nanmean),
        "nanmedian": lambda: filters.nanmedian(gaps),
        "a_weighted": lambda: module.loudness.a_weighted(audio, 16000, 160, True),
        "perceptual_weights": module.loudness.perceptual_weights,
        "a_weighted, at another rate": lambda: module.loudness.a_weighted(long, 22050),
        "At": lambda: threshold.At(0.5)(hertz, hertz / 1000),
        "Hysteresis": lambda: threshold.Hysteresis(0.19, 0.31, 0.2, 1.7, True)(hertz[:1], hertz[:1] / 1000),
        "Silence": lambda: threshold.Silence(-40)(torch.ones(1, 26), audio, 16000, 160, True),
    }


# Both draw their weights at random, or resample with another filter.
DIFFERENT_NUMBERS = {
    "Crepe",
    "Crepe.embed",
    "Crepe.layer",
    "predict, at another rate",
    "a_weighted, at another rate",
    "resample",
}


def parts(value):
    return list(value) if isinstance(value, (tuple, list)) else [value]


@pytest.mark.parametrize("name", list(calls(torchcrepe, {"sung": torch.zeros(1, 4000)})))
def test_positional_calls_return_the_same_kinds_and_numbers(name, signals, upstream, monkeypatch):
    # As existing code does to be rid of torchcrepe's noise.
    monkeypatch.setattr(pitch.convert, "dither", lambda cents: cents)
    theirs, ours = parts(calls(upstream, signals)[name]()), parts(calls(pitch, signals)[name]())
    assert len(ours) == len(theirs)
    for found, expected in zip(ours, theirs, strict=True):
        assert type(found) is type(expected)
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        if name not in DIFFERENT_NUMBERS:
            np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-3)


@pytest.mark.parametrize("several", [False, True])
def test_functions_of_files_write_what_torchcrepes_write(several, signals, upstream, monkeypatch, tmp_path):
    # torchaudio's reader, which torchcrepe calls, wants another package.
    monkeypatch.setattr(upstream.load, "audio", audio_io.load)
    monkeypatch.setattr(pitch.convert, "dither", lambda cents: cents)
    audio_io.save(tmp_path / "a.wav", signals["sung"], 16000, subtype="FLOAT")

    def run(module, folder):
        folder.mkdir()
        names = [str(folder / name) for name in ("pitch.pt", "periodicity.pt", "embedding.pt")]
        audio = str(tmp_path / "a.wav")
        settings = (160, 50.0, 550.0, "tiny", module.decode.argmax, 50, "cpu", True)
        if several:
            lists = [[name] for name in names]
            module.predict_from_files_to_files([audio], lists[0], None, lists[1], *settings)
            module.embed_from_files_to_files([audio], lists[2], 160, "tiny", 50, "cpu", False)
        else:
            module.predict_from_file_to_file(audio, names[0], None, names[1], *settings)
            module.embed_from_file_to_file(audio, names[2], 160, "tiny", 50, "cpu", False)
        return [torch.load(name, weights_only=True) for name in names]

    for found, expected in zip(
        run(pitch, tmp_path / "ours"), run(upstream, tmp_path / "theirs"), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-3)


def test_what_torchcrepe_would_fail_at_is_said_in_a_sentence(signals):
    audio = signals["sung"][:, :4000]
    for size in (0, -1):
        with pytest.raises(
            ConfigError, match=f"^batch_size: found {size}, expected at least 1 frame, or None$"
        ):
            pitch.predict(audio, 16000, model="tiny", batch_size=size)
    with pytest.raises(ConfigError, match=r"^hop_length: found 160\.5, expected a whole number of samples"):
        pitch.predict(audio, 16000, 160.5, model="tiny")
    with pytest.raises(ConfigError, match=r"^frames: found shape \(5, 1000\), expected \(frames, 1024\)$"):
        pitch.infer(torch.zeros(5, 1000), "tiny")
    with pytest.raises(ConfigError, match=r"^fmin: found nan Hz"):
        pitch.predict(audio, 16000, fmin=float("nan"), model="tiny")


def test_rates_and_hops_may_come_out_of_numpy(signals):
    audio = signals["sung"][:, :4000]
    expected = pitch.predict(audio, 16000, 160, model="tiny", decoder=pitch.decode.weighted_viterbi)
    found = pitch.predict(
        audio, np.int64(16000), np.int32(160), model="tiny", decoder=pitch.decode.weighted_viterbi
    )
    assert torch.equal(found, expected)
    assert pitch.predict(audio, np.int64(44100), model="tiny").shape == (1, 10)
