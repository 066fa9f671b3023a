"""STFT and inverse in real arithmetic: the same numbers as `stft`, with no complex tensor anywhere.

ONNX runtimes and Core ML have no complex type. Here a spectrum is a pair (real, imaginary), the Fourier
transform is the pair of matrix products in `audio_io.realdft`, and frames are cut and joined by padding and
reshaping alone. The modules can be captured by `torch.export`, `torch.onnx.export` and `torch.jit.trace`, and
converted by coremltools.
"""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from audio_io.conventions import PadMode, StftSettings
from audio_io.realdft import dft_tables, real_irfft, real_rfft
from audio_io.tables import TableModule
from audio_io.tracing import sizes
from audio_io.windows import Window


def real_stft(
    x: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    *,
    window: Window = "hann",
    center: bool = True,
    pad_mode: PadMode = "constant",
    normalized: bool = False,
) -> tuple[Tensor, Tensor]:
    """The real and the imaginary part of `stft` with the same arguments, computed without complex numbers.

    Args:
        x: Signal.
        n_fft: Samples per frame; fast when it has two factors of similar size, as powers of two have.
        hop_length: See `stft`.
        win_length: See `stft`.
        window: See `stft`.
        center: See `stft`.
        pad_mode: See `stft`.
        normalized: See `stft`.

    Returns:
        Real part and imaginary part.

    Raises:
        ConfigError: If a setting is out of range or the signal too short.

    Shape:
        Input: [..., T]
        Output: two of [..., F, K], as `stft`
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
    tables = {name: table.to(x) for name, table in _tables(settings).items()}
    return _real_stft(x, settings, tables)


def real_istft(
    real: Tensor,
    imag: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    *,
    window: Window = "hann",
    center: bool = True,
    normalized: bool = False,
    length: int | None = None,
) -> Tensor:
    """`istft` of `real + i imag` with the same arguments, computed without complex numbers.

    Args:
        real: Real part of the one-sided spectrum.
        imag: Imaginary part; that of frequency 0 (and n_fft / 2) has no effect.
        n_fft: See `real_stft`.
        hop_length: See `stft`.
        win_length: See `stft`.
        window: See `stft`.
        center: See `stft`.
        normalized: See `stft`.
        length: Samples of the result; what the frames cover if None.

    Returns:
        Real signal.

    Raises:
        ConfigError: If a setting is out of range, or windows at this hop leave gaps.

    Shape:
        Input: two of [..., F, K]
        Output: [..., length], as `istft`
    """
    settings = StftSettings.resolve(
        n_fft, hop_length, win_length, window=window, center=center, normalized=normalized
    )
    settings.check_invertible()
    tables = {name: table.to(real) for name, table in _tables(settings).items()}
    return _real_istft(real, imag, settings, tables, length)


class RealSTFT(TableModule):
    """Module twin of `real_stft`, with its tables as buffers; the arguments and shapes are the same.

    For Core ML, the input may have up to two dimensions before the time.
    """

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
        return _tables(self.settings)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The real and the imaginary part of the spectrum of `x`."""
        self._check_precision("x", x)
        return _real_stft(x, self.settings, self._buffers_by_name())


class RealISTFT(TableModule):
    """Module twin of `real_istft`, with its tables as buffers; the arguments and shapes are the same.

    The length belongs to the constructor, because an exported graph takes nothing but tensors.
    """

    def __init__(
        self,
        n_fft: int,
        hop_length: int | None = None,
        win_length: int | None = None,
        *,
        window: Window = "hann",
        center: bool = True,
        normalized: bool = False,
        length: int | None = None,
    ) -> None:
        super().__init__()
        self.settings = StftSettings.resolve(
            n_fft, hop_length, win_length, window=window, center=center, normalized=normalized
        )
        self.settings.check_invertible()
        self.length = length
        self._build_tables()

    def _tables(self) -> dict[str, Tensor]:
        return _tables(self.settings)

    def forward(self, real: Tensor, imag: Tensor) -> Tensor:
        """The signal of the spectrum `real + i imag`."""
        self._check_precision("real", real)
        return _real_istft(real, imag, self.settings, self._buffers_by_name(), self.length)


def _tables(settings: StftSettings) -> dict[str, Tensor]:
    return {"window": settings.frame_window()} | dft_tables(settings.n_fft, ortho=settings.normalized)


def _real_stft(x: Tensor, settings: StftSettings, tables: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    frames = _frame(settings.pad(x), settings.n_fft, settings.hop_length)  # [..., K, n_fft]
    real, imag = real_rfft(frames * tables["window"], tables)  # [..., K, F]
    return real.transpose(-1, -2), imag.transpose(-1, -2)  # [..., F, K]


def _real_istft(
    real: Tensor, imag: Tensor, settings: StftSettings, tables: dict[str, Tensor], length: int | None
) -> Tensor:
    settings.check_bins(sizes(real)[-2])
    frames = real_irfft(real.transpose(-1, -2), imag.transpose(-1, -2), tables)  # [..., K, n_fft]
    return settings.join(frames, tables["window"], length)


def _frame(x: Tensor, frame_length: int, hop_length: int) -> Tensor:
    """`audio_io.frames.frame` without strided views, which coremltools cannot convert.

    The transpose of `overlap_add`: block r of frame k is block k + r of the signal. The signal's M blocks,
    repeated R times and read as rows of M + 1, give row r starting with block r.
    """
    *lead, length = sizes(x)
    n_frames = 1 + (length - frame_length) // hop_length
    n_blocks = -(-frame_length // hop_length)
    width = n_frames + n_blocks - 1
    x = F.pad(x, (0, n_blocks * hop_length))[..., : width * hop_length]
    rows = x.reshape(*lead, 1, width, hop_length).expand(
        *lead, n_blocks, width, hop_length
    )  # [..., R, M, hop]
    rows = F.pad(rows.reshape(*lead, n_blocks * width, hop_length), (0, 0, 0, n_blocks))
    rows = rows.reshape(*lead, n_blocks, width + 1, hop_length)[..., :n_frames, :]  # [..., R, K, hop]
    frames = rows.transpose(-3, -2).reshape(*lead, n_frames, n_blocks * hop_length)
    return frames[..., :frame_length]
