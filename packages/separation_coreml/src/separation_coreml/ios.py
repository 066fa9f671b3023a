"""What the Swift package `ios/` shares with this one: how spectrograms are laid out, and test vectors.

The Swift package repeats `separate` and the STFT of `--io core`. The vectors hold what Python computes for
short signals; the tests of both sides compare with them. Signals are not stored: both sides compute them with
the same generator of pseudo-random numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class SpectrogramLayout:
    """What an app does around the STFT so as to have a family's `analysis` and `synthesis`.

    Attributes:
        before: Samples put before the waveform.
        after: Samples put after it, besides those up to a whole number of hops.
        whole_hops: Whether it is first completed to a whole number of hops.
        pad_mode: What these samples are: `reflect` or `constant`, which is zeros.
        frames: Frames left out at each end; zeros for the inverse.
        bins: Highest bins left out; zeros for the inverse.
    """

    before: int = 0
    after: int = 0
    whole_hops: bool = False
    pad_mode: str = "constant"
    frames: int = 0
    bins: int = 0


_HYBRID = SpectrogramLayout(1536, 1536, whole_hops=True, pad_mode="reflect", frames=2, bins=1)

# By the module of the family; others are not for apps with an STFT of their own.
LAYOUTS: Mapping[str, SpectrogramLayout] = {
    "demucs": _HYBRID,
    "torchaudio_hdemucs": _HYBRID,
    "openunmix": SpectrogramLayout(),
    "small": SpectrogramLayout(),
    "spleeter": SpectrogramLayout(2048, 1024, whole_hops=True),
}


def analysis(waveform: Tensor, stft: StftSettings, layout: SpectrogramLayout) -> Tensor:
    """The spectrogram of a waveform as the core of a model takes it.

    Shape:
        - waveform: `[channels, T]`
        - output: `[2 · channels, F, frames]` (real and imaginary part of each channel in turn)
    """
    rest = -waveform.shape[-1] % stft.hop_length if layout.whole_hops else 0
    padded = functional.pad(waveform, (layout.before, layout.after + rest), mode=layout.pad_mode)
    spectrum = torch.stft(
        padded,
        stft.n_fft,
        stft.hop_length,
        stft.win_length,
        torch.hann_window(stft.win_length),
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
        torch.hann_window(stft.win_length),
        center=stft.center,
        normalized=stft.normalized,
        length=layout.before + length,
    )
    return waveform[:, layout.before :]


def noise(seed: int, *shape: int) -> Tensor:
    """Numbers from -0.5 to 0.5 that Swift computes too: a linear congruential generator of 32 bits."""
    state = seed
    values = []
    for _ in range(torch.Size(shape).numel()):
        state = (1664525 * state + 1013904223) % 2**32
        values.append(state / 2**32 - 0.5)
    return torch.tensor(values, dtype=torch.float64).float().reshape(shape)


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
        if spec.family in LAYOUTS:
            stft = registry.skeleton(name).stft
            assert stft is not None
            kinds.setdefault((stft, LAYOUTS[spec.family]), []).append(name)
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
