"""The network of `pitch.fast` for training on a CPU: the same transforms, differentiable in the weights.

A training step of `regular` takes less than a sixth of the plain network's time (`benchmarks/training.py`):
the kernels' spectra are recomputed each step, which the frames of one batch share. BatchNorm uses its running
statistics, which therefore have to be good before training starts (`reestimate_batch_norm` in
`pitch.training.prune`).
"""

import torch
from torch import Tensor, nn

from pitch.capacities import CONV_KERNELS
from pitch.fast.layers import LAYER_DISTANCES, FirstLayer, in_order, rising_distances, trimmed
from pitch.fast.tables import cosines_and_sines, inverse_tables
from pitch.model import Crepe


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
        self.layers = nn.ModuleList(_SpectralLayer(distances) for distances in LAYER_DISTANCES)

    def forward(self, frames: Tensor) -> Tensor:
        """Logits of the pitch posteriors."""
        with torch.no_grad():
            x = self.first(frames)  # [2, 64, N, C]
        for number, layer in enumerate(self.layers, start=2):
            convolution = self.network.get_submodule(f"conv{number}")
            normalization = self.network.get_submodule(f"conv{number}_BN")
            x = layer(x, convolution, normalization)
        logits: Tensor = self.network.classifier(in_order(x))
        return logits


class _SpectralLayer(nn.Module):
    """Convolution, ReLU, BatchNorm and max-pool of layers 2 to 6, as in `pitch.fast.layers.Layer`."""

    cosines: Tensor
    sines: Tensor
    to_even: Tensor
    to_odd: Tensor
    kernel_table: Tensor

    def __init__(self, distances: Tensor) -> None:
        super().__init__()
        positions = 2 * len(distances)
        taps, first_lag, length = trimmed(torch.arange(CONV_KERNELS[1]), positions)
        self.taps = taps.tolist()
        self.frequencies = length // 2 + 1
        lags = first_lag + torch.arange(len(taps))
        kernel_table = torch.cat(cosines_and_sines(lags, length))  # conj(W): the sines keep their sign
        cosines, sines = cosines_and_sines(distances, length)
        to_even, to_odd = inverse_tables(rising_distances(positions), length)
        tables = {"cosines": cosines, "sines": -sines, "to_even": to_even, "to_odd": to_odd}
        for name, table in {**tables, "kernel_table": kernel_table}.items():
            self.register_buffer(name, table.float().contiguous(), persistent=False)

    def forward(self, x: Tensor, convolution: nn.Module, normalization: nn.Module) -> Tensor:
        """The layer's output, `[2, P / 4, N, C']` from `[2, P / 2, N, C]`."""
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(normalization, nn.BatchNorm2d)
        assert normalization.running_var is not None
        assert normalization.running_mean is not None
        assert convolution.bias is not None
        _, pairs, batch, channels = x.shape
        f = self.frequencies
        kernel = convolution.weight[:, :, self.taps[0] : self.taps[-1] + 1, 0].permute(
            2, 1, 0
        )  # [taps, C, C']
        outputs = kernel.shape[2]
        real, imaginary = (self.kernel_table @ kernel.flatten(1)).view(2, f, channels, outputs)
        weights = torch.cat([real, imaginary - real, real + imaginary])  # [3 F, C, C']
        cosine_part = (self.cosines @ (x[0] + x[1]).flatten(1)).view(f, batch, channels)
        sine_part = (self.sines @ (x[0] - x[1]).flatten(1)).view(f, batch, channels)
        signals = torch.cat([cosine_part + sine_part, cosine_part, sine_part])
        first, second, third = torch.bmm(signals, weights).view(3, f, -1)  # [F, N C'] each
        even, odd = self.to_even @ (first - third), self.to_odd @ (first + second)
        y = torch.stack([even + odd, even - odd]).view(2, pairs // 2, 2, batch, outputs)
        scale = normalization.weight * torch.rsqrt(normalization.running_var + normalization.eps)
        offset = normalization.bias - normalization.running_mean * scale
        # ReLU and BatchNorm rise or fall with their input by the scale's sign; see `pitch.fast.layers`.
        pooled = torch.where(scale > 0, y.amax(dim=2), y.amin(dim=2))
        return torch.relu(pooled + convolution.bias) * scale + offset
