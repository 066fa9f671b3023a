"""Mel scale, triangular filters, and a mel spectrogram that is fast on CPUs.

Two mel scales are in use. HTK's is one formula, `mel = 2595 log10(1 + f / 700)`. Slaney's (librosa's default)
is linear below 1000 Hz, 3 mel per 200 Hz, and logarithmic above, 27 mel per factor of 6.4. Filter m rises
linearly (in Hz) from the centre of filter m - 1 to its own, and falls to that of filter m + 1. With
`norm="slaney"` each triangle has the area 1 (in Hz), without it the height 1.

Reference: M. Slaney, "Auditory Toolbox", 1998, `mfcc`; S. Young et al., "The HTK Book", equation 5.13;
librosa.filters.mel.
"""

import functools
import math
import warnings
from typing import Literal

import torch
from torch import Tensor

from audio_io.conventions import PadMode, StftSettings
from audio_io.errors import ConfigError
from audio_io.fourier import rfft
from audio_io.frames import frame
from audio_io.tables import TableModule
from audio_io.windows import Window

MelNorm = Literal["slaney"] | None

_HTK_FACTOR, _HTK_CORNER = 2595.0, 700.0
_SLANEY_STEP = 200.0 / 3  # Hz per mel below the corner
_SLANEY_CORNER = 1000.0
_SLANEY_LOG_STEP = math.log(6.4) / 27

# Samples of all frames that a CPU transforms at a time: 2 MB, so that the spectra are still in the
# cache when they are squared and multiplied, and memory stays bounded whatever the length.
_CHUNK_SAMPLES = 2**19
# A filter is narrow: eight groups of filters, each multiplied by the few frequencies that it covers, take an
# eighth of the products of the full matrix.
_GROUPS = 8


def hz_to_mel(frequency: Tensor | float, *, htk: bool = False) -> Tensor:
    """Mel of frequencies.

    Args:
        frequency: In Hz, from 0; a number counts as float64.
        htk: Whether to use HTK's formula instead of Slaney's.

    Shape:
        Input: [...]
        Output: [...]

    >>> round(hz_to_mel(1000.0).item(), 9)
    15.0
    """
    hz = (
        frequency
        if isinstance(frequency, Tensor)
        else torch.tensor(frequency, dtype=torch.float64, device="cpu")
    )
    if htk:
        return _HTK_FACTOR * torch.log10(1 + hz / _HTK_CORNER)
    above = torch.log(hz.clamp(min=_SLANEY_CORNER) / _SLANEY_CORNER) / _SLANEY_LOG_STEP
    return torch.where(hz < _SLANEY_CORNER, hz / _SLANEY_STEP, _SLANEY_CORNER / _SLANEY_STEP + above)


def mel_to_hz(mel: Tensor | float, *, htk: bool = False) -> Tensor:
    """Frequencies in Hz of mels; the inverse of `hz_to_mel`.

    Args:
        mel: From 0; a number counts as float64.
        htk: Whether to use HTK's formula instead of Slaney's.

    Shape:
        Input: [...]
        Output: [...]

    >>> round(mel_to_hz(15.0).item(), 9)
    1000.0
    """
    mels = mel if isinstance(mel, Tensor) else torch.tensor(mel, dtype=torch.float64, device="cpu")
    if htk:
        return _HTK_CORNER * (10 ** (mels / _HTK_FACTOR) - 1)
    corner = _SLANEY_CORNER / _SLANEY_STEP
    above = _SLANEY_CORNER * torch.exp(_SLANEY_LOG_STEP * (mels.clamp(min=corner) - corner))
    return torch.where(mels < corner, mels * _SLANEY_STEP, above)


