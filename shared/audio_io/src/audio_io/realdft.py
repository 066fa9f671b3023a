"""The discrete Fourier transform of real frames as two small matrix products, without complex numbers.

For frames of N = P Q samples, with n = Q p + q and k = r + P s (Cooley and Tukey's split),

    X[r + P s] = sum_q  e(q r / N)  e(q s / Q)  sum_p  x[Q p + q] e(p r / P),      e(t) = exp(-2 pi i t).

That is a P-point transform of the columns, a twiddle factor, and a Q-point transform of the rows: N (P + Q)
products instead of N^2, and tables of P^2 + Q^2 + N pairs instead of N^2 / 2. For N = 4096 this is 32 times
less work, and 0.1 MB in an exported file instead of 67. A prime N has P = 1 and becomes the plain DFT matrix.

The inverse is the transpose of the same steps. A real signal has X[N - k] = conj(X[k]), so
x[n] = 1/N sum_k c_k Re(X[k] exp(2 pi i n k / N)) over k = 0 .. N/2, with c_k = 1 for k = 0 and k = N/2 and 2
otherwise; and this is the transposed forward map, applied to the pair (c Re X, c Im X) / N.

Reference: J. W. Cooley and J. W. Tukey, "An algorithm for the machine calculation of complex Fourier series",
1965.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from audio_io.tracing import sizes


def dft_tables(n_fft: int, *, ortho: bool = False) -> dict[str, Tensor]:
    """Cosines and sines for `real_rfft` and `real_irfft`.

    Args:
        n_fft: Samples per frame, N.
        ortho: Whether the transform is scaled by N ** -0.5, which is put into the tables.

    Returns:
        Tables in float64, by name.
    """
    p = max(divisor for divisor in range(1, math.isqrt(n_fft) + 1) if n_fft % divisor == 0)
    q = n_fft // p
    first, twiddle, second = _angles(p, p, p), _angles(p, q, n_fft), _angles(q, q // 2 + 1, q)
    scale = n_fft**-0.5 if ortho else 1.0
    weight = torch.full((n_fft // 2 + 1,), 2.0, dtype=torch.float64, device="cpu")
    weight[0] = 1
    if n_fft % 2 == 0:
        weight[-1] = 1
    return {
        "first_cos": first.cos() * scale,  # [P, P], p to r
        "first_sin": first.sin() * scale,
        "twiddle_cos": twiddle.cos(),  # [P, Q], r and q
        "twiddle_sin": twiddle.sin(),
        "second_cos": second.cos(),  # [Q, S], q to s; S = Q // 2 + 1 values of s reach k = N / 2
        "second_sin": second.sin(),
        "weight": weight / (n_fft * scale**2),  # [F]
    }


def _angles(n_in: int, n_out: int, period: int) -> Tensor:
    # The product is reduced as an integer: no accuracy is lost to cosines of large angles.
    turns = torch.outer(torch.arange(n_in, device="cpu"), torch.arange(n_out, device="cpu")) % period
    return 2 * math.pi * turns.double() / period


def real_rfft(frames: Tensor, tables: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The real and the imaginary part of the one-sided spectrum of each frame.

    Args:
        frames: Real frames.
        tables: From `dft_tables`, in the type of `frames`.

    Shape:
        Input: [..., N]
        Output: two of [..., F] with F = floor(N / 2) + 1
    """
    p, q = sizes(tables["twiddle_cos"])
    columns = torch.unflatten(frames, -1, (p, q)).transpose(-1, -2)  # [..., Q, P]
    real = (columns @ tables["first_cos"]).transpose(-1, -2)  # [..., P, Q]
    minus_imag = (columns @ tables["first_sin"]).transpose(-1, -2)
    real, minus_imag = (
        real * tables["twiddle_cos"] - minus_imag * tables["twiddle_sin"],
        real * tables["twiddle_sin"] + minus_imag * tables["twiddle_cos"],
    )
    real, imag = (
        real @ tables["second_cos"] - minus_imag @ tables["second_sin"],  # [..., P, S]
        -(real @ tables["second_sin"]) - minus_imag @ tables["second_cos"],
    )
    n_bins = p * q // 2 + 1
    # k = r + P s: r is the digit that runs faster.
    return real.transpose(-1, -2).flatten(-2)[..., :n_bins], imag.transpose(-1, -2).flatten(-2)[..., :n_bins]


def real_irfft(real: Tensor, imag: Tensor, tables: dict[str, Tensor]) -> Tensor:
    """The real frames of one-sided spectra.

    Args:
        real: Real part.
        imag: Imaginary part; at k = 0 and k = N / 2 it has no effect, as for every inverse of a real
            transform.
        tables: From `dft_tables`, in the type of `real`.

    Shape:
        Input: two of [..., F]
        Output: [..., N]
    """
    real, imag = _by_digits(real, tables), _by_digits(imag, tables)  # [..., P, S]
    cos, sin = tables["second_cos"].T, tables["second_sin"].T
    real, imag = real @ cos - imag @ sin, real @ sin + imag @ cos  # [..., P, Q]
    cos, sin = tables["twiddle_cos"], tables["twiddle_sin"]
    real, imag = real * cos - imag * sin, real * sin + imag * cos
    cos, sin = tables["first_cos"].T, tables["first_sin"].T
    columns = real.transpose(-1, -2) @ cos - imag.transpose(-1, -2) @ sin  # [..., Q, P]
    return columns.transpose(-1, -2).flatten(-2)  # [..., N]


def _by_digits(part: Tensor, tables: dict[str, Tensor]) -> Tensor:
    # [..., F] -> [..., P, S]: weighted, and zeros for the frequencies above N / 2 that fill the last row.
    p, s = sizes(tables["first_cos"])[0], sizes(tables["second_cos"])[1]
    weighted = F.pad(part * tables["weight"], (0, p * s - sizes(part)[-1]))
    return torch.unflatten(weighted, -1, (s, p)).transpose(-1, -2)
