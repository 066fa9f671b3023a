"""`import pitch as torchcrepe`: every public name and argument, and the same numbers."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchcrepe

import audio_io
import pitch
from audio_io.errors import ConfigError

MODULES = ["convert", "decode", "filter", "load", "loudness", "threshold"]


def public(module):
    """Functions and classes that a module of torchcrepe defines itself."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__.startswith("torchcrepe")
    }


@pytest.mark.parametrize("name", torchcrepe.core.__all__)
def test_every_name_of_the_top_level_is_there(name):
    theirs, ours = getattr(torchcrepe, name), getattr(pitch, name)
    if not callable(theirs):
        assert ours == theirs or (np.isnan(ours) and np.isnan(theirs))


def signature(function):
    return [
        (parameter.name, parameter.default if not callable(parameter.default) else parameter.default.__name__)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not parameter.KEYWORD_ONLY
    ]


def pairs():
    for name, theirs in public(torchcrepe.core).items():
        yield pytest.param(theirs, getattr(pitch, name, None) or getattr(pitch.core, name), id=name)
    for module in MODULES:
        for name, theirs in public(getattr(torchcrepe, module)).items():
            yield pytest.param(theirs, getattr(getattr(pitch, module), name), id=f"{module}.{name}")
    yield pytest.param(torchcrepe.Crepe, pitch.Crepe, id="Crepe")


@pytest.mark.parametrize(("theirs", "ours"), list(pairs()))
def test_arguments_have_the_same_names_order_and_defaults(theirs, ours):
    assert signature(ours) == signature(theirs)


@pytest.fixture
def contour():
    """Pitch and periodicity with gaps, as thresholding leaves them."""
    generator = torch.Generator().manual_seed(3)
    pitch_hz = 200 * 2 ** (torch.rand(1, 300, generator=generator).cumsum(1) * 0.02).sin()
    periodicity = torch.nn.functional.avg_pool1d(torch.rand(1, 320, generator=generator), 21, 1)[:, :300]
    return pitch_hz, ((periodicity - 0.4) * 5).clamp(0.01, 0.99)


@pytest.mark.parametrize("name", ["mean", "median"])
@pytest.mark.parametrize("win_length", [3, 9])
def test_filters_equal_upstream(name, win_length, contour):
    signal = pitch.threshold.At(0.5)(*contour)
    assert 0.1 < signal.isnan().float().mean() < 0.9
    theirs = getattr(torchcrepe.filter, name)(signal, win_length)
    ours = getattr(pitch.filter, name)(signal, win_length)
    torch.testing.assert_close(ours, theirs, equal_nan=True)


def test_nan_helpers_equal_upstream(contour):
    signal = pitch.threshold.At(0.5)(*contour)
    for name in ("nanmean", "nanmedian"):
        theirs = torchcrepe.filter.nanfilter(signal, 5, getattr(torchcrepe.filter, name))
        ours = pitch.filter.nanfilter(signal, 5, getattr(pitch.filter, name))
        torch.testing.assert_close(ours, theirs, equal_nan=True)
    assert pitch.filter.nanmedian1d(torch.tensor([3.0, 1.0, 2.0])) == 2
    assert np.isnan(pitch.filter.nanmedian1d(torch.tensor([])))


@pytest.mark.parametrize("value", [0.2, 0.5])
def test_the_threshold_at_a_value_equals_upstream(value, contour):
    theirs, ours = torchcrepe.threshold.At(value)(*contour), pitch.threshold.At(value)(*contour)
    torch.testing.assert_close(ours, theirs, equal_nan=True)


@pytest.mark.parametrize("bounds", [{}, {"lower_bound": 0.3, "upper_bound": 0.8, "width": 0.5, "stds": 0.7}])
def test_hysteresis_equals_upstream(bounds, contour):
    theirs, their_bound = torchcrepe.threshold.Hysteresis(**bounds, return_threshold=True)(*contour)
    ours, our_bound = pitch.threshold.Hysteresis(**bounds, return_threshold=True)(*contour)
    assert 0.05 < ours.isnan().float().mean() < 0.95
    torch.testing.assert_close(our_bound, their_bound)
    torch.testing.assert_close(ours, theirs, equal_nan=True, rtol=1e-5, atol=0)


