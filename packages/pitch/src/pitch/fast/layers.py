"""CREPE's layers (convolution, ReLU, BatchNorm, max-pool) in the frequency domain.

Activations are `[position, batch, channel]`: both transforms are then one matrix product each without any
permutation, and the products in between are one batched matrix product over the frequencies.

BatchNorm is a scale s and a shift t a channel. The scale goes into the kernel; max-pool, which commutes with
everything that rises, goes before the rest:

    s > 0:  pool(s relu(c + b) + t) = max(pool(s c) + s b + t, t)
    s < 0:  pool(s relu(c + b) + t) = min(pool(s c) + s b + t, t)
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the customary name

from pitch.capacities import CONV_KERNELS
from pitch.constants import WINDOW_SIZE
from pitch.fast.tables import correlation_spectrum, forward_table, inverse_tables
from pitch.model import FIRST_PADDING, PADDING

FIRST_STRIDE = 4
FIRST_POSITIONS = WINDOW_SIZE // FIRST_STRIDE  # 256, of the first convolution

# Positions that one transform of the first layer gives, channels done at once, and frames done at once:
# chosen by measurement so that what stands between the two transforms stays in the cache of one core
# (`benchmarks/speed.py`).
FIRST_BLOCK = 64
FIRST_CHANNELS = 128
FIRST_FRAMES = 8


class Layer(nn.Module):
    """One of the layers 2 to 6.

    Args:
        convolution: Of 64 taps, stride 1.
        normalization: In evaluation mode.
        positions: P, of the input.

    Shape:
        - Input: `[P, N, C]`
        - Output: `[P / 2, N, C']`
    """

    spectrum: Tensor
    forward_table: Tensor
    inverse_table: Tensor

    def __init__(self, convolution: nn.Conv2d, normalization: nn.BatchNorm2d, positions: int) -> None:
        super().__init__()
        self.positions = positions
        self.end = ScaledEnd(convolution, normalization)
        # Taps that only ever meet the zeros beyond the ends are left out.
        before, after = (min(padding, positions - 1) for padding in PADDING)
        kernel = self.end.scaled_kernel(convolution)[..., PADDING[0] - before : PADDING[0] + after + 1]
        # Pairs of positions reach lags of P - 1 either way; those must not wrap onto the kernel's.
        length = _multiple_of_16_above(positions - 1 + max(before, after))
        real, imaginary = correlation_spectrum(kernel.transpose(0, 1), -before, length)  # [F, C, C']
        products = torch.cat([real, imaginary - real, real + imaginary])  # [3 F, C, C']
        back_real, back_imaginary = inverse_tables(positions, length)
        inverse = torch.cat([back_real + back_imaginary, back_imaginary, -back_real], dim=1)  # [P, 3 F]
        self.frequencies = length // 2 + 1
        self.register_buffer("spectrum", products.float().contiguous(), persistent=False)
        self.register_buffer("forward_table", forward_table(positions, length).float(), persistent=False)
        self.register_buffer("inverse_table", inverse.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        positions, batch, channels = x.shape
        f = self.frequencies
        transformed = x.new_empty(3 * f, batch * channels)
        torch.mm(self.forward_table, x.reshape(positions, -1), out=transformed[f:])
        torch.add(transformed[f : 2 * f], transformed[2 * f :], out=transformed[:f])
        products = torch.bmm(transformed.view(3 * f, batch, channels), self.spectrum)  # [3 F, N, C']
        y = torch.mm(self.inverse_table, products.view(3 * f, -1))  # [P, N C']
        pairs = y.view(positions // 2, 2, batch, -1)
        return self.end.apply_(torch.maximum(pairs[:, 0], pairs[:, 1]))  # [P / 2, N, C']


class FirstLayer(nn.Module):
    """The first layer: 512 taps, stride 4, one input channel.

    The samples of each of the four phases of the stride are a channel of their own, which makes it a
    convolution of 128 taps and stride 1 on four channels. It is done in blocks of positions (overlap-save).

    Args:
        convolution: Of 512 taps, stride 4.
        normalization: In evaluation mode.

    Shape:
        - Input: `[N, 1024]`
        - Output: `[128, N, C]`
    """

    forward_table: Tensor
    inverse_table: Tensor

    def __init__(self, convolution: nn.Conv2d, normalization: nn.BatchNorm2d) -> None:
        super().__init__()
        self.end = ScaledEnd(convolution, normalization)
        taps = CONV_KERNELS[0] // FIRST_STRIDE  # of each phase
        length = FIRST_BLOCK + taps
        kernel = self.end.scaled_kernel(convolution)[:, 0]  # [C, 512]
        phases = kernel.reshape(-1, taps, FIRST_STRIDE).permute(2, 0, 1)  # [4, C, 128]
        real, imaginary = correlation_spectrum(phases, 0, length)  # [F, 4, C]
        # With only eight numbers a product, real arithmetic in one piece is faster than three products.
        to_real = torch.cat([real, -imaginary], dim=1)  # [F, 8, C]
        to_imaginary = torch.cat([imaginary, real], dim=1)
        spectrum = torch.cat([to_real, to_imaginary]).float()  # [2 F, 8, C]
        self.length, self.frequencies = length, length // 2 + 1
        self.groups = len(range(0, spectrum.shape[2], FIRST_CHANNELS))
        for index, group in enumerate(spectrum.split(FIRST_CHANNELS, dim=2)):  # type: ignore[no-untyped-call]
            self.register_buffer(f"spectrum_{index}", group.contiguous(), persistent=False)
        self.register_buffer("forward_table", forward_table(length, length).float(), persistent=False)
        back = torch.cat(inverse_tables(FIRST_BLOCK, length), dim=1).float()  # [B, 2 F]
        self.register_buffer("inverse_table", back, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """The layer's output."""
        channels = len(self.end.shift)
        out = frames.new_empty(FIRST_POSITIONS // 2, len(frames), channels)
        for start in range(0, len(frames), FIRST_FRAMES):
            self._fill(frames[start : start + FIRST_FRAMES], out[:, start : start + FIRST_FRAMES])
        return out

    def _fill(self, frames: Tensor, out: Tensor) -> None:
        """Compute some frames into their part of the output, `[128, n, C]`."""
        n, blocks, f = len(frames), FIRST_POSITIONS // FIRST_BLOCK, self.frequencies
        transformed = self._transform(frames)  # [2 F, n * blocks, 8]
        per_block = out.view(blocks, FIRST_BLOCK // 2, n, -1)
        for index in range(self.groups):
            products = torch.bmm(transformed, self.get_buffer(f"spectrum_{index}"))  # [2 F, n * blocks, c]
            y = torch.mm(self.inverse_table, products.view(2 * f, -1))  # [B, n * blocks * c]
            pairs = y.view(FIRST_BLOCK // 2, 2, n, blocks, -1)
            group = slice(index * FIRST_CHANNELS, index * FIRST_CHANNELS + pairs.shape[-1])
            pooled = self.end.apply_(torch.maximum(pairs[:, 0], pairs[:, 1]), group)  # [B / 2, n, blocks, c]
            per_block[..., group].copy_(pooled.permute(2, 0, 1, 3))

    def _transform(self, frames: Tensor) -> Tensor:
        """Spectra of the phases of each block: real and imaginary part side by side, and all of it twice."""
        blocks = FIRST_POSITIONS // FIRST_BLOCK
        reach = FIRST_STRIDE * ((blocks - 1) * FIRST_BLOCK + self.length)  # samples that the blocks cover
        before = FIRST_PADDING[0]
        padded = F.pad(frames, (before, reach - before - frames.shape[1]))
        pieces = padded.unfold(1, FIRST_STRIDE * self.length, FIRST_STRIDE * FIRST_BLOCK)  # [n, blocks, 4 L]
        by_time = pieces.reshape(-1, self.length, FIRST_STRIDE).transpose(0, 1)  # [L, n * blocks, 4]
        spectra = torch.mm(self.forward_table, by_time.reshape(self.length, -1))
        parts = spectra.view(2, self.frequencies, -1, FIRST_STRIDE)  # [2, F, n * blocks, 4]
        both = torch.cat([parts[0], parts[1]], dim=2)  # [F, n * blocks, 8]
        return torch.cat([both, both])


class ScaledEnd(nn.Module):
    """Bias, ReLU and BatchNorm behind the max-pool, for a kernel that carries the BatchNorm's scale.

    Args:
        convolution: Its bias is used.
        normalization: In evaluation mode.
    """

    scale: Tensor
    shift: Tensor
    floor: Tensor
    ceiling: Tensor

    def __init__(self, convolution: nn.Conv2d, normalization: nn.BatchNorm2d) -> None:
        super().__init__()
        mean, variance = normalization.running_mean, normalization.running_var
        assert convolution.bias is not None
        assert mean is not None
        assert variance is not None
        scale = normalization.weight.double() / torch.sqrt(variance.double() + normalization.eps)
        offset = normalization.bias.double() - mean.double() * scale
        infinity = torch.full_like(scale, torch.inf)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", (scale * convolution.bias + offset).float(), persistent=False)
        self.register_buffer("floor", torch.where(scale > 0, offset, -infinity).float(), persistent=False)
        self.register_buffer("ceiling", torch.where(scale > 0, infinity, offset).float(), persistent=False)

    def scaled_kernel(self, convolution: nn.Conv2d) -> Tensor:
        """The kernel times the scale of its output channel, `[C', C, taps]`, float64."""
        return convolution.weight[..., 0].double() * self.scale[:, None, None]

    def apply_(self, pooled: Tensor, channels: slice = slice(None)) -> Tensor:
        """Finish, in place, what was pooled; `channels` are those on its last axis."""
        return pooled.add_(self.shift[channels]).clamp_(self.floor[channels], self.ceiling[channels])


def _multiple_of_16_above(bound: int) -> int:
    return (bound // 16 + 1) * 16