def mel_filters(
    sample_rate: float,
    n_fft: int,
    n_mels: int = 128,
    *,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: MelNorm = "slaney",
) -> Tensor:
    """The weight of each frequency of a spectrum in each mel band, in float64.

    A filter so narrow that it falls between two frequencies is all zeros; a warning says how many there are.

    Args:
        sample_rate: In Hz.
        n_fft: Samples per frame.
        n_mels: Number of bands, at least 1.
        fmin: Lower edge of the lowest band in Hz, at least 0.
        fmax: Upper edge of the highest band in Hz, at most half the sample rate; that half if None.
        htk: Whether to use HTK's mel scale instead of Slaney's.
        norm: slaney (unit area) or None (unit height).

    Raises:
        ConfigError: If a value is out of range.

    Shape:
        Output: [n_mels, F] with F = floor(n_fft / 2) + 1

    Reference: librosa.filters.mel, equal to 1e-10.
    """
    fmax = sample_rate / 2 if fmax is None else fmax
    if n_mels < 1:
        raise ConfigError("n_mels", n_mels, "at least 1")
    if not 0 <= fmin < fmax <= sample_rate / 2:
        raise ConfigError(
            "fmin, fmax", f"{fmin:g}, {fmax:g} Hz", f"0 <= fmin < fmax <= {sample_rate / 2:g} Hz"
        )
    if norm not in ("slaney", None):
        raise ConfigError("norm", repr(norm), "'slaney' or None")
    low, high = hz_to_mel(fmin, htk=htk).item(), hz_to_mel(fmax, htk=htk).item()
    edges = mel_to_hz(
        torch.linspace(low, high, n_mels + 2, dtype=torch.float64, device="cpu"), htk=htk
    )  # [M + 2]
    frequencies = torch.arange(n_fft // 2 + 1, dtype=torch.float64, device="cpu") * (
        sample_rate / n_fft
    )  # [F]
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]  # [M, 1]
    rising = (frequencies - left) / (centre - left)  # [M, F]
    falling = (right - frequencies) / (right - centre)
    filters = torch.minimum(rising, falling).clamp(min=0)
    n_empty = int((filters.amax(dim=1) == 0).sum())
    if n_empty:
        message = f"{n_empty} of {n_mels} mel filters are empty: use a larger n_fft ({n_fft}) or fewer bands"
        warnings.warn(message, stacklevel=2)
    return filters * (2 / (right - left)) if norm == "slaney" else filters


def melspectrogram(
    x: Tensor,
    sample_rate: float,
    *,
    n_fft: int = 2048,
    hop_length: int = 512,
    win_length: int | None = None,
    window: Window = "hann",
    center: bool = True,
    pad_mode: PadMode = "constant",
    power: float = 2.0,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: MelNorm = "slaney",
) -> Tensor:
    """The mel bands of the magnitudes of a signal's STFT; defaults as in librosa.

    Args:
        x: Signal.
        sample_rate: In Hz.
        n_fft: Samples per frame.
        hop_length: Samples from frame to frame.
        win_length: See `audio_io.fourier.stft`.
        window: See `audio_io.fourier.stft`.
        center: See `audio_io.fourier.stft`.
        pad_mode: See `audio_io.fourier.stft`.
        power: Exponent of the magnitude, above 0: 1 for magnitudes, 2 for power.
        n_mels: See `mel_filters`.
        fmin: See `mel_filters`.
        fmax: See `mel_filters`.
        htk: See `mel_filters`.
        norm: See `mel_filters`.

    Returns:
        Mel spectrogram, linear (see `audio_io.decibels` for dB).

    Raises:
        ConfigError: If a setting is out of range or the signal too short.

    Shape:
        Input: [..., T]
        Output: [..., n_mels, K] with K as in `audio_io.fourier.stft`

    Reference: librosa.feature.melspectrogram.

    >>> melspectrogram(torch.zeros(2, 22050), 22050).shape
    torch.Size([2, 128, 44])
    """
    settings = StftSettings.resolve(
        n_fft, hop_length, win_length, window=window, center=center, pad_mode=pad_mode
    )
    exact_bands = _bands(sample_rate, n_fft, n_mels, fmin, fmax, htk, norm, power)
    bands = [(low, table.to(x)) for low, table in exact_bands]
    return _melspectrogram(x, settings, settings.frame_window().to(x), bands, power)


