import numpy as np
import pytest
import torch

from pitch import convert, decode

FREQUENCIES = torch.tensor([31.7, 55.0, 440.0, 1975.5])


def bump(centre, width=1.5, frames=6):
    """Posteriors with a Gaussian bump at a bin that need not be whole."""
    bins = torch.arange(360, dtype=torch.float32)
    return torch.exp(-(((bins - centre) / width) ** 2) / 2)[None, :, None].repeat(1, 1, frames)


def test_units_are_those_of_the_paper():
    assert convert.frequency_to_cents(torch.tensor(20.0)) == 1200
    assert convert.bins_to_frequency(torch.tensor([0]), dither=False).item() == pytest.approx(31.70, abs=5e-3)
    # 60 bins are an octave.
    pair = convert.bins_to_frequency(torch.tensor([100, 160]), dither=False)
    assert (pair[1] / pair[0]).item() == pytest.approx(2.0, rel=1e-6)


def test_units_and_their_inverses():
    cents = convert.frequency_to_cents(FREQUENCIES)
    torch.testing.assert_close(convert.cents_to_frequency(cents), FREQUENCIES)
    bins = torch.arange(360)
    frequencies = convert.bins_to_frequency(bins, dither=False)
    assert torch.equal(convert.frequency_to_bins(frequencies, torch.round), bins.int())


def test_dither_is_triangular_within_a_bin_and_follows_the_seed():
    torch.manual_seed(3)
    noise = convert.dither(torch.zeros(200_000))
    torch.manual_seed(3)
    assert torch.equal(noise, convert.dither(torch.zeros(200_000)))
    assert noise.abs().max() <= 20
    assert noise.mean().item() == pytest.approx(0.0, abs=0.1)
    # The variance of a symmetric triangular distribution of half width w is w^2 / 6.
    assert noise.var().item() == pytest.approx(20**2 / 6, rel=0.02)
    # Half of the mass lies within w (1 - 1/sqrt(2)).
    assert (noise.abs() < 20 * (1 - 0.5**0.5)).float().mean().item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("centre", [100.0, 100.3, 100.5, 217.8])
def test_the_local_average_finds_pitch_between_the_bins(centre):
    _, pitch = decode.weighted_viterbi(bump(centre))
    expected = convert.bins_to_frequency(torch.tensor(centre), dither=False)
    error = 1200 * torch.log2(pitch / expected)
    assert error.abs().max() < 0.5


def test_the_local_average_takes_nine_bins_and_stops_at_the_edges():
    probabilities = torch.zeros(1, 360, 1)
    probabilities[0, 0:6, 0] = torch.tensor(
        [1.0, 0.5, 0.25, 0.1, 0.1, 0.9]
    )  # the last is out of reach of bin 0
    found = decode.local_average(probabilities, torch.tensor([[0]]))
    bins = np.arange(5)
    mean_bin = np.average(bins, weights=[1.0, 0.5, 0.25, 0.1, 0.1])
    expected = convert.bins_to_frequency(torch.tensor(mean_bin), dither=False)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_bins_without_any_probability_give_their_own_pitch_not_nan():
    probabilities = torch.full((1, 360, 1), -torch.inf)
    found = decode.local_average(probabilities, torch.tensor([[42]]))
    assert found.item() == pytest.approx(
        convert.bins_to_frequency(torch.tensor(42), dither=False).item(), rel=1e-6
    )


def test_viterbi_ignores_a_lone_jump_that_argmax_follows():
    probabilities = bump(100.0, frames=9)
    probabilities[:, :, 4] = bump(280.0, frames=1)[:, :, 0]
    jumpy, _ = decode.argmax(probabilities, dither=False)
    smooth, _ = decode.viterbi(probabilities, dither=False)
    assert jumpy[0, 4] == 280
    assert (smooth == 100).all()


def test_decoders_leave_their_input_alone():
    for name, decoder in decode.DECODERS.items():
        probabilities = bump(100.0)
        before = probabilities.clone()
        decoder(probabilities)
        assert torch.equal(probabilities, before), name
