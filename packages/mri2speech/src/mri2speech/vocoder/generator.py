"""HiFi-GAN's generator: transposed convolutions with multi-receptive-field fusion between them.

The names of the submodules are those of the original, so that its checkpoints load.

Reference:
    J. Kong, J. Kim, J. Bae, "HiFi-GAN: Generative adversarial networks for efficient and high fidelity
    speech synthesis", 2020, arXiv 2010.05646, section 2.2 and appendix A.1; github.com/jik876/hifi-gan,
    models.py.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the customary name
from torch.nn.utils import parametrizations, parametrize

from mri2speech.vocoder.config import VocoderConfig

_SLOPE = 0.1
_LAST_SLOPE = 0.01  # the original leaves F.leaky_relu's own default before conv_post
_INITIAL_STD = 0.01


class Generator(nn.Module):
    """From mels to a waveform.

    Args:
        config: Its shape; V1, V2 and V3 of the paper differ in nothing else.
    """

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.upsample_initial_channel
        self.conv_pre = _convolution(config.num_mels, channels, 7)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            up = nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2)
            self.ups.append(_initialised(up))
            channels //= 2
            for size, dilations in zip(
                config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
            ):
                block = ResBlock1 if config.resblock == "1" else ResBlock2
                self.resblocks.append(block(channels, size, dilations))
        self.conv_post = _convolution(channels, 1, 7, initialise=True)

    def forward(self, mel_log: Tensor) -> Tensor:
        """The waveform of mels, full scale 1.

        Where `kernel - rate` of an upsampling is odd the original gives one sample too many; the last one is
        dropped, so that the output always fits the mel.

        Args:
            mel_log: Natural logarithm of the mel amplitudes, see `mri2speech.features.mel_log`.

        Shape:
            - mel_log: `[B, num_mels, T]`
            - output: `[B, 1, T * hop_size]`
        """
        x = self.conv_pre(mel_log)
        width = len(self.config.resblock_kernel_sizes)
        for stage, (up, rate) in enumerate(zip(self.ups, self.config.upsample_rates, strict=True)):
            length = x.shape[-1] * rate
            x = up(F.leaky_relu(x, _SLOPE))[..., :length]
            blocks = [self.resblocks[stage * width + index] for index in range(width)]
            # Summed one by one: holding all branches would triple the memory of the stage.
            total = blocks[0](x)
            for block in blocks[1:]:
                total = total + block(x)
            x = total / width
        return torch.tanh(self.conv_post(F.leaky_relu(x, _LAST_SLOPE)))

    def remove_weight_norm(self) -> "Generator":
        """Fold the weight norm into plain weights, in place; the output stays the same."""
        for module in self.modules():
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")
        return self


def receptive_frames(config: VocoderConfig) -> int:
    """Mel frames on either side of one that have an influence on its samples.

    Each convolution reaches half its span; after an upsampling by r a sample is 1 / r of what it was before.
    """
    reach, scale = 3.0, 1.0  # conv_pre
    for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
        reach += math.ceil(kernel / rate) * scale
        scale /= rate
        reach += scale * max(
            _block_reach(config, size, dilations)
            for size, dilations in zip(
                config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
            )
        )
    return math.ceil(reach + 3 * scale)  # conv_post


def _block_reach(config: VocoderConfig, kernel: int, dilations: tuple[int, ...]) -> float:
    half = (kernel - 1) / 2
    if config.resblock == "1":
        return half * (sum(dilations[:3]) + 3)
    return half * sum(dilations[:2])


class ResBlock1(nn.Module):
    """Residual block of V1 and V2: three pairs of a dilated and a plain convolution.

    Shape:
        - input, output: `[B, channels, T]`
    """

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = _stack(channels, kernel, dilations[:3])
        self.convs2 = _stack(channels, kernel, (1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`x` and what the three pairs add to it."""
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, _SLOPE)), _SLOPE))
        return x


class ResBlock2(nn.Module):
    """Residual block of V3: two dilated convolutions.

    Shape:
        - input, output: `[B, channels, T]`
    """

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = _stack(channels, kernel, dilations[:2])

    def forward(self, x: Tensor) -> Tensor:
        """`x` and what the two convolutions add to it."""
        for convolution in self.convs:
            x = x + convolution(F.leaky_relu(x, _SLOPE))
        return x


def _stack(channels: int, kernel: int, dilations: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList(
        _convolution(channels, channels, kernel, dilation=dilation, initialise=True) for dilation in dilations
    )


def _convolution(
    inputs: int, outputs: int, kernel: int, *, dilation: int = 1, initialise: bool = False
) -> nn.Module:
    padding = dilation * (kernel - 1) // 2
    layer = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, padding=padding)
    return _initialised(layer) if initialise else parametrizations.weight_norm(layer)


def _initialised(layer: nn.Conv1d | nn.ConvTranspose1d) -> nn.Module:
    nn.init.normal_(layer.weight, 0.0, _INITIAL_STD)
    return cast("nn.Module", parametrizations.weight_norm(layer))
