"""torch.stft, torch.istft and torch.fft in real arithmetic.

Framing is slices and a concatenation, the transform is the pair of small matrix products of
`audio_io.realdft`, and the squared-window normalisation of the inverse is a constant. Windows and tables are
computed in float64 while the model runs for the first time and become named constants of the graph.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from audio_io.frames import overlap_add
from audio_io.realdft import dft_tables, real_irfft, real_rfft
from separation_coreml.realize.complex_ops import join, operation
from separation_coreml.realize.constants import constant
from separation_coreml.realize.values import Pair, UnsupportedComplexError, Value

# Every constant of a transform has this in its name: they are kept in full precision whatever is asked of the
# weights.
PREFIX = "dft_"


@operation("stft")
def _stft(
    x: Value,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,  # noqa: ARG001 - it concerns uncentred frames of a longer n_fft only
) -> Value:
    if isinstance(x, Pair):
        settings = (n_fft, hop_length, win_length, window, center, pad_mode, normalized, False, True)
        return _stft(x.re, *settings) + _stft(x.im, *settings) * 1j
    hop_length = hop_length or n_fft // 4
    rows = x.reshape(1, -1) if x.dim() == 1 else x
    if center:
        rows = F.pad(rows, (n_fft // 2, n_fft // 2), mode=pad_mode)
    frames = frame(rows, n_fft, hop_length) * _window(window, n_fft, win_length, rows.dtype)
    re, im = _real_rfft(frames, normalized)
    spectrum: Value = Pair(re, im) if onesided is None or onesided else _two_sided(re, im, n_fft)
    spectrum = spectrum.transpose(-1, -2)
    spectrum = spectrum[0] if x.dim() == 1 else spectrum
    return spectrum if return_complex is None or return_complex else torch.view_as_real(spectrum)


@operation("istft")
def _istft(
    spectrum: Value,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Value:
    if return_complex:
        raise UnsupportedComplexError("torch.istft with return_complex=True")
    hop_length = hop_length or n_fft // 4
    n_frames = spectrum.shape[-1]
    if onesided is False:
        # torch ignores the upper half too.
        spectrum = spectrum[..., : n_fft // 2 + 1, :]
    dtype = spectrum.re.dtype
    re, im = spectrum.re.transpose(-1, -2), spectrum.im.transpose(-1, -2)
    frames = real_irfft(re, im, _tables(n_fft, normalized, dtype)) * _window(window, n_fft, win_length, dtype)
    signal = overlap_add(frames, hop_length)
    start = n_fft // 2 if center else 0
    total = n_fft + hop_length * (n_frames - 1)
    stop = start + length if length is not None else total - start
    kept = slice(start, min(stop, total))

    def normalisation() -> Tensor:
        squares = _full_window(window, n_fft, win_length).square().expand(n_frames, n_fft)
        return overlap_add(squares, hop_length)[kept].reciprocal().to(dtype)

    signal = signal[..., kept] * constant(f"{PREFIX}normalisation", normalisation)
    return F.pad(signal, (0, stop - total)) if stop > total else signal


def frame(x: Tensor, frame_length: int, hop_length: int) -> Tensor:
    """Overlapping frames of a signal by slices and one concatenation.

    A frame is R = ceil(frame_length / hop_length) blocks of one hop; block r of all frames is one slice of
    the signal's blocks.

    Args:
        x: Signal.
        frame_length: Samples per frame.
        hop_length: Samples between the starts of neighbouring frames.

    Shape:
        Input: [..., T]
        Output: [..., K, frame_length] with K = 1 + floor((T - frame_length) / hop_length)
    """
    lead, length = tuple(x.shape[:-1]), x.shape[-1]
    n_frames = 1 + (length - frame_length) // hop_length
    n_blocks = -(-frame_length // hop_length)
    covered = (n_frames + n_blocks - 1) * hop_length
    x = F.pad(x, (0, covered - length)) if covered > length else x[..., :covered]
    blocks = x.reshape(*lead, n_frames + n_blocks - 1, hop_length)
    frames = torch.cat([blocks[..., r : r + n_frames, :] for r in range(n_blocks)], dim=-1)
    return frames[..., :frame_length]


def _full_window(window: Tensor | None, n_fft: int, win_length: int | None) -> Tensor:
    # As torch does: ones if there is none, in the middle of the frame if shorter than it.
    values = torch.ones(win_length or n_fft) if window is None else window.detach()
    left = (n_fft - len(values)) // 2
    return F.pad(values.double(), (left, n_fft - len(values) - left))


def _window(window: Tensor | None, n_fft: int, win_length: int | None, dtype: torch.dtype) -> Tensor:
    return constant(f"{PREFIX}window", lambda: _full_window(window, n_fft, win_length).to(dtype))


def _tables(n_fft: int, ortho: bool, dtype: torch.dtype) -> dict[str, Tensor]:
    names = (
        "first_cos",
        "first_sin",
        "twiddle_cos",
        "twiddle_sin",
        "second_cos",
        "second_sin",
        "weight",
    )

    def table(name: str) -> Callable[[], Tensor]:
        return lambda: dft_tables(n_fft, ortho=ortho)[name].to(dtype)

    return {name: constant(f"{PREFIX}{name}", table(name)) for name in names}


def _real_rfft(x: Tensor, ortho: bool = False) -> tuple[Tensor, Tensor]:
    n = x.shape[-1]
    re, im = real_rfft(x, _tables(n, ortho, x.dtype))

    def edges() -> Tensor:
        bins = torch.arange(n // 2 + 1)
        return (bins == 0) | (2 * bins == n)

    # Exactly +0 there, as torch has it: an angle of pi must not become -pi by a rounding error.
    return re, im.masked_fill(constant(f"{PREFIX}edges", edges), 0.0)


def _two_sided(re: Tensor, im: Tensor, n_fft: int) -> Pair:
    # X[N - k] = conj(X[k]) for the spectrum of a real signal.
    middle = slice(1, (n_fft + 1) // 2)
    return Pair(
        torch.cat([re, re[..., middle].flip(-1)], dim=-1), torch.cat([im, -im[..., middle].flip(-1)], dim=-1)
    )


# --- torch.fft ---


def _scale(norm: str | None, n: int, *, inverse: bool) -> float:
    # What remains after the tables, which scale by 1 forward and 1 / N backward.
    if norm == "ortho":
        return math.sqrt(n) if inverse else 1 / math.sqrt(n)
    if norm == "forward":
        return float(n) if inverse else 1 / n
    return 1.0


def _resize(x: Value, n: int | None) -> Value:
    if n is None or n == x.shape[-1]:
        return x
    return x[..., :n] if n < x.shape[-1] else F.pad(x, (0, n - x.shape[-1]))


@operation("fft_rfft")
def _rfft(x: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Value:
    x = _resize(x.transpose(dim, -1), n)
    re, im = _real_rfft(x)
    return (Pair(re, im) * _scale(norm, x.shape[-1], inverse=False)).transpose(dim, -1)


@operation("fft_irfft")
def _irfft(x: Value, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    n = n or 2 * (x.shape[dim] - 1)
    x = _resize(join(x, torch.zeros_like(x)) if not isinstance(x, Pair) else x, None).transpose(dim, -1)
    x = _resize(x, n // 2 + 1)
    signal = real_irfft(x.re, x.im, _tables(n, False, x.re.dtype))
    return (signal * _scale(norm, n, inverse=True)).transpose(dim, -1)


@operation("fft_fft")
def _fft(x: Value, n: int | None = None, dim: int = -1, norm: str | None = None) -> Value:
    x = _resize(x.transpose(dim, -1), n)
    n = x.shape[-1]
    if isinstance(x, Pair):
        a, b = _two_sided(*_real_rfft(x.re), n), _two_sided(*_real_rfft(x.im), n)
        spectrum = Pair(a.re - b.im, a.im + b.re)
    else:
        spectrum = _two_sided(*_real_rfft(x), n)
    return (spectrum * _scale(norm, n, inverse=False)).transpose(dim, -1)


@operation("fft_ifft")
def _ifft(x: Value, n: int | None = None, dim: int = -1, norm: str | None = None) -> Value:
    # conj(fft(conj(x))) / N is the inverse.
    x = x.conj() if isinstance(x, Pair) else x
    total = n or x.shape[dim]
    return _fft(x, n, dim).conj() * (_scale(norm, total, inverse=True) / total)


def _over_dimensions(function: Callable[..., Value], default: int | None) -> Callable[..., Value]:
    def apply(
        x: Value, s: Sequence[int] | None = None, dim: Sequence[int] | None = None, norm: str | None = None
    ) -> Value:
        if dim is None:
            count = default or (len(s) if s is not None else x.dim())
            dim = range(-count, 0)
        for index, axis in enumerate(dim):
            x = function(x, None if s is None else s[index], axis, norm)
        return x

    return apply


for _name, _function, _default in (
    ("fft_fft2", _fft, 2),
    ("fft_ifft2", _ifft, 2),
    ("fft_fftn", _fft, None),
    ("fft_ifftn", _ifft, None),
):
    operation(_name)(_over_dimensions(_function, _default))
