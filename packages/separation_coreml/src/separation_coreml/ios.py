"""What the Swift package `ios/` shares with this one: how spectrograms are laid out, and test vectors.

The Swift package repeats `separate` and the STFT of `--io core`. The vectors hold what Python computes for
short signals; the tests of both sides compare with them. Signals are not stored: both sides compute them with
the same generator of pseudo-random numbers.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from audio_io.atomic import write_json
from separation_coreml import registry
from separation_coreml.engines import Engine
from separation_coreml.families.base import StftSettings
from separation_coreml.separate import SeparateConfig, measure, starts, stream_stems

_SAMPLES = 48  # of a large result, that are written
_SIGNAL = 9000  # samples of the signals, no whole number of hops
_WINDOWS: Mapping[str, Callable[[int], Tensor]] = {"hann": torch.hann_window, "rectangular": torch.ones}


@dataclass(frozen=True)
class SpectrogramLayout:
    """What an app does around the STFT so as to have a family's `analysis` and `synthesis`.

    Attributes:
        before: Samples put before the waveform.
        after: Samples put after it, besides those up to a whole number of hops.
        whole_hops: Whether it is first completed to a whole number of hops.
        multiple: What the number of frames (of an STFT that is centred) is brought up to a multiple of, by
            yet more samples after the waveform; 1 for none.
        pad_mode: What these samples are: `reflect` or `constant`, which is zeros.
        frames: Frames left out at each end; zeros for the inverse.
        bins: Highest bins left out; zeros for the inverse.
    """

    before: int = 0
    after: int = 0
    whole_hops: bool = False
    multiple: int = 1
    pad_mode: str = "constant"
    frames: int = 0
    bins: int = 0

    def padding(self, length: int, hop_length: int) -> tuple[int, int]:
        """Samples put before and after a waveform of a length."""
        after = self.after + (-length % hop_length if self.whole_hops else 0)
        if self.multiple > 1:
            samples = self.before + length + after
            frames = math.ceil(samples / hop_length) + 1
            frames += -frames % self.multiple
            after += (frames - 1) * hop_length - samples
        return self.before, after


_HYBRID = SpectrogramLayout(1536, 1536, whole_hops=True, pad_mode="reflect", frames=2, bins=1)

_PLAIN = SpectrogramLayout()
_BLOCKS = SpectrogramLayout(multiple=32)  # five levels that halve the number of frames

# By the module of the family; wave_u_net takes the waveform.
_LAYOUTS: Mapping[str, SpectrogramLayout] = {
    "demucs": _HYBRID,
    "torchaudio_hdemucs": _HYBRID,
    "openunmix": _PLAIN,
    "small": _PLAIN,
    "spleeter": SpectrogramLayout(2048, 1024, whole_hops=True),
    "mdx_net": _BLOCKS,
    "mdx23c": _BLOCKS,
    "bs_roformer": _PLAIN,
    "mel_band_roformer": _PLAIN,
    # The number of hops is odd, and above the length of the waveform.
    "scnet": SpectrogramLayout(after=1, multiple=2),
}


def get_layout(family: str, stft: StftSettings | None) -> SpectrogramLayout | None:
    """The layout of a model of a family; None without an STFT, as for waveforms and for bags of several."""
    return None if stft is None else _LAYOUTS[family]


def analysis(waveform: Tensor, stft: StftSettings, layout: SpectrogramLayout) -> Tensor:
    """The spectrogram of a waveform as the core of a model takes it.

    Shape:
        - waveform: `[channels, T]`
        - output: `[2 · channels, F, frames]` (real and imaginary part of each channel in turn)
    """
    padding = layout.padding(waveform.shape[-1], stft.hop_length)
    padded = functional.pad(waveform, padding, mode=layout.pad_mode)
    spectrum = torch.stft(
        padded,
        stft.n_fft,
        stft.hop_length,
        stft.win_length,
        _WINDOWS[stft.window](stft.win_length),
        center=stft.center,
        pad_mode=stft.pad_mode,
        normalized=stft.normalized,
        return_complex=True,
    )
    kept = spectrum[:, : spectrum.shape[1] - layout.bins, layout.frames : spectrum.shape[2] - layout.frames]
    return torch.view_as_real(kept).permute(0, 3, 1, 2).flatten(0, 1)


def synthesis(spectrogram: Tensor, stft: StftSettings, layout: SpectrogramLayout, length: int) -> Tensor:
    """The waveform of a spectrogram of one stem.

    Shape:
        - spectrogram: `[2 · channels, F, frames]`
        - output: `[channels, length]`
    """
    whole = functional.pad(spectrogram, (layout.frames, layout.frames, 0, layout.bins))
    pairs = torch.unflatten(whole, 0, (-1, 2)).permute(0, 2, 3, 1)
    waveform = torch.istft(
        torch.view_as_complex(pairs.contiguous()),
        stft.n_fft,
        stft.hop_length,
        stft.win_length,
        _WINDOWS[stft.window](stft.win_length),
        center=stft.center,
        normalized=stft.normalized,
        length=layout.before + length,
    )
    return waveform[:, layout.before :]


def noise(seed: int, *shape: int) -> Tensor:
    """Numbers from -0.5 to 0.5 that Swift computes too: a linear congruential generator of 32 bits."""
    count = torch.Size(shape).numel()
    # State k is factor^k · seed + (1 + factor + … + factor^(k-1)) · summand, all modulo 2^32.
    factors = np.cumprod(np.full(count, 1664525, dtype=np.uint32), dtype=np.uint32)
    sums = np.cumsum(np.concatenate([np.ones(1, np.uint32), factors[:-1]]), dtype=np.uint32)
    states = factors * np.uint32(seed) + sums * np.uint32(1013904223)
    return torch.from_numpy(states / 2.0**32 - 0.5).float().reshape(shape)


def write_vectors(path: str | Path) -> None:
    """Write the test vectors as JSON."""
    write_json(path, vectors())


def vectors() -> dict[str, Any]:
    """What Python computes, as built-in types."""
    return {
        "noise": noise(1, 8).tolist(),
        "starts": [
            {
                "length": length,
                "segment": segment,
                "overlap": overlap,
                "placement": placement,
                "starts": starts(length, segment, overlap, placement),
            }
            for length, segment, overlap in (
                (25, 10, 0.25),
                (9, 10, 0.25),
                (101, 20, 0.5),
                (7_938_000, 343_980, 0.25),
                (1_000_003, 306_176, 0.1),
            )
            for placement in ("even", "demucs")
        ],
        "overlap_add": [
            _overlap_add(length, segment, overlap, placement)
            for length, segment, overlap in ((25, 10, 0.25), (6, 10, 0.25), (40, 11, 0.5))
            for placement in ("even", "demucs")
        ],
        "stft": [_spectrograms(models, stft, layout) for models, stft, layout in spectrogram_kinds()],
    }


def spectrogram_kinds() -> Iterator[tuple[list[str], StftSettings, SpectrogramLayout]]:
    """Each STFT of the registry with a layout, and the models that have it."""
    kinds: dict[tuple[StftSettings, SpectrogramLayout], list[str]] = {}
    for name, spec in registry.MODELS.items():
        stft = registry.skeleton(name).stft
        layout = get_layout(spec.family, stft)
        if stft is not None and layout is not None:
            kinds.setdefault((stft, layout), []).append(name)
    for (stft, layout), models in kinds.items():
        yield models, stft, layout


def _overlap_add(length: int, segment: int, overlap: float, placement: Any) -> dict[str, Any]:  # noqa: ANN401
    song, count = noise(length, 2, length), 0

    def run(part: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return torch.stack([part * 0.5, noise(count, 2, segment)])

    engine = Engine("torch", ("a", "b"), 44100, 2, segment, overlap, normalize=True, run=run)
    level = measure([song])
    # In blocks, as from a file.
    edges = [*range(0, length, 7), length]
    blocks = [song[:, before:after] for before, after in pairwise(edges)]
    parts = list(stream_stems(blocks, level, engine, config=SeparateConfig(placement=placement)))
    return {
        "length": length,
        "segment": segment,
        "overlap": overlap,
        "placement": placement,
        "mean": level.mean,
        "deviation": level.deviation,
        "output": torch.cat(parts, dim=-1).flatten(0, 1).tolist(),
        "tolerance": 1e-6,
    }


def _spectrograms(models: list[str], stft: StftSettings, layout: SpectrogramLayout) -> dict[str, Any]:
    spectrogram = analysis(noise(3, 2, _SIGNAL), stft, layout)
    waveform = synthesis(noise(5, *spectrogram.shape), stft, layout, _SIGNAL)
    return {
        "models": models,
        "stft": asdict(stft),
        "layout": asdict(layout),
        "length": _SIGNAL,
        "shape": list(spectrogram.shape),
        "analysis": _sampled(spectrogram),
        "synthesis": _sampled(waveform),
    }


def _sampled(result: Tensor) -> dict[str, Any]:
    """Values at some places of the flattened tensor: a stride that has no factor in common with its sizes."""
    flat = result.flatten()
    indices = [index * 7919 % len(flat) for index in range(_SAMPLES)]
    return {
        "indices": indices,
        "values": flat[indices].tolist(),
        "tolerance": 1e-5 * float(flat.square().mean().sqrt()),
    }
