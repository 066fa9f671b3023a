"""Real matrices that take positions to frequencies and back, and the spectra of convolution kernels.

A layer of CREPE correlates its input x of P positions with a kernel w over lags e: y[p] = sum_e w[e] x[p +
e]. In a discrete Fourier transform of length N that is one product a frequency, Y[f] = X[f] conj(W[f]), as
long as no two lags that can occur, -(P - 1) to P - 1 for pairs of positions and those of the kernel, fall
together modulo N.

The product of two complex numbers takes three real products (Gauss): with X = a + ib and conj(W) = c + id,

    k1 = (a + b) c,  k2 = a (d - c),  k3 = b (c + d):   Re Y = k1 - k3,  Im Y = k1 + k2.

Positions count from the middle of the signal. That only turns the phases of X and Y alike, and pairs up
positions that share their cosines and sines (`cosines_and_sines`).
"""

import math

import torch
from torch import Tensor


def cosines_and_sines(pairs: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the transform of `length` points at positions that come in pairs, +p and -p.

    Positions are counted from the middle of the signal, so those of an even number of samples are halves:
    0.5, 1.5, … With E = x[p] + x[-p] and O = x[p] - x[-p], the spectrum is Re X = cos E, Im X = -sin O: half
    the products of a transform that does not know the pairs. The way back is the same: with the halves C and
    S from `inverse_tables`, y[p] = C + S and y[-p] = C - S.

    Args:
        pairs: The positive positions.
        length: Points of the transform, even.

    Shape:
        - pairs: `[K]`
        - Output: twice `[length // 2 + 1, K]`, float64
    """
    angles = 2 * math.pi * torch.outer(torch.arange(length // 2 + 1).double(), pairs.double()) / length
    return torch.cos(angles), torch.sin(angles)


def inverse_tables(pairs: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Matrices that take the real parts of a spectrum to C and the imaginary parts to S.

    Shape:
        - pairs: `[K]`
        - Output: twice `[K, length // 2 + 1]`, float64
    """
    cosines, sines = cosines_and_sines(pairs, length)
    # All frequencies but the first and the last stand for their mirror images too.
    weight = torch.full((length // 2 + 1,), 2.0 / length, dtype=torch.float64)
    weight[0] = weight[-1] = 1.0 / length
    return weight * cosines.T, -weight * sines.T


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
