"""The losses of HiFi-GAN.

Equations are those of Kong et al., 2020, arXiv 2010.05646, section 2.4; the sums run over all discriminators.
"""

import torch
from torch import Tensor

from audio_io import stft
from mri2speech.config import MelConfig
from mri2speech.features import mel_db, mel_log
from mri2speech.vocoder.discriminators import Judgement

# FFT sizes of Yamamoto et al., "Parallel WaveGAN", 2020, halved: they are for 24 kHz.
STFT_SIZES = (256, 512, 1024)

_FEATURE_WEIGHT = 2.0  # lambda_fm of the paper
_STFT_FLOOR = 1e-7  # power


def discriminator_loss(real: list[Judgement], generated: list[Judgement]) -> Tensor:
    """Least-squares loss of the discriminators, equation 1."""
    return torch.stack(
        [
            (1 - true).square().mean() + false.square().mean()
            for (true, _), (false, _) in zip(real, generated, strict=True)
        ]
    ).sum()


def generator_loss(generated: list[Judgement]) -> Tensor:
    """Least-squares loss of the generator, equation 2."""
    return torch.stack([(1 - score).square().mean() for score, _ in generated]).sum()


def feature_loss(real: list[Judgement], generated: list[Judgement]) -> Tensor:
    """Distance of the feature maps with its weight of 2, equation 4."""
    terms = [
        (true - false).abs().mean()
        for (_, true_maps), (_, false_maps) in zip(real, generated, strict=True)
        for true, false in zip(true_maps, false_maps, strict=True)
    ]
    return _FEATURE_WEIGHT * torch.stack(terms).sum()


def mel_loss(real: Tensor, generated: Tensor, config: MelConfig) -> Tensor:
    """Mean distance of the log mels, equation 3 without its weight of 45.

    The mel is the one that the generator takes, pre-emphasis included.

    Shape:
        - real, generated: `[B, 1, N]`
    """
    return (mel_log(mel_db(real, config)) - mel_log(mel_db(generated, config))).abs().mean()


def stft_distance(real: Tensor, generated: Tensor) -> Tensor:
    """Multi-resolution STFT distance: spectral convergence and log-magnitude distance, mean of three sizes.

    Yamamoto et al., "Parallel WaveGAN", 2020, arXiv 1910.11480, equations 4 to 6.

    Shape:
        - real, generated: `[..., N]`
    """
    terms = []
    for size in STFT_SIZES:
        true, false = (_magnitude(x, size) for x in (real, generated))
        convergence = (true - false).norm() / true.norm().clamp(min=_STFT_FLOOR)
        terms.append(convergence + (true.log() - false.log()).abs().mean())
    return torch.stack(terms).mean()


def _magnitude(waveform: Tensor, size: int) -> Tensor:
    spectrum = stft(waveform, size, hop_length=size // 4)
    # The floor keeps the gradient of the root finite in silence.
    return torch.view_as_real(spectrum).square().sum(-1).clamp(min=_STFT_FLOOR).sqrt()
