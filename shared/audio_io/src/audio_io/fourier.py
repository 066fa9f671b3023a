"""Short-time Fourier transform and its inverse, with the conventions of librosa and torch named one by one.

The transform of frame k is `X[f, k] = sum_n w[n] x[n + k hop - p] exp(-2 pi i f n / n_fft)`; with `center`
the signal is padded by p = floor(n_fft / 2) on both sides, so that frame k is centred on sample k hop,
otherwise p = 0.

The inverse is the least-squares one: each frame is transformed back, windowed again, added up and divided by
the sum of the squared windows. It returns x exactly wherever that sum is not zero, whichever the window.

The defaults of the three libraries::

                     librosa                torch.stft        here
    hop_length       win_length // 4        n_fft // 4        win_length // 4
    window           "hann"                 ones              "hann"
    pad_mode         "constant" (zeros)     "reflect"         "constant"
    its names        constant reflect edge  ... replicate     as librosa

`audio_io.realstft` has the same functions without complex numbers, for exporting.

Reference:
    D. Griffin and J. Lim, "Signal estimation from modified short-time Fourier transform", 1984, equation 6.
"""

import torch
from torch import Tensor

from audio_io.conventions import PadMode, StftSettings
from audio_io.errors import ConfigError
from audio_io.frames import frame
from audio_io.tables import TableModule
from audio_io.windows import Window


def stft(
    x: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    *,
    window: Window = "hann",
    center: bool = True,
    pad_mode: PadMode = "constant",
    normalized: bool = False,
) -> Tensor:
    """The one-sided spectrum of each frame of a real signal.

    Args:
        x: Signal.
        n_fft: Samples per frame, even or odd.
        hop_length: Samples from frame to frame; a quarter of `win_length` if None.
        win_length: Samples of the window, centred in the frame; `n_fft` if None.
        window: hann, hamming, blackman, boxcar (periodic), or a tensor of `win_length` samples.
        center: Whether to pad the signal so that frame k is centred on sample `k * hop_length`.
        pad_mode: With what to pad: constant (zeros), reflect, or edge.
        normalized: Whether to scale by `n_fft ** -0.5`, which makes the DFT of each frame orthonormal.

    Returns:
        Complex spectrum.

    Raises:
        ConfigError: If a setting is out of range or the signal too short.

    Shape:
        Input: [..., T]
        Output: [..., F, K] with F = floor(n_fft / 2) + 1 and K = 1 + floor((T + 2 p - n_fft) / hop_length),
            p = floor(n_fft / 2) with `center`, 0 without

    Reference: librosa.stft, torch.stft.

    >>> stft(torch.ones(8), n_fft=4, hop_length=2, window="boxcar").shape
    torch.Size([3, 5])
    """
    settings = StftSettings.resolve(
        n_fft,
        hop_length,
        win_length,
        window=window,
        center=center,
        pad_mode=pad_mode,
        normalized=normalized,
    )
    return _stft(x, settings, settings.frame_window().to(x))


def istft(
    spectrum: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    *,
    window: Window = "hann",
    center: bool = True,
    normalized: bool = False,
    length: int | None = None,
) -> Tensor:
    """The signal whose `stft` with the same settings is closest to the spectrum.

    Samples that no window reaches (a few at the ends without `center`, or beyond the last frame) are 0.

    Args:
        spectrum: Complex one-sided spectrum.
        n_fft: Samples per frame.
        hop_length: See `stft`.
        win_length: See `stft`.
        window: See `stft`.
        center: See `stft`.
        normalized: See `stft`.
        length: Samples of the result, at least 1; what the frames cover if None.

    Returns:
        Real signal.

    Raises:
        ConfigError: If a setting is out of range, or windows at this hop leave gaps.

    Shape:
        Input: [..., F, K] with F = floor(n_fft / 2) + 1
        Output: [..., length], by default [..., (K - 1) * hop_length + n_fft - 2 p]

    Reference: librosa.istft, torch.istft.
    """
    settings = StftSettings.resolve(
        n_fft, hop_length, win_length, window=window, center=center, normalized=normalized
    )
    settings.check_invertible()
    return _istft(spectrum, settings, settings.frame_window().to(spectrum.real), length)


