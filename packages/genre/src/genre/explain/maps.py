"""Where in time and frequency each stem counted: maps in nats whose sum is the whole effect of the sound.

What is explained is the log-odds F of one genre in one window. Silence is the window with its four stems
silent. The sum of either map over cells and stems is F(window) - F(silence), so that a cell is a share of it.

`gradcam`. The first convolution adds the stems up, so the last feature map A knows no stems, and neither does
its Grad-CAM. But A can be had for each of the 2^4 subsets of stems that sound. At each cell, the Shapley
values of the stems share A(window) - A(silence) among them, channel by channel, and the channels are added
with Grad-CAM's weights, the gradient of F with respect to the mean of the channel. Two things differ from the
paper: the gradient is the mean over the straight line from the means of silence to those of the window, which
makes the sum exact, and nothing is rectified, so that evidence against the genre is seen as well.

`gradients`. Integrated gradients of the picture: the gradient of F with respect to every pixel of every stem,
averaged over the straight line from the picture of silence to that of the window, times their difference,
added up in the cells. It does not share `gradcam`'s premise that a cell of A is about the part of the picture
around it, but goes over pictures that no recording has: all dB values between silence and the sound.

References: R. Selvaraju et al., "Grad-CAM", 2017; M. Sundararajan, A. Taly and Q. Yan, "Axiomatic attribution
for deep networks", 2017 (the completeness axiom); `genre.explain.shapley`.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from genre.explain.shapley import ALL, NONE, shapley

_HEAD_STEPS = 256  # the head is small

Function = Callable[[Tensor], Tensor]


def log_odds(logits: Tensor) -> Tensor:
    """Log p / (1 - p) of each class, where p is the softmax; finite wherever the logits are moderate.

    Shape:
        - logits: `[..., C]` with `C` at least 2
        - output: the same, in nats
    """
    # Taken off first: p / (1 - p) by way of p would be infinite from p = 1 - 1e-16 on.
    own = torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
    others = logits[..., None, :].masked_fill(own, -math.inf).logsumexp(dim=-1)
    return logits - others


def gradcam(activations: Tensor, value: Function) -> tuple[Tensor, float]:
    """Grad-CAM by stem; see the module.

    Args:
        activations: The last feature map for each subset, in the order of `genre.explain.shapley.SUBSETS`.
        value: F of the means over the map, `[n, K]` to `[n]`.

    Returns:
        The map, and F(window) - F(silence) less its sum: the error of the numeric integral.

    Shape:
        - activations: `[16, K, h, w]`
        - map: `[4, h, w]`, in nats
    """
    means = activations.double().mean(dim=(2, 3)).to(activations)
    weight, difference = _path_gradient(value, means[NONE], means[ALL], _midpoints(_HEAD_STEPS), _HEAD_STEPS)
    cells = activations.shape[2] * activations.shape[3]
    projected = torch.einsum("k,skij->sij", weight, activations.double()) / cells
    result = shapley(projected)
    return result, difference - float(result.sum())


def integrated_gradients(
    picture: Tensor,
    silence: Tensor,
    value: Function,
    rows: Tensor,
    columns: Tensor,
    *,
    steps: int,
    batch: int,
) -> tuple[Tensor, float]:
    """Integrated gradients, added up in cells; see the module.

    Args:
        picture: What the network sees of the window.
        silence: The same of silence.
        value: F of pictures, `[n, 4, H, W]` to `[n]`.
        rows: The row of cells that each row of the picture belongs to.
        columns: The same of its columns.
        steps: Points of the Gauss-Legendre quadrature of the path.
        batch: Pictures at once.

    Returns:
        The map, and F(window) - F(silence) less its sum: the error of the numeric integral.

    Shape:
        - picture, silence: `[4, H, W]`
        - rows: `[H]`, columns: `[W]`
        - map: `[4, h, w]`, in nats
    """
    gradient, difference = _path_gradient(value, silence, picture, _legendre(steps), batch)
    pixels = gradient * (picture - silence).double()
    pooled = pixels.new_zeros(len(pixels), int(rows.max()) + 1, pixels.shape[2]).index_add(1, rows, pixels)
    result = pixels.new_zeros(*pooled.shape[:2], int(columns.max()) + 1).index_add(2, columns, pooled)
    return result, difference - float(result.sum())


def _path_gradient(
    value: Function, start: Tensor, end: Tensor, quadrature: tuple[Tensor, Tensor], batch: int
) -> tuple[Tensor, float]:
    """Mean gradient on the line from start to end in float64, and the difference of the value."""
    nodes, weights = (part.to(start) for part in quadrature)
    total = torch.zeros_like(start, dtype=torch.float64)
    for first in range(0, len(nodes), batch):
        shape = (-1, *[1] * start.ndim)
        points = start + nodes[first : first + batch].reshape(shape) * (end - start)
        points.requires_grad_()
        (gradient,) = torch.autograd.grad(value(points).sum(), points)
        total += (gradient * weights[first : first + batch].reshape(shape)).double().sum(dim=0)
    with torch.no_grad():
        ends = value(torch.stack([start, end])).double()
    return total, float(ends[1] - ends[0])


def _midpoints(count: int) -> tuple[Tensor, Tensor]:
    """For functions with kinks, as those of ReLU."""
    nodes = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return nodes, torch.full((count,), 1 / count, dtype=torch.float64)


def _legendre(count: int) -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


def stride_of(features: nn.Module) -> int:
    """Pixels between the centres of two cells of the last feature map: the product of all strides."""
    strides = [module.stride[0] for module in features.modules() if isinstance(module, nn.Conv2d)]
    return math.prod(strides)


def cell_of(pixels: int, stride: int) -> Tensor:
    """The cell that each pixel along an axis is nearest to.

    Every strided convolution of an EfficientNet pads by half of its kernel, so cell j is centred on pixel
    j * stride: the first cell is half as wide as the others, and stretching the map over the picture, as is
    often done, would put everything half a cell late.

    Shape:
        - output: `[pixels]`, in `torch.int64`

    Example:
        >>> cell_of(6, 4).tolist()
        [0, 0, 1, 1, 1, 1]
    """
    cells = -(-pixels // stride)
    return ((torch.arange(pixels) + stride // 2) // stride).clamp(max=cells - 1)


def cell_of_frames(frames: int, pixels: int, stride: int) -> Tensor:
    """The cell that each frame (or mel band) belongs to, where the picture may have been resized.

    Args:
        frames: Of the picture before resizing.
        pixels: After it.
        stride: From `stride_of`.

    Shape:
        - output: `[frames]`
    """
    nearest = ((torch.arange(frames, dtype=torch.float64) + 0.5) * pixels / frames - 0.5).round().long()
    return cell_of(pixels, stride)[nearest.clamp(0, pixels - 1)]
