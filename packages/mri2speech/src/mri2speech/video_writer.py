"""Films out, with or without sound, such as every browser plays: H.264 in yuv420p and AAC in MP4."""

import itertools
import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audio_io.atomic import atomic_path
from audio_io.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from av.container import OutputContainer
    from av.video.stream import VideoStream

# AAC knows a few rates only, and 11,413 Hz is none of them.
_AAC_RATE = 48000
_AAC_BIT_RATE = 128_000
_LARGEST_DENOMINATOR = 1001  # 30000/1001 and 11413/420 alike


def write_video(
    path: str | Path,
    frames: Iterable[npt.NDArray[np.uint8]],
    fps: float | Fraction,
    *,
    waveform: "torch.Tensor | None" = None,
    sample_rate: int | None = None,
    crf: int = 18,
    lossless: bool = False,
) -> None:
    """Write a film; it appears at `path` when it is complete, or not at all.

    An odd number of rows or columns is made even by repeating the last one, because yuv420p halves them. The
    first sample sounds when the first frame shows; neither is padded or cut to the length of the other.

    Args:
        path: Where to write: `.mp4` or `.mov`, and `.avi` or `.mkv` when lossless.
        frames: Grey or RGB pictures, all of one size.
        fps: Frames a second; any.
        waveform: The sound, full scale 1; beyond it is clipped.
        sample_rate: Of the sound, in Hz. In AAC it becomes 48,000 Hz.
        crf: x264's quality: 0 keeps every bit, 18 shows no loss, 51 is the worst.
        lossless: FFV1 and 16-bit PCM at its own rate instead of H.264 and AAC; browsers do not play it.

    Raises:
        ConfigError: If an argument cannot be used; it names the argument.

    Shape:
        - each of frames: `[H, W]` or `[H, W, 3]`
        - waveform: `[N]` or `[C, N]`, C 1 or 2
    """
    import av

    target = Path(path)
    suffixes = {".avi", ".mkv"} if lossless else {".mp4", ".mov"}
    if target.suffix.lower() not in suffixes:
        found = f"suffix {target.suffix!r}"
        raise ConfigError("path", found, " or ".join(sorted(suffixes)) + f" when lossless is {lossless}")
    rate = Fraction(fps).limit_denominator(_LARGEST_DENOMINATOR) if math.isfinite(fps) else Fraction(0)
    if rate <= 0:
        raise ConfigError("fps", fps, "above 0")
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise ConfigError("frames", "none", "at least one")
    sound = None if waveform is None else _sound(waveform, sample_rate, lossless=lossless)
    options = {} if lossless else {"movflags": "+faststart"}
    with atomic_path(target) as temporary, av.open(str(temporary), "w", options=options) as container:
        stream = _picture_track(container, first, rate, crf, lossless=lossless)
        track = None if sound is None else _SoundTrack(container, *sound, lossless=lossless)
        for index, picture in enumerate(itertools.chain([first], pictures)):
            _write_picture(container, stream, picture, first.shape, index)
            if track is not None:
                # Side by side, so that the muxer has nothing to keep back.
                track.write(float((index + 1) / rate))
        container.mux(stream.encode(None))
        if track is not None:
            track.finish()


def _write_picture(
    container: "OutputContainer",
    stream: "VideoStream",
    picture: npt.NDArray[np.uint8],
    shape: tuple[int, ...],
    index: int,
) -> None:
    import av

    if picture.dtype != np.uint8 or picture.shape != shape or picture.shape[2:] not in {(), (3,)}:
        found = f"frame {index} of shape {list(picture.shape)} of {picture.dtype}"
        raise ConfigError("frames", found, "uint8 [H, W] or [H, W, 3], all of one size")
    even = [(0, size % 2) for size in picture.shape[:2]] + [(0, 0)] * (picture.ndim - 2)
    picture = np.ascontiguousarray(np.pad(picture, even, mode="edge"))
    frame = av.VideoFrame.from_ndarray(picture, format="gray" if picture.ndim == 2 else "rgb24")
    frame.pts, frame.time_base = index, 1 / Fraction(stream.codec_context.framerate)
    container.mux(stream.encode(frame))


def _picture_track(
    container: "OutputContainer", first: npt.NDArray[np.uint8], rate: Fraction, crf: int, *, lossless: bool
) -> "VideoStream":
    # One thread, because x264's bits depend on their number.
    options = {"threads": "1"} if lossless else {"crf": str(crf), "threads": "1"}
    stream = container.add_stream("ffv1" if lossless else "libx264", rate=rate, options=options)
    stream.height, stream.width = (size + size % 2 for size in first.shape[:2])
    stream.pix_fmt = ("gray" if first.ndim == 2 else "bgr0") if lossless else "yuv420p"
    stream.codec_context.time_base = 1 / rate
    return stream


def _sound(
    waveform: "torch.Tensor", sample_rate: int | None, *, lossless: bool
) -> tuple[npt.NDArray[np.float32], int]:
    from audio_io import resample

    if sample_rate is None or sample_rate < 1:
        raise ConfigError("sample_rate", sample_rate, "the rate of the waveform in Hz")
    channels = waveform.detach().cpu().float().reshape(-1, waveform.shape[-1])  # [C, N]
    if waveform.dim() not in {1, 2} or len(channels) not in {1, 2} or not channels.isfinite().all():
        raise ConfigError(
            "waveform", f"shape {list(waveform.shape)}", "finite samples [N] or [C, N], C 1 or 2"
        )
    rate = sample_rate if lossless else _AAC_RATE
    return resample(channels, sample_rate, rate).clamp(-1.0, 1.0).numpy(), rate


class _SoundTrack:
    """Writes the sound up to a time."""

    def __init__(
        self,
        container: "OutputContainer",
        samples: npt.NDArray[np.float32],
        rate: int,
        *,
        lossless: bool,
    ) -> None:
        self._container, self._samples, self._rate = container, samples, rate
        self._layout = "mono" if len(samples) == 1 else "stereo"
        self._stream: Any = container.add_stream(
            "pcm_s16le" if lossless else "aac", rate=rate, layout=self._layout
        )
        if not lossless:
            self._stream.bit_rate = _AAC_BIT_RATE
        self._lossless = lossless
        self._position = 0

    def write(self, seconds: float) -> None:
        import av

        end = min(round(seconds * self._rate), self._samples.shape[1])
        block = self._samples[:, self._position : end]
        if not block.shape[1]:
            return
        if self._lossless:
            packed = np.rint(block.T * 32767).astype(np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=self._layout)
        else:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block), format="fltp", layout=self._layout
            )
        frame.sample_rate, frame.pts = self._rate, self._position
        frame.time_base = Fraction(1, self._rate)
        self._position = end
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self.write(self._samples.shape[1] / self._rate)
        self._container.mux(self._stream.encode(None))
