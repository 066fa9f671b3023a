"""HiFi-GAN's discriminators: of the waveform folded at five periods, and of the waveform at three rates.

The names of the submodules are those of the original, so that its checkpoints load.

Reference: Kong et al., 2020, arXiv 2010.05646, section 2.3 and appendix A.2; github.com/jik876/hifi-gan,
models.py; the multi-scale one is MelGAN's (Kumar et al., 2019).
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the customary name
from torch.nn.utils import parametrizations

PERIODS = (2, 3, 5, 7, 11)

_SLOPE = 0.1
# Outputs, kernel, stride and groups of the layers of one scale.
_SCALE_LAYERS = (
    (128, 15, 1, 1),
    (128, 41, 2, 4),
    (256, 41, 2, 16),
    (512, 41, 4, 16),
    (1024, 41, 4, 16),
    (1024, 41, 1, 16),
    (1024, 5, 1, 1),
)
_PERIOD_CHANNELS = (32, 128, 512, 1024, 1024)

Judgement = tuple[Tensor, list[Tensor]]
Norm = Callable[[nn.Module], Any]


class MultiPeriodDiscriminator(nn.Module):
    """One discriminator for each of the periods 2, 3, 5, 7 and 11.

    Args:
        width: Channels as a share of the paper's.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(PeriodDiscriminator(period, width) for period in PERIODS)

    def forward(self, waveform: Tensor) -> list[Judgement]:
        """Score and feature maps of each discriminator.

        Shape:
            - waveform: `[B, 1, N]`
        """
        return [discriminator(waveform) for discriminator in self.discriminators]


class MultiScaleDiscriminator(nn.Module):
    """One discriminator for the waveform, and one each for it averaged by two and by four.

    Args:
        width: Channels as a share of the paper's.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        weight_norm: Norm = parametrizations.weight_norm
        spectral_norm: Norm = parametrizations.spectral_norm
        self.discriminators = nn.ModuleList(
            ScaleDiscriminator(norm, width) for norm in (spectral_norm, weight_norm, weight_norm)
        )

    def forward(self, waveform: Tensor) -> list[Judgement]:
        """Score and feature maps of each discriminator.

        Shape:
            - waveform: `[B, 1, N]`
        """
        judgements = []
        for index, discriminator in enumerate(self.discriminators):
            if index:
                waveform = F.avg_pool1d(waveform, 4, 2, padding=2)
            judgements.append(discriminator(waveform))
        return judgements


class PeriodDiscriminator(nn.Module):
    """Judges the waveform written in rows of `period` samples; no layer looks across the columns."""

    def __init__(self, period: int, width: float) -> None:
        super().__init__()
        self.period = period
        channels = [1, *(_scaled(size, width) for size in _PERIOD_CHANNELS)]
        strides = (3, 3, 3, 3, 1)
        self.convs = nn.ModuleList(
            parametrizations.weight_norm(
                nn.Conv2d(channels[i], channels[i + 1], (5, 1), (stride, 1), padding=(2, 0))
            )
            for i, stride in enumerate(strides)
        )
        self.conv_post = parametrizations.weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, waveform: Tensor) -> Judgement:
        """Score `[B, S]` and feature maps of a waveform `[B, 1, N]`."""
        missing = -waveform.shape[-1] % self.period
        x = F.pad(waveform, (0, missing), "reflect") if missing else waveform
        return _judge(x.reshape(*x.shape[:-1], -1, self.period), self.convs, self.conv_post)


class ScaleDiscriminator(nn.Module):
    """Judges the waveform by strided, grouped convolutions of long kernels."""

    def __init__(self, norm: Norm, width: float) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        inputs = 1
        for size, kernel, stride, groups in _SCALE_LAYERS:
            outputs = _scaled(size, width)
            # Narrow layers have fewer groups, so that a group keeps the paper's least width.
            shared = max(1, round(groups * width))
            layer = nn.Conv1d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=shared)
            self.convs.append(norm(layer))
            inputs = outputs
        self.conv_post = norm(nn.Conv1d(inputs, 1, 3, padding=1))

    def forward(self, waveform: Tensor) -> Judgement:
        """Score `[B, S]` and feature maps of a waveform `[B, 1, N]`."""
        return _judge(waveform, self.convs, self.conv_post)


def _judge(x: Tensor, layers: nn.ModuleList, last: nn.Module) -> Judgement:
    maps = []
    for layer in layers:
        x = F.leaky_relu(layer(x), _SLOPE)
        maps.append(x)
    x = last(x)
    maps.append(x)
    return x.flatten(1), maps


def _scaled(size: int, width: float) -> int:
    # Multiples of 16 divide by any number of groups.
    return size if width == 1 else max(16, round(size * width / 16) * 16)