class STFT(TableModule):
    """Module twin of `stft`, with the window as a buffer; the arguments and shapes are the same."""

    window: Tensor

    def __init__(
        self,
        n_fft: int,
        hop_length: int | None = None,
        win_length: int | None = None,
        *,
        window: Window = "hann",
        center: bool = True,
        pad_mode: PadMode = "constant",
        normalized: bool = False,
    ) -> None:
        super().__init__()
        self.settings = StftSettings.resolve(
            n_fft,
            hop_length,
            win_length,
            window=window,
            center=center,
            pad_mode=pad_mode,
            normalized=normalized,
        )
        self._build_tables()

    def _tables(self) -> dict[str, Tensor]:
        return {"window": self.settings.frame_window()}

    def forward(self, x: Tensor) -> Tensor:
        """The complex spectrum of `x`."""
        self._check_precision("x", x)
        return _stft(x, self.settings, self.window)


class ISTFT(TableModule):
    """Module twin of `istft`, with the window as a buffer; the arguments and shapes are the same."""

    window: Tensor

    def __init__(
        self,
        n_fft: int,
        hop_length: int | None = None,
        win_length: int | None = None,
        *,
        window: Window = "hann",
        center: bool = True,
        normalized: bool = False,
    ) -> None:
        super().__init__()
        self.settings = StftSettings.resolve(
            n_fft, hop_length, win_length, window=window, center=center, normalized=normalized
        )
        self.settings.check_invertible()
        self._build_tables()

    def _tables(self) -> dict[str, Tensor]:
        return {"window": self.settings.frame_window()}

    def forward(self, spectrum: Tensor, length: int | None = None) -> Tensor:
        """The signal of `spectrum`, cut or continued to `length` samples."""
        self._check_precision("spectrum", spectrum)
        return _istft(spectrum, self.settings, self.window, length)


def _stft(x: Tensor, settings: StftSettings, window: Tensor) -> Tensor:
    frames = frame(settings.pad(x), settings.n_fft, settings.hop_length)  # [..., K, n_fft]
    norm = "ortho" if settings.normalized else "backward"
    spectrum = rfft(frames * window, norm)  # [..., K, F]
    return spectrum.transpose(-1, -2)  # [..., F, K]


def _istft(spectrum: Tensor, settings: StftSettings, window: Tensor, length: int | None) -> Tensor:
    settings.check_bins(spectrum.shape[-2])
    _check_precision("spectrum", spectrum, settings.n_fft)
    norm = "ortho" if settings.normalized else "backward"
    spectrum = spectrum.transpose(-1, -2)  # [..., K, F]
    if spectrum.numel() == 0:  # see rfft
        frames = spectrum.real.new_zeros((*spectrum.shape[:-1], settings.n_fft))
    else:
        frames = torch.fft.irfft(spectrum, n=settings.n_fft, norm=norm)  # [..., K, n_fft]
    return settings.join(frames, window, length)


def rfft(frames: Tensor, norm: str = "backward") -> Tensor:
    """`torch.fft.rfft`, for empty batches too, which its CPU backend (MKL) refuses.

    Raises:
        ConfigError: If the transform does not exist in the precision of the frames.

    Shape:
        Input: [..., N]
        Output: [..., F] with F = floor(N / 2) + 1
    """
    _check_precision("x", frames, frames.shape[-1])
    if frames.numel() == 0:
        shape = (*frames.shape[:-1], frames.shape[-1] // 2 + 1)
        return frames.new_zeros(shape, dtype=frames.dtype.to_complex())
    spectrum: Tensor = torch.fft.rfft(frames, norm=norm)
    return spectrum


def _check_precision(name: str, x: Tensor, n_fft: int) -> None:
    """Refuse what no Fourier transform of torch takes: half precision, but for powers of two on GPUs."""
    if x.dtype in {torch.float32, torch.float64, torch.complex64, torch.complex128}:
        return
    is_on_gpu = x.device.type == "cuda" and x.dtype in {torch.float16, torch.complex32}
    if not is_on_gpu or n_fft & (n_fft - 1):
        found = f"{x.dtype} on {x.device.type}"
        raise ConfigError(
            name, found, "float32 or float64; audio_io.realstft has a transform in half precision"
        )
