from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


@pytest.fixture
def audio_chirp() -> Callable[..., torch.Tensor]:
    """A sweep from 300 Hz to 3 kHz, each channel quieter than the last: one sharp peak of correlation."""

    def make(sample_rate: int, seconds: float, channels: int = 1) -> torch.Tensor:
        time = torch.arange(round(sample_rate * seconds), dtype=torch.float64) / sample_rate
        phase = 2 * torch.pi * (300 * time + 2700 / (2 * seconds) * time**2)
        gains = 0.4 * 0.7 ** torch.arange(channels, dtype=torch.float64)
        return (gains[:, None] * torch.sin(phase)).float()

    return make


@pytest.fixture
def audio_encode() -> Callable[..., Path]:
    """Encode a waveform by FFmpeg, beside pictures if asked for, the sound beginning `delay` s after them."""

    def encode(
        path: Path,
        waveform: torch.Tensor,
        sample_rate: int,
        codec: str,
        *,
        container: str | None = None,
        video: str | None = None,
        delay: float = 0.0,
        codec_options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
    ) -> Path:
        layout = LAYOUTS[len(waveform)]
        with av.open(str(path), "w", format=container, options=container_options or {}) as output:
            pictures = (
                output.add_stream(video, rate=25, width=64, height=48, pix_fmt="yuv420p") if video else None
            )
            sound = output.add_stream(codec, rate=sample_rate, layout=layout, options=codec_options or {})
            if pictures is not None:
                for index in range(round(25 * (waveform.shape[1] / sample_rate + delay))):
                    picture = av.VideoFrame.from_ndarray(
                        np.full((48, 64, 3), index % 255, np.uint8), format="rgb24"
                    )
                    picture.pts = index
                    output.mux(pictures.encode(picture))
                output.mux(pictures.encode())
            frame = av.AudioFrame.from_ndarray(waveform.numpy(), format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
            context = sound.codec_context
            split = av.AudioResampler(context.format, layout, sample_rate, context.frame_size or 1024)
            for part in [*split.resample(frame), *split.resample(None)]:
                part.pts += round(delay * sample_rate)
                output.mux(sound.encode(part))
            output.mux(sound.encode())
        return path

    return encode


@pytest.fixture
def audio_lag() -> Callable[[torch.Tensor, torch.Tensor], int]:
    """Samples by which the second waveform comes after the first: the peak of their cross-correlation."""

    def lag(first: torch.Tensor, second: torch.Tensor) -> int:
        size = 1 << (first.shape[-1] + second.shape[-1]).bit_length()
        spectrum = torch.fft.rfft(first[0], size).conj() * torch.fft.rfft(second[0], size)
        peak = int(torch.fft.irfft(spectrum, size).argmax())
        return peak - size if peak > size // 2 else peak

    return lag
