"""The conventions of an STFT: all but the Fourier transform itself, which `stft` and `realstft` do."""

import dataclasses
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from audio_io.errors import ConfigError
from audio_io.frames import overlap_add
from audio_io.tracing import sizes
from audio_io.windows import Window, frame_window

PadMode = Literal["constant", "reflect", "edge"]

# Below this share of its maximum the sum of squared windows cannot be divided by (the threshold of
# torch.istft).
NOLA_TOLERANCE = 1e-11


@dataclasses.dataclass(frozen=True, eq=False)
class StftSettings:
    """The conventions of one transform, checked, with the defaults filled in by `resolve`.

    Attributes:
        n_fft: Samples per frame.
        hop_length: Samples from frame to frame.
        win_length: Samples of the window.
        window: Name of a periodic window, or its samples.
        center: Whether frame k is centred on sample k * hop_length.
        pad_mode: What lies beyond the ends with `center`: zeros, the mirrored signal, or its first and last
            sample.
        normalized: Whether the transform is scaled by n_fft ** -0.5 (torch's `normalized`).
    """

    n_fft: int
    hop_length: int
    win_length: int
    window: Window
    center: bool
    pad_mode: PadMode
    normalized: bool

    @classmethod
    def resolve(
        cls,
        n_fft: int,
        hop_length: int | None = None,
        win_length: int | None = None,
        *,
        window: Window = "hann",
        center: bool = True,
        pad_mode: PadMode = "constant",
        normalized: bool = False,
    ) -> "StftSettings":
        """Settings with librosa's defaults for what is None.

        Args:
            n_fft: Samples per frame, at least 1.
            hop_length: Samples from frame to frame, at least 1; a quarter of `win_length` if None.
            win_length: Samples of the window, 1 to `n_fft`; `n_fft` if None.
            window: See the class.
            center: See the class.
            pad_mode: See the class.
            normalized: See the class.

        Raises:
            ConfigError: If a value is out of range.
        """
        win_length = n_fft if win_length is None else win_length
        hop_length = max(win_length // 4, 1) if hop_length is None else hop_length
        if n_fft < 1:
            raise ConfigError("n_fft", n_fft, "at least 1 sample")
        if not 1 <= win_length <= n_fft:
            raise ConfigError("win_length", win_length, f"1 to {n_fft} samples (n_fft)")
        if hop_length < 1:
            raise ConfigError("hop_length", hop_length, "at least 1 sample")
        if pad_mode not in get_args(PadMode):
            raise ConfigError("pad_mode", repr(pad_mode), f"one of {', '.join(get_args(PadMode))}")
        return cls(n_fft, hop_length, win_length, window, center, pad_mode, normalized)

    def frame_window(self) -> Tensor:
        """The window with the zeros around it, float64 unless it was given as a tensor.

        Shape:
            Output: [n_fft]
        """
        return frame_window(self.window, self.win_length, self.n_fft)

    def pad(self, x: Tensor) -> Tensor:
        """The signal with what `center` puts around it.

        Raises:
            ConfigError: If the signal holds integers, or is too short for one frame or for being mirrored.

        Shape:
            Input: [..., T]
            Output: [..., T + 2 * floor(n_fft / 2)], or [..., T] without `center`
        """
        if not x.is_floating_point():
            raise ConfigError("x", f"samples of {x.dtype}", "floating-point samples")
        if x.ndim == 0:
            raise ConfigError("x", "a single number", "shape [..., T]")
        margin = self.n_fft // 2 if self.center else 0
        *lead, length = sizes(x)
        if length + 2 * margin < self.n_fft or length == 0:
            raise ConfigError(
                "length of x", f"{length} samples", f"at least {max(self.n_fft - 2 * margin, 1)}"
            )
        if not self.center:
            return x
        if self.pad_mode == "constant":
            return F.pad(x, (margin, margin))
        if self.pad_mode == "reflect" and length <= margin:
            expected = f"more than {margin} (n_fft // 2) for pad_mode 'reflect'"
            raise ConfigError("length of x", f"{length} samples", expected)
        rows = x.unsqueeze(0).flatten(0, -2).unsqueeze(1)  # [B, 1, T]
        rows = F.pad(rows, (margin, margin), mode="replicate" if self.pad_mode == "edge" else "reflect")
        return rows.reshape(*lead, length + 2 * margin)

    def check_invertible(self) -> None:
        """Refuse a window and hop that leave samples which no frame has seen.

        Raises:
            ConfigError: If the squared windows, repeated each hop, have a gap.
        """
        squared = self.frame_window().detach().double().square()
        blocks = F.pad(squared, (0, -self.n_fft % self.hop_length)).reshape(-1, self.hop_length)  # [R, hop]
        per_phase = blocks.sum(0)
        if per_phase.min() <= NOLA_TOLERANCE * per_phase.max():
            expected = f"a hop at which windows of {self.win_length} samples leave no gap (NOLA)"
            raise ConfigError("hop_length", f"{self.hop_length} samples", expected)

    def check_bins(self, n_bins: int) -> None:
        """Refuse a spectrum whose number of frequencies is not that of `n_fft`.

        Raises:
            ConfigError: If it is not floor(n_fft / 2) + 1.
        """
        if n_bins != self.n_fft // 2 + 1:
            expected = f"{self.n_fft // 2 + 1} frequencies (n_fft // 2 + 1)"
            raise ConfigError("n_fft", f"{self.n_fft} with a spectrum of {n_bins} frequencies", expected)

    def join(self, frames: Tensor, window: Tensor, length: int | None) -> Tensor:
        """The signal whose windowed frames are `frames`, in the least-squares sense.

        Args:
            frames: Frames that the analysis has windowed once.
            window: The output of `frame_window`, in the type of `frames`.
            length: Samples of the result, cut or continued with zeros; what the frames cover if None.

        Shape:
            Input: [..., K, n_fft]
            Output: [..., length]
        """
        n_frames = sizes(frames)[-2]
        covered = (n_frames - 1) * self.hop_length + self.n_fft
        signal = overlap_add(frames * window, self.hop_length)  # [..., (K - 1) * hop + n_fft]
        envelope = overlap_add(window.square().expand(n_frames, self.n_fft), self.hop_length)
        # At the ends (without center) a window that starts with 0 leaves samples unseen: they stay 0, as in
        # librosa.
        seen = envelope > torch.finfo(envelope.dtype).tiny
        signal = signal / torch.where(seen, envelope, torch.ones_like(envelope))
        margin = self.n_fft // 2 if self.center else 0
        if length is None:
            return signal[..., margin : covered - margin]
        return F.pad(signal, (0, max(margin + length - covered, 0)))[..., margin : margin + length]
