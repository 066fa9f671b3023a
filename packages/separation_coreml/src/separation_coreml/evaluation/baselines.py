"""What a separator has to beat, and what no mask can: the mixture, median filters, and an ideal mask.

References:
    Median filters: FitzGerald, "Harmonic/Percussive Separation using Median Filtering", DAFx 2010.
    Ideal ratio mask, of powers: Liutkus, Badeau, "Generalized Wiener Filtering with Fractional Power
    Spectrograms", ICASSP 2015.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

_N_FFT, _HOP_LENGTH = 4096, 1024
_MEDIAN = 17  # frames or bins
_BASS = 150.0  # Hz, below which what is harmonic is taken for bass
_VOICE = (200.0, 8000.0)  # Hz, between which what is harmonic and in the middle is taken for vocals
_LEAST = 1e-10


def mixture_share(mixture: Tensor) -> dict[str, Tensor]:
    """A quarter of the mixture for each stem.

    Shape:
        - mixture, each stem: `[2, T]`
    """
    return dict.fromkeys(("drums", "bass", "other", "vocals"), mixture / 4)


def median_filters(mixture: Tensor, sample_rate: int) -> dict[str, Tensor]:
    """Drums are what is percussive; the harmonic rest is split by frequency and panorama.

    Shape:
        - mixture, each stem: `[2, T]`
    """
    spectrum = _stft(mixture)
    power = spectrum.abs().square().mean(dim=0)  # [F, frames]
    harmonic, percussive = _median(power, along=1), _median(power, along=0)
    percussive_share = percussive / (harmonic + percussive + _LEAST)
    frequency = torch.linspace(0, sample_rate / 2, len(power))[:, None]
    left, right = spectrum.abs().square()
    middle = 2 * torch.minimum(left, right) / (left + right + _LEAST)
    voiced = (frequency >= _VOICE[0]) & (frequency <= _VOICE[1])
    bass = (frequency < _BASS) * (1 - percussive_share)
    vocals = voiced * middle.square() * (1 - percussive_share)
    masks = {
        "drums": percussive_share,
        "bass": bass,
        "other": 1 - percussive_share - bass - vocals,
        "vocals": vocals,
    }
    return {name: _istft(mask * spectrum, mixture.shape[-1]) for name, mask in masks.items()}


def ideal_mask(stems: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each stem from the mixture, by its true share of the power in each bin.

    Shape:
        - each stem: `[2, T]`
    """
    spectra = {name: _stft(stem) for name, stem in stems.items()}
    mixture = torch.stack(list(spectra.values())).sum(dim=0)
    powers = {name: spectrum.abs().square() for name, spectrum in spectra.items()}
    total = torch.stack(list(powers.values())).sum(dim=0) + _LEAST
    length = next(iter(stems.values())).shape[-1]
    return {name: _istft(power / total * mixture, length) for name, power in powers.items()}


def _median(power: Tensor, *, along: int) -> Tensor:
    """Median over neighbours, `[F, frames]`."""
    rows = power if along == 1 else power.T
    padded = functional.pad(rows[None], (_MEDIAN // 2, _MEDIAN // 2), mode="replicate")[0]
    median = padded.unfold(-1, _MEDIAN, 1).median(dim=-1).values
    return median if along == 1 else median.T


def _stft(signal: Tensor) -> Tensor:
    # At least as long as a frame, and half a frame of zeros beyond the ends.
    return torch.stft(
        signal,
        _N_FFT,
        _HOP_LENGTH,
        window=torch.hann_window(_N_FFT),
        pad_mode="constant",
        return_complex=True,
    )


def _istft(spectrum: Tensor, length: int) -> Tensor:
    return torch.istft(spectrum, _N_FFT, _HOP_LENGTH, window=torch.hann_window(_N_FFT), length=length)