def test_hysteresis_of_silence_is_unvoiced_without_a_warning(recwarn):
    found = pitch.threshold.Hysteresis()(torch.full((1, 20), 100.0), torch.zeros(1, 20))
    assert found.isnan().all()
    assert not recwarn


@pytest.mark.parametrize("pad", [True, False])
def test_loudness_and_silence_equal_upstream(pad, signals):
    audio = torch.cat([signals["sung"], 1e-5 * signals["noise"], signals["noisy"]], dim=1)
    theirs = torchcrepe.loudness.a_weighted(audio, 16000, 160, pad)
    ours = pitch.loudness.a_weighted(audio, 16000, 160, pad)
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)  # dB
    periodicity = torch.full_like(theirs, 0.9)
    kept = [m.threshold.Silence(-40.0)(periodicity, audio, 16000, 160, pad) for m in (torchcrepe, pitch)]
    assert 0.1 < (kept[0] == 0).float().mean() < 0.9
    assert torch.equal(*kept)


@pytest.mark.parametrize("model", ["tiny", pytest.param("full", marks=pytest.mark.slow)])
def test_embeddings_equal_upstream(model, signals):
    audio = signals["sung"][:, :4000]
    with torch.no_grad():
        theirs = torchcrepe.embed(audio, 16000, 160, model)
        ours = pitch.embed(audio, 16000, 160, model)
    assert ours.shape == (1, 26, 32, 2 * pitch.CAPACITIES[model].multiplier)
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_gradients_flow_through_the_embedding(signals):
    audio = signals["sung"][:, :2000].clone().requires_grad_()
    pitch.embed(audio, 16000, 160, "tiny").square().sum().backward()
    assert audio.grad.abs().max() > 0


def test_files_in_and_out(tmp_path, signals):
    audio_io.save(tmp_path / "a.wav", signals["sung"], 16000, subtype="FLOAT")
    pitch.predict_from_files_to_files(
        [tmp_path / "a.wav"],
        [tmp_path / "out/pitch.pt"],
        output_periodicity_files=[tmp_path / "out/periodicity.pt"],
        model="tiny",
        decoder=pitch.decode.weighted_viterbi,
    )
    expected = pitch.predict(
        signals["sung"], 16000, model="tiny", decoder=pitch.decode.weighted_viterbi, return_periodicity=True
    )
    for name, tensor in zip(("pitch", "periodicity"), expected, strict=True):
        assert torch.equal(torch.load(tmp_path / f"out/{name}.pt", weights_only=True), tensor)
    pitch.embed_from_files_to_files([tmp_path / "a.wav"], [tmp_path / "embedding.pt"], model="tiny")
    saved = torch.load(tmp_path / "embedding.pt", weights_only=True)
    assert torch.equal(saved, pitch.embed(signals["sung"], 16000, model="tiny").detach())
    with pytest.raises(ConfigError, match="output_files: found 0 files, expected one for each of the 1"):
        pitch.embed_from_files_to_files([tmp_path / "a.wav"], [])


def test_gradients_flow_through_the_posteriors(signals):
    frames = next(pitch.preprocess(signals["sung"][:, :2000], 16000)).requires_grad_()
    pitch.infer(frames, "tiny").sum().backward()
    assert frames.grad.abs().max() > 0


