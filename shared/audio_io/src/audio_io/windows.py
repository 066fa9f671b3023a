"""Analysis windows as closed forms, and where a short window sits inside a longer frame.

All windows here are sums of a few cosines, `w[n] = sum_k (-1)^k a_k cos(2 pi k n / N)`. Dividing by N
(periodic, what an STFT needs: shifted copies then add up to a constant) or by N - 1 (symmetric, for filter
design) is the only difference between the two conventions; librosa calls the first `fftbins=True`.

Reference: F. J. Harris, "On the use of windows for harmonic analysis with the discrete Fourier transform",
1978.
"""

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from audio_io.errors import ConfigError

WindowName = Literal["hann", "hamming", "blackman", "boxcar"]
Window: TypeAlias = WindowName | Tensor

_COSINE_TERMS: dict[str, tuple[float, ...]] = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "boxcar": (1.0,),
}


def make_window(
    name: WindowName, length: int, *, periodic: bool = True, dtype: torch.dtype = torch.float64
) -> Tensor:
    """A window by its SciPy name.

    Args:
        name: One of hann, hamming, blackman, boxcar.
        length: Number of samples, at least 1.
        periodic: Whether the window continues with `w[length] = w[0]` (for STFT) or ends where it began.
        dtype: Type of the result; the values are computed in float64 and rounded once.

    Returns:
        The window.

    Raises:
        ConfigError: For an unknown name or a length below 1.

    Shape:
        Output: [length]

    >>> make_window("hann", 4).round(decimals=9).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    if name not in _COSINE_TERMS:
        raise ConfigError("window", repr(name), f"one of {', '.join(get_args(WindowName))}, or a tensor")
    if length < 1:
        raise ConfigError("win_length", length, "at least 1 sample")
    if length == 1:
        return torch.ones(1, dtype=dtype, device="cpu")
    phase = (
        2
        * math.pi
        * torch.arange(length, dtype=torch.float64, device="cpu")
        / (length if periodic else length - 1)
    )
    window = torch.zeros(length, dtype=torch.float64, device="cpu")
    for k, coefficient in enumerate(_COSINE_TERMS[name]):
        window += (-1) ** k * coefficient * torch.cos(k * phase)
    return window.to(dtype)


def frame_window(window: Window, win_length: int, n_fft: int) -> Tensor:
    """The window as it multiplies a frame: `win_length` samples in the middle of `n_fft`, zeros around.

    With an odd remainder the extra zero goes to the right, as in librosa and torch.

    Args:
        window: A name (periodic window, float64), or a tensor of `win_length` samples, which keeps its
            gradient.
        win_length: Samples of the window, 1 to `n_fft`.
        n_fft: Samples of the frame.

    Returns:
        The padded window.

    Raises:
        ConfigError: If a tensor has another shape than `[win_length]`, or the name is unknown.

    Shape:
        Output: [n_fft]

    >>> frame_window("boxcar", 2, 5).tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0]
    """
    if isinstance(window, str):
        values = make_window(window, win_length)
    elif window.shape == (win_length,):
        values = window
    else:
        raise ConfigError(
            "window", f"a tensor of shape {list(window.shape)}", f"shape [{win_length}] (win_length)"
        )
    left = (n_fft - win_length) // 2
    return F.pad(values, (left, n_fft - win_length - left))
