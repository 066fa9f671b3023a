"""The network of `pitch.fast` for training on a CPU: the same transforms, differentiable in the weights.

A training step of `regular` takes a seventh of the plain network's time (`benchmarks/training.py`): the
kernels' spectra are recomputed each step, which the frames of one batch share. BatchNorm uses its running
statistics, which therefore have to be good before training starts (`pitch.training.statistics`).
"""

import torch
from torch import Tensor, nn

from pitch.fast.layers import FIRST_POSITIONS, FirstLayer
from pitch.fast.tables import forward_table, inverse_tables
from pitch.model import PADDING, Crepe


class SpectralCrepe(nn.Module):
    """The logits of a `Crepe`, with gradients to its parameters except those of the first layer.

    The first layer is a bank of band-pass filters that pruning takes over well; kept as it is, it needs no
    backward pass, and neither does the input of the second.

    Args:
        network: On the CPU; its parameters are the ones that are trained.

    Shape:
        - Input: `[N, 1024]`, each frame of zero mean and unit variance
        - Output: `[N, 360]`, logits
    """

    def __init__(self, network: Crepe) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            self.first = FirstLayer(network.get_submodule("conv1"), network.get_submodule("conv1_BN"))  # type: ignore[arg-type]
        self.layers = nn.ModuleList(_SpectralLayer(FIRST_POSITIONS >> depth) for depth in range(1, 6))

    def forward(self, frames: Tensor) -> Tensor:
        """Logits of the pitch posteriors."""
        with torch.no_grad():
            x = self.first(frames)  # [128, N, C]
        for number, layer in enumerate(self.layers, start=2):
            convolution = self.network.get_submodule(f"conv{number}")
            normalization = self.network.get_submodule(f"conv{number}_BN")
            x = layer(x, convolution, normalization)
        logits: Tensor = self.network.classifier(x.transpose(0, 1).flatten(1))
        return logits


class _SpectralLayer(nn.Module):
    """Convolution, ReLU, BatchNorm and max-pool of layers 2 to 6, as in `pitch.fast.layers.Layer`."""

    analysis: Tensor
    kernel_analysis: Tensor
    synthesis: Tensor

    def __init__(self, positions: int) -> None:
        super().__init__()
        before, after = (min(padding, positions - 1) for padding in PADDING)
        self.taps = slice(PADDING[0] - before, PADDING[0] + after + 1)
        # Long enough that no two lags that occur fall together (`pitch.fast.tables`).
        length = ((positions - 1 + max(before, after)) // 16 + 1) * 16
        self.frequencies = length // 2 + 1
        # The spectrum of the reversed kernel: lag e of the correlation is tap e + before.
        lags = torch.arange(-before, after + 1)
        angles = 2 * torch.pi * (torch.outer(torch.arange(self.frequencies), lags) % length).double() / length
        kernel_analysis = torch.cat([torch.cos(angles), torch.sin(angles)])  # [2 F, taps], of conj(W)
        back_real, back_imaginary = inverse_tables(positions, length)
        self.register_buffer("analysis", forward_table(positions, length).float(), persistent=False)
        self.register_buffer("kernel_analysis", kernel_analysis.float(), persistent=False)
        synthesis = torch.cat([back_real + back_imaginary, back_imaginary, -back_real], dim=1)
        self.register_buffer("synthesis", synthesis.float(), persistent=False)

    def forward(self, x: Tensor, convolution: nn.Module, normalization: nn.Module) -> Tensor:
        """The layer's output, `[P / 2, N, C']` from `[P, N, C]`."""
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(normalization, nn.BatchNorm2d)
        assert normalization.running_var is not None
        assert normalization.running_mean is not None
        assert convolution.bias is not None
        positions, batch, channels = x.shape
        f = self.frequencies
        kernel = convolution.weight[:, :, self.taps, 0].permute(2, 1, 0)  # [taps, C, C']
        outputs = kernel.shape[2]
        spectrum = (self.kernel_analysis @ kernel.flatten(1)).view(2, f, channels, outputs)
        real, imaginary = spectrum[0], spectrum[1]
        weights = torch.cat([real, imaginary - real, real + imaginary])  # [3 F, C, C']
        transformed = (self.analysis @ x.flatten(1)).view(2, f, batch, channels)
        signals = torch.cat([transformed[0] + transformed[1], transformed[0], transformed[1]])
        products = torch.bmm(signals, weights)  # [3 F, N, C']
        y = (self.synthesis @ products.flatten(1)).view(positions // 2, 2, batch, outputs)
        scale = normalization.weight * torch.rsqrt(normalization.running_var + normalization.eps)
        offset = normalization.bias - normalization.running_mean * scale
        # ReLU and BatchNorm rise or fall with their input by the scale's sign; see `pitch.fast.layers`.
        pooled = torch.where(scale > 0, y.amax(dim=1), y.amin(dim=1))
        return torch.relu(pooled + convolution.bias) * scale + offset
