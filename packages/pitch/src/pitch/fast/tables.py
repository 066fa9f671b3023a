"""Real matrices that take positions to frequencies and back, and the spectra of convolution kernels.

A layer of CREPE correlates its input x of P positions with a kernel w over lags e: y[p] = sum_e w[e] x[p +
e]. In a discrete Fourier transform of length N that is one product a frequency, Y[f] = X[f] conj(W[f]), as
long as no two lags that can occur, -(P - 1) to P - 1 for pairs of positions and those of the kernel, fall
together modulo N.

The product of two complex numbers takes three real products (Gauss): with X = a + ib and conj(W) = c + id,

    k1 = (a + b) c,  k2 = a (d - c),  k3 = b (c + d):   Re Y = k1 - k3,  Im Y = k1 + k2.

The sums behind the products are linear, so the inverse transform takes them in: its columns stand for k1,
k2, k3.
"""

import math

import torch
from torch import Tensor


def forward_table(positions: int, length: int) -> Tensor:
    """Cosine rows and sine rows of the transform of `length` points, of which only the first are not zero.

    Shape:
        - Output: `[2 * (length // 2 + 1), positions]`, float64
    """
    angles = _angles(length // 2 + 1, positions, length)
    return torch.cat([torch.cos(angles), -torch.sin(angles)])


def inverse_tables(positions: int, length: int) -> tuple[Tensor, Tensor]:
    """Matrices that take the real and the imaginary parts of a spectrum to the first positions of its signal.

    Shape:
        - Output: twice `[positions, length // 2 + 1]`, float64
    """
    angles = _angles(length // 2 + 1, positions, length).T
    # All frequencies but the first and the last stand for their mirror images too.
    weight = torch.full((length // 2 + 1,), 2.0 / length, dtype=torch.float64)
    weight[0] = weight[-1] = 1.0 / length
    return weight * torch.cos(angles), -weight * torch.sin(angles)


def correlation_spectrum(kernel: Tensor, first_lag: int, length: int) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of conj(W), frequencies first.

    Args:
        kernel: Weights over consecutive lags, on the last axis.
        first_lag: Lag of the first weight.
        length: Points of the transform, even.

    Shape:
        - kernel: `[..., lags]`
        - Output: twice `[length // 2 + 1, ...]`, float64
    """
    lags = torch.arange(first_lag, first_lag + kernel.shape[-1])
    wrapped = torch.zeros(*kernel.shape[:-1], length, dtype=torch.float64)
    wrapped[..., lags % length] = kernel.double()
    spectrum = torch.fft.rfft(wrapped).conj().movedim(-1, 0)
    return spectrum.real, spectrum.imag


def _angles(rows: int, columns: int, length: int) -> Tensor:
    turns = torch.outer(torch.arange(rows), torch.arange(columns)) % length
    return 2 * math.pi * turns.double() / length
