"""Formats with a value for each frame: NumPy, torch, Praat."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from audio_io.atomic import atomic_path, write_text
from pitch.result import Track


def save_npy(path: str | Path, track: Track) -> None:
    """Write a NumPy array, float64: time in s, frequency in Hz and confidence, a row a frame.

    Shape:
        - the array: `[K, 3]`
    """
    columns = np.stack([track.times, track.frequency, track.confidence], axis=1, dtype=np.float64)
    with atomic_path(path) as temporary:
        np.save(temporary, columns)


def save_pt(path: str | Path, track: Track) -> None:
    """Write a dictionary of tensors that `torch.load(path, weights_only=True)` reads.

    Its keys are `time` (s, float64), `frequency` (Hz, float32), `confidence` (float32) and `voiced` (bool).

    Shape:
        - each tensor: `[K]`
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        "time": track.times,
        "frequency": track.frequency,
        "confidence": track.confidence,
        "voiced": track.voiced,
    }
    with atomic_path(path) as temporary:
        torch.save({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, temporary)


def save_pitch_tier(path: str | Path, track: Track) -> None:
    """Write the voiced frames as a Praat PitchTier in text form, which Praat opens and edits."""
    last = max(track.duration, float(track.times[-1]), track.hop_seconds)
    frames = np.flatnonzero(track.voiced)
    lines = [
        'File type = "ooTextFile"',
        'Object class = "PitchTier"',
        "",
        "xmin = 0",
        f"xmax = {last!r}",
        f"points: size = {len(frames)}",
    ]
    for number, frame in enumerate(frames, start=1):
        lines += [
            f"points [{number}]:",
            f"    number = {float(track.times[frame])!r}",
            f"    value = {float(track.frequency[frame])!r}",
        ]
    write_text(path, "\n".join(lines) + "\n")