def test_the_first_call_may_be_in_inference_mode():
    script = (
        "import torch, pitch\n"
        "x = torch.randn(1, 3000)\n"
        "with torch.inference_mode(): pitch.predict(x, 16000, model='tiny')\n"
        "x.requires_grad_(); pitch.embed(x, 16000, model='tiny').sum().backward()\n"
        "print(x.grad.abs().max() > 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "tensor(True)", done.stderr


def test_audio_that_records_gradients_can_be_tracked_at_any_rate(phrase):
    audio = torch.from_numpy(phrase.waveform[44100:66150]).float()[None].requires_grad_()
    assert pitch.predict(audio, 44100, model="tiny").shape == (1, 51)
    assert pitch.loudness.a_weighted(audio, 44100).shape == (1, 51)


def test_odd_but_valid_input(signals):
    audio = signals["sung"][:, :4000]
    expected = pitch.predict(audio, 16000, model="tiny", decoder=pitch.decode.weighted_viterbi)
    found = pitch.predict(
        audio.double(), 16000, fmax=float("inf"), model="tiny", decoder=pitch.decode.weighted_viterbi
    )
    assert torch.equal(found, expected)
    assert pitch.infer(torch.zeros(0, 1024), "tiny").shape == (0, 360)


def test_the_old_name_of_periodicity_still_works(signals):
    with pytest.warns(DeprecationWarning, match="use return_periodicity"):
        found = pitch.predict(signals["sung"][:, :2000], 16000, model="tiny", return_harmonicity=True)
    assert isinstance(found, tuple)


def test_the_warning_points_at_the_callers_line(signals, recwarn):
    pitch.predict(signals["sung"][:, :2000], 16000, model="tiny", return_harmonicity=True)
    assert recwarn.pop(DeprecationWarning).filename == __file__


def test_a_model_can_be_loaded_ahead():
    pitch.load.model("cpu", "tiny")
    with pytest.raises(ConfigError, match="model: found 'huge'"):
        pitch.load.model("cpu", "huge")


def test_patched_torchcrepe_has_the_new_sizes_and_can_be_undone(signals, tmp_path, monkeypatch):
    before = {name: getattr(torchcrepe, name) for name in torchcrepe.core.__all__}
    audio = signals["sung"][:, :4000]
    torch.manual_seed(0)
    with torch.no_grad():
        expected = torchcrepe.infer(next(torchcrepe.preprocess(audio, 16000)), "tiny")
    pitch.patch_torchcrepe()
    pitch.patch_torchcrepe()
    try:
        assert torchcrepe.core.predict is torchcrepe.predict is pitch.predict
        assert torchcrepe.decode.viterbi is pitch.decode.viterbi
        assert torchcrepe.Crepe("regular").capacity.multiplier == 12
        found = torchcrepe.infer(next(torchcrepe.preprocess(audio, 16000)), "tiny")
        assert (found - expected).abs().max() < 1e-5
    finally:
        pitch.unpatch_torchcrepe()
    assert {name: getattr(torchcrepe, name) for name in torchcrepe.core.__all__} == before
    assert torchcrepe.decode.viterbi is not pitch.decode.viterbi
    with pytest.raises(ValueError, match="regular is not supported"):
        torchcrepe.Crepe("regular")


def run_module(*arguments):
    command = [sys.executable, "-m", "pitch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_module_takes_torchcrepes_flags(tmp_path, signals):
    audio_io.save(tmp_path / "a.wav", signals["sung"], 16000, subtype="FLOAT")
    outputs = ["--output_files", tmp_path / "p.pt", "--output_periodicity_files", tmp_path / "c.pt"]
    settings = [
        "--model",
        "tiny",
        "--decoder",
        "weighted_viterbi",
        "--hop_length",
        320,
        "--fmax",
        800,
        "--no_pad",
    ]
    done = run_module(f"--audio_files={tmp_path / 'a.wav'}", *outputs, *settings)
    assert done.returncode == 0, done.stderr
    expected = pitch.predict(
        signals["sung"],
        16000,
        320,
        fmax=800.0,
        model="tiny",
        decoder=pitch.decode.weighted_viterbi,
        return_periodicity=True,
        pad=False,
    )
    for name, tensor in zip("pc", expected, strict=True):
        torch.testing.assert_close(torch.load(tmp_path / f"{name}.pt", weights_only=True), tensor)

    done = run_module(
        "--audio_files", tmp_path / "a.wav", "--output_files", tmp_path / "e.pt", "--embed", "--model", "tiny"
    )
    assert done.returncode == 0, done.stderr
    assert torch.load(tmp_path / "e.pt", weights_only=True).shape == (1, 101, 32, 8)

    done = run_module(
        "--audio_files", tmp_path / "a.wav", "--output_files", tmp_path / "x.pt", "--decoder", "magic"
    )
    assert done.returncode == 2
    assert done.stderr.startswith("pitch: error: decoder: found 'magic', expected one of argmax")
