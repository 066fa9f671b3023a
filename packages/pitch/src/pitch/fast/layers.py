"""CREPE's layers (convolution, ReLU, BatchNorm, max-pool) in the frequency domain.

Activations are `[side, distance, batch, channel]`: the two positions at each distance from the middle of the
frame, to the right of it (side 0) and to the left (side 1). Both transforms are then matrix products of half
the size without any permutation (`pitch.fast.tables`), and the products in between are one batched matrix
product over the frequencies.

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
from pitch.fast.tables import correlation_spectrum, cosines_and_sines, inverse_tables
from pitch.model import FIRST_PADDING, PADDING

FIRST_STRIDE = 4
FIRST_POSITIONS = WINDOW_SIZE // FIRST_STRIDE  # 256, of the first convolution

# Positions that one transform of the first layer gives, channels done at once, and frames done at once:
# chosen by measurement so that what stands between the two transforms stays in the cache of one core
# (`benchmarks/speed.py`).
FIRST_BLOCK = 64
FIRST_CHANNELS = 128
FIRST_FRAMES = 8

# The blocks by side, inner before outer: right of the frame's middle, left of it.
FIRST_BLOCK_ORDER = (2, 3, 1, 0)
# Where the pooled positions of the first layer are stored: of each block the half nearer to the middle of the
# frame, from the block's middle towards it, then the other one away from it.
FIRST_DISTANCES = torch.cat(
    [
        start + FIRST_BLOCK / 4 + sign * (torch.arange(FIRST_BLOCK // 4, device="cpu") + 0.5)
        for start in (0, FIRST_BLOCK / 2)
        for sign in (-1, 1)
    ]
)


class Layer(nn.Module):
    """One of the layers 2 to 6.

    Args:
        convolution: Of 64 taps, stride 1.
        normalization: In evaluation mode.
        distances: Of the input's positions from the middle, in the order in which they are stored.

    Shape:
        - distances: `[P / 2]`
        - Input: `[2, P / 2, N, C]`
        - Output: `[2, P / 4, N, C']`, in rising order of distance
    """

    spectrum: Tensor
    cosines: Tensor
    sines: Tensor
    to_even: Tensor
    to_odd: Tensor

    def __init__(self, convolution: nn.Conv2d, normalization: nn.BatchNorm2d, distances: Tensor) -> None:
        super().__init__()
        positions = 2 * len(distances)
        self.end = ScaledEnd(convolution, normalization)
        kernel, first_lag, length = trimmed(self.end.scaled_kernel(convolution), positions)
        real, imaginary = correlation_spectrum(kernel.transpose(0, 1), first_lag, length)  # [F, C, C']
        products = torch.cat([real, imaginary - real, real + imaginary])  # [3 F, C, C']
        self.frequencies = length // 2 + 1
        cosines, sines = cosines_and_sines(distances, length)
        to_even, to_odd = inverse_tables(rising_distances(positions), length)
        self.register_buffer("spectrum", products.float().contiguous(), persistent=False)
        tables = {"cosines": cosines, "sines": -sines, "to_even": to_even, "to_odd": to_odd}
        for name, table in tables.items():
            self.register_buffer(name, table.float().contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        _, pairs, batch, channels = x.shape
        f = self.frequencies
        sides = x.view(2, pairs, -1)
        transformed = x.new_empty(3 * f, batch * channels)
        torch.mm(self.cosines, sides[0] + sides[1], out=transformed[f : 2 * f])
        torch.mm(self.sines, sides[0] - sides[1], out=transformed[2 * f :])
        torch.add(transformed[f : 2 * f], transformed[2 * f :], out=transformed[:f])
        products = torch.bmm(transformed.view(3 * f, batch, channels), self.spectrum).view(3, f, -1)
        imaginary = products[1].add_(products[0])
        real = products[0].sub_(products[2])
        even, odd = torch.mm(self.to_even, real), torch.mm(self.to_odd, imaginary)  # [P / 2, N C']
        return self.end.apply_(pooled_sides(even, odd).view(2, pairs // 2, batch, -1))


class FirstLayer(nn.Module):
    """The first layer: 512 taps, stride 4, one input channel.

    The samples of each of the four phases of the stride are a channel of their own, which makes it a
    convolution of 128 taps and stride 1 on four channels. It is done in blocks of positions (overlap-save);
    each block's positions pair up about the middle of the block.

    Args:
        convolution: Of 512 taps, stride 4.
        normalization: In evaluation mode.

    Shape:
        - Input: `[N, 1024]`
        - Output: `[2, 64, N, C]`, at the distances of `FIRST_DISTANCES`
    """

    forward_table: Tensor
    to_even: Tensor
    to_odd: Tensor

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
        # What goes in covers more than the block, so its positions do not pair up about the middle of it.
        place = torch.arange(length) - (FIRST_BLOCK - 1) / 2
        cosines, sines = cosines_and_sines(place, length)
        to_even, to_odd = inverse_tables(rising_distances(FIRST_BLOCK), length)
        self.register_buffer("forward_table", torch.cat([cosines, -sines]).float(), persistent=False)
        self.register_buffer("to_even", to_even.float().contiguous(), persistent=False)
        self.register_buffer("to_odd", to_odd.float().contiguous(), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """The layer's output."""
        channels = len(self.end.shift)
        out = frames.new_empty(2, FIRST_POSITIONS // 4, len(frames), channels)
        for start in range(0, len(frames), FIRST_FRAMES):
            self._fill(frames[start : start + FIRST_FRAMES], out[:, :, start : start + FIRST_FRAMES])
        return out

    def _fill(self, frames: Tensor, out: Tensor) -> None:
        """Compute some frames into their part of the output, `[2, 64, n, C]`."""
        n, f = len(frames), self.frequencies
        transformed = self._transform(frames)  # [2 F, 4 n, 8]
        # Side of the frame, inner or outer block, half of the block.
        places = out.view(2, 2, 2, FIRST_BLOCK // 4, n, -1)
        for index in range(self.groups):
            products = torch.bmm(transformed, self.get_buffer(f"spectrum_{index}")).view(2, f, -1)
            even, odd = torch.mm(self.to_even, products[0]), torch.mm(self.to_odd, products[1])
            group = slice(index * FIRST_CHANNELS, index * FIRST_CHANNELS + FIRST_CHANNELS)
            halves = pooled_sides(even, odd).view(2, FIRST_BLOCK // 4, 2, 2, n, -1)
            pooled = self.end.apply_(halves, group).permute(2, 0, 3, 1, 4, 5)  # [side, half, block, 16, n, c]
            target = places[..., group]
            for side in (0, 1):
                for half in (0, 1):
                    # To the right of the frame's middle a block's left half is the nearer one.
                    target[side, :, 1 - half if side == 0 else half].copy_(pooled[side, half])

    def _transform(self, frames: Tensor) -> Tensor:
        """Spectra of the phases of each block: real and imaginary part side by side, and all of it twice."""
        blocks = FIRST_POSITIONS // FIRST_BLOCK
        reach = FIRST_STRIDE * ((blocks - 1) * FIRST_BLOCK + self.length)  # samples that the blocks cover
        before = FIRST_PADDING[0]
        padded = F.pad(frames, (before, reach - before - frames.shape[1]))
        pieces = padded.unfold(1, FIRST_STRIDE * self.length, FIRST_STRIDE * FIRST_BLOCK)  # [n, 4, 4 L]
        ordered = pieces[:, FIRST_BLOCK_ORDER].transpose(0, 1)  # [4, n, 4 L]
        by_time = ordered.reshape(-1, self.length, FIRST_STRIDE).transpose(0, 1)  # [L, 4 n, 4]
        spectra = torch.mm(self.forward_table, by_time.reshape(self.length, -1))
        parts = spectra.view(2, self.frequencies, -1, FIRST_STRIDE)  # [2, F, 4 n, 4]
        both = torch.cat([parts[0], parts[1]], dim=2)  # [F, 4 n, 8]
        return torch.cat([both, both])


def trimmed(kernel: Tensor, positions: int) -> tuple[Tensor, int, int]:
    """A kernel of 64 taps without those that only ever meet the zeros beyond the ends.

    Returns:
        The kernel, the lag of its first tap, and the length of a transform in which no two lags that occur
        fall together: those of pairs of positions reach `positions - 1` either way.
    """
    before, after = (min(padding, positions - 1) for padding in PADDING)
    length = ((positions - 1 + max(before, after)) // 16 + 1) * 16
    return kernel[..., PADDING[0] - before : PADDING[0] + after + 1], -before, length


def rising_distances(positions: int) -> Tensor:
    """Distances of an even number of positions from their middle: 0.5, 1.5, …, `[positions / 2]`."""
    return torch.arange(positions // 2, device="cpu") + 0.5


def in_order(x: Tensor) -> Tensor:
    """What the classifier takes, positions in their order and channels fastest.

    Shape:
        - x: `[2, 2, N, C]`
        - Output: `[N, 4 C]`
    """
    return torch.stack([x[1, 1], x[1, 0], x[0, 0], x[0, 1]], dim=1).flatten(1)


def pooled_sides(even: Tensor, odd: Tensor) -> Tensor:
    """Larger of each two neighbours on both sides of the middle.

    Shape:
        - even, odd: `[P / 2, M]`, C and S of `pitch.fast.tables`
        - Output: `[2, P / 4, M]`
    """
    pairs = (len(even) // 2, 2, even.shape[1])
    pooled = even.new_empty(2, len(even) // 2, even.shape[1])
    right = torch.add(even, odd).view(pairs)
    torch.maximum(right[:, 0], right[:, 1], out=pooled[0])
    left = even.sub_(odd).view(pairs)
    torch.maximum(left[:, 0], left[:, 1], out=pooled[1])
    return pooled


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


# Distances of the inputs of layers 2 to 6, in the order in which they are stored.
LAYER_DISTANCES = (FIRST_DISTANCES, *(rising_distances(FIRST_POSITIONS >> depth) for depth in range(2, 6)))
