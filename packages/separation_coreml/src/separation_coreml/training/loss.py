"""What training minimises: the error of masked spectra, computed without ever applying a mask.

For the mixture X, a stem S and its share M, which is one number for the bins that share a value, the energy
of the error is::

    sum |M X - S|^2  =  M^2 sum |X|^2  -  2 M sum Re(S X*)  +  sum |S|^2,

so that three sums for each value say all that the loss needs of the waveforms. The sums need no gradient.

Reference:
    Such targets, which reckon with the phase: Erdogan, Hershey, Watanabe, Le Roux, "Phase-sensitive and
    Recognition-boosted Speech Separation using Deep Recurrent Neural Networks", ICASSP 2015.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from separation_coreml.families import small

_LEAST = 6.4e-4  # added to powers of errors before the root, where white noise has 64
# The energy of an error below this share of the mixture's counts as nothing: stems that rest have no ratio.
_SILENCE = 1e-3
_DECIBEL_WEIGHT = 0.02


@dataclass(frozen=True)
class Sums:
    """What the loss needs of one excerpt.

    Attributes:
        mixture: Mean power of the mixture over the bins of each value.
        shared: Mean of the real part of stem times conjugate mixture.
        stem: Mean power of each stem.

    Shape:
        - mixture: `[channels, 1024, frames]`
        - shared, stem: `[stems, channels, 1024, frames]`
    """

    mixture: Tensor
    shared: Tensor
    stem: Tensor


def sums(stems: Tensor, window: Tensor) -> Sums:
    """The sums of an excerpt, brought to standard deviation 1 as `separate` does with a song.

    Args:
        stems: Their sum is the mixture. Frames lie within the excerpt; it is not padded.
        window: Of the STFT.

    Shape:
        - stems: `[stems, channels, T]`
        - window: `[4096]`
    """
    deviation = stems.sum(dim=(0, 1)).div(stems.shape[1]).std() + 1e-8
    frames = stems.unfold(-1, small.N_FFT, small.HOP_LENGTH) * (window / (small.SCALE * deviation))
    # Real and imaginary parts in turn, [stems, channels, frames, 2 F].
    spectra = torch.view_as_real(torch.fft.rfft(frames)).flatten(-2)
    mixture = spectra.sum(dim=0)
    return Sums(
        *(_pool(product).transpose(-1, -2) for product in (mixture**2, spectra * mixture, spectra**2))
    )


def _pool(products: Tensor) -> Tensor:
    """As `small.pool`, of interleaved parts: `[..., frames, 2 F]` to `[..., frames, 1024]`."""
    parts, first = [], 0
    for bins, count in small.POOLS:
        part = products[..., first : first + 2 * bins * count]
        parts.append(torch.unflatten(part, -1, (count, 2 * bins)).sum(-1) / bins)
        first += 2 * bins * count
    return torch.cat(parts, dim=-1)


def loss(shares: Tensor, known: Sums, weights: Tensor) -> Tensor:
    """The loss of one excerpt: magnitudes of the errors, and their energies in dB.

    The first term is the sum of magnitudes over those of the mixture; it cares for quiet bins. The second is
    the negative ratio of signal to distortion, without what the network cannot change.

    Args:
        shares: From the network.
        known: Of the same excerpt.
        weights: How many bins share each value.

    Shape:
        - shares: `[stems, channels, 1024, frames]`
        - weights: `[1024, 1]`
    """
    error = (shares * (shares * known.mixture - 2 * known.shared) + known.stem).clamp_min(0)
    magnitude = ((error + _LEAST).sqrt() * weights).sum() / (known.mixture.sqrt() * weights).sum()
    total = (known.mixture * weights).sum()
    energy = (error * weights).sum(dim=(1, 2, 3)) / total + _SILENCE
    return magnitude / len(shares) + _DECIBEL_WEIGHT * 10 * energy.log10().mean()


def bin_weights() -> Tensor:
    """How many bins share each value, `[1024, 1]`."""
    return torch.cat([torch.full((count, 1), float(bins)) for bins, count in small.POOLS])
