import numpy as np
import pytest
import torch

import pitch
from pitch import FastCrepe, TrackConfig, Tracker
from pitch.fast import accelerate
from pitch.fast.layers import rising_distances
from pitch.fast.tables import correlation_spectrum, cosines_and_sines, inverse_tables


def trained_like(name, seed=0):
    """Random weights with BatchNorm statistics that fit them, and scales of either sign."""
    torch.manual_seed(seed)
    network = pitch.Crepe(name).requires_grad_(False)
    for key, value in network.state_dict().items():
        if "_BN" in key and value.dtype == torch.float32:
            value.normal_()
    normalizations = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in normalizations:
        module.momentum = 1.0  # one batch in training mode sets the statistics
    network.train()(normalised(32, seed))
    return network.eval()


def normalised(count, seed=0):
    frames = torch.randn(count, 1024, generator=torch.Generator().manual_seed(seed))
    # Coloured, so that frames differ in more than their phases.
    slope = torch.linspace(-2, 0, count)[:, None] * torch.linspace(0, 3, 513).log1p()
    coloured = torch.fft.irfft(torch.fft.rfft(frames) * slope.exp())
    return pitch.core.normalize_frames(coloured)


@pytest.mark.parametrize("name", list(pitch.CAPACITIES))
def test_the_fast_plan_is_the_same_function_for_every_capacity(name):
    network = trained_like(name)
    frames = normalised(9)
    exact = network.double()(frames.double())
    fast = FastCrepe(network.float())(frames)
    # The outputs differ from frame to frame: equality is not that of a constant.
    assert exact.std(dim=0).mean() > 1e-3
    assert (fast - exact).abs().max() < 1e-5


@pytest.mark.parametrize("count", [1, 7, 8, 31, 32, 33, 70])
def test_any_number_of_frames(count):
    network = trained_like("tiny")
    frames = normalised(count)
    assert (FastCrepe(network)(frames) - network(frames)).abs().max() < 1e-5


def test_the_plain_network_is_left_alone():
    network = trained_like("tiny")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    FastCrepe(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_silence_gives_the_posteriors_of_silence():
    network = pitch.load_model("tiny")
    frames = torch.zeros(2, 1024)
    assert (FastCrepe(network)(frames) - network(frames)).abs().max() < 1e-6


@pytest.mark.parametrize("model", ["tiny", pytest.param("full", marks=pytest.mark.slow)])
def test_both_engines_track_the_same_pitch(model, phrase):
    waveform = torch.from_numpy(phrase.waveform[44100 : 3 * 44100])
    plain, fast = (
        Tracker(TrackConfig(model=model, engine=engine)).track(waveform, 44100)
        for engine in ("plain", "fast")
    )
    np.testing.assert_allclose(fast.confidence, plain.confidence, atol=1e-5)
    voiced = plain.voiced
    assert voiced.mean() > 0.5
    assert np.abs(1200 * np.log2(fast.frequency / plain.frequency))[voiced].max() < 0.1


def test_the_engine_is_chosen_by_device_or_by_name():
    network = trained_like("tiny")
    assert isinstance(accelerate(network), FastCrepe)
    assert isinstance(accelerate(network, "fast"), FastCrepe)
    assert accelerate(network, "plain") is network
    assert accelerate(trained_like("tiny").to("meta")).__class__ is pitch.Crepe


@pytest.mark.parametrize(("positions", "length"), [(8, 16), (128, 160), (64, 192)])
def test_the_tables_transform_there_and_back(positions, length):
    x = torch.randn(positions, 3, dtype=torch.float64)
    right, left = x[positions // 2 :], x[: positions // 2].flip(0)
    distances = rising_distances(positions)
    cosines, sines = cosines_and_sines(distances, length)
    real, imaginary = cosines @ (right + left), -sines @ (right - left)
    # The reference counts positions from the first one: another phase, the same magnitude.
    expected = torch.fft.rfft(x, length, dim=0)
    turn = torch.arange(len(real), dtype=torch.float64) * torch.pi * (positions - 1) / length
    turned = expected * torch.exp(1j * turn)[:, None]
    torch.testing.assert_close(torch.complex(real, imaginary), turned)
    to_even, to_odd = inverse_tables(distances, length)
    even, odd = to_even @ real, to_odd @ imaginary
    torch.testing.assert_close(even + odd, right)
    torch.testing.assert_close(even - odd, left)


def test_a_correlation_is_a_product_of_spectra():
    x, kernel = torch.randn(20, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    real, imaginary = correlation_spectrum(kernel, -3, 32)
    product = torch.fft.rfft(x, 32) * torch.complex(real, imaginary)
    expected = torch.nn.functional.conv1d(x[None, None], kernel[None, None], padding=3)[0, 0]
    torch.testing.assert_close(torch.fft.irfft(product)[:20], expected)


def test_autocast_changes_nothing(phrase):
    audio = torch.from_numpy(phrase.waveform[44100:66150]).float()[None]
    expected = pitch.predict(audio, 44100, model="tiny", decoder=pitch.decode.weighted_viterbi)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pitch.predict(audio, 44100, model="tiny", decoder=pitch.decode.weighted_viterbi)
    assert torch.equal(found, expected)