class MelSpectrogram(TableModule):
    """Module twin of `melspectrogram`, with its tables as buffers; the arguments and shapes are the same."""

    window: Tensor

    def __init__(
        self,
        sample_rate: float,
        *,
        n_fft: int = 2048,
        hop_length: int = 512,
        win_length: int | None = None,
        window: Window = "hann",
        center: bool = True,
        pad_mode: PadMode = "constant",
        power: float = 2.0,
        n_mels: int = 128,
        fmin: float = 0.0,
        fmax: float | None = None,
        htk: bool = False,
        norm: MelNorm = "slaney",
    ) -> None:
        super().__init__()
        self.settings = StftSettings.resolve(
            n_fft, hop_length, win_length, window=window, center=center, pad_mode=pad_mode
        )
        self.power = power
        self._exact_bands = _bands(sample_rate, n_fft, n_mels, fmin, fmax, htk, norm, power)
        self._build_tables()

    def _tables(self) -> dict[str, Tensor]:
        bands = {f"band_{i}": table for i, (_, table) in enumerate(self._exact_bands)}
        return {"window": self.settings.frame_window()} | bands

    def forward(self, x: Tensor) -> Tensor:
        """The mel spectrogram of `x`."""
        self._check_precision("x", x)
        bands = [(low, self.get_buffer(f"band_{i}")) for i, (low, _) in enumerate(self._exact_bands)]
        return _melspectrogram(x, self.settings, self.window, bands, self.power)


@functools.lru_cache(maxsize=16)
def _bands(
    sample_rate: float,
    n_fft: int,
    n_mels: int,
    fmin: float,
    fmax: float | None,
    htk: bool,
    norm: MelNorm,
    power: float,
) -> list[tuple[int, Tensor]]:
    """Groups of neighbouring filters: the first column each group needs, and its weights from there on."""
    if not power > 0:
        raise ConfigError("power", power, "above 0")
    # Kept from call to call, so it must not become a tensor that only inference mode can use.
    with torch.inference_mode(False):
        filters = mel_filters(sample_rate, n_fft, n_mels, fmin=fmin, fmax=fmax, htk=htk, norm=norm)
        if power == 2:
            filters = filters.repeat_interleave(2, dim=1)  # [M, 2 F], see _magnitudes
        bands = []
        for group in filters.chunk(_GROUPS):
            columns = group.any(dim=0).nonzero().flatten()
            low, high = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 1)
            bands.append((low, group[:, low:high].clone()))
    return bands


def _magnitudes(spectrum: Tensor, power: float) -> Tensor:
    if power == 2:
        # Real and imaginary squares stay side by side: the filters, each weight twice, add them up on the
        # way.
        return torch.view_as_real(spectrum).flatten(-2).square()  # [..., 2 F]
    return spectrum.abs() if power == 1 else spectrum.abs().pow(power)  # [..., F]


def _melspectrogram(
    x: Tensor, settings: StftSettings, window: Tensor, bands: list[tuple[int, Tensor]], power: float
) -> Tensor:
    lead = x.shape[:-1]
    frames = frame(
        settings.pad(x.unsqueeze(0).flatten(0, -2)), settings.n_fft, settings.hop_length
    )  # [B, K, n_fft]
    n_rows, n_frames = frames.shape[:2]
    on_cpu = x.device.type == "cpu"
    chunk = max(_CHUNK_SAMPLES // settings.n_fft, 1)
    step = chunk if on_cpu else max(n_rows, 1) * n_frames
    rows = []
    for row in torch.split(frames, max(step // n_frames, 1)):
        chunks = [_mel_of_frames(part * window, bands, power) for part in torch.split(row, step, dim=1)]
        rows.append(torch.cat(chunks, dim=-1))  # [b, M, K]
    mel = torch.cat(rows)  # [B, M, K]
    return mel.reshape(*lead, *mel.shape[1:])


def _mel_of_frames(frames: Tensor, bands: list[tuple[int, Tensor]], power: float) -> Tensor:
    n_rows, n_frames = frames.shape[:2]
    magnitudes = _magnitudes(rfft(frames), power).flatten(0, 1)  # [b * k, 2 F or F]
    mel = torch.cat(
        [table @ magnitudes[:, low : low + table.shape[1]].T for low, table in bands]
    )  # [M, b * k]
    return torch.unflatten(mel, -1, (n_rows, n_frames)).transpose(0, 1)  # [b, M, k]
