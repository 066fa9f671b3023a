"""From a seed to the stems of a song, in memory or as files.

Everything is computed in float64 from one seed; the mixture is the sum of the float32 stems, to the bit.

Reference:
    Layout of the folders: MUSDB18-HQ, https://zenodo.org/record/3338373
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio_io.errors import AudioError, ConfigError
from audio_io.progress import Progress
from separation_coreml.stems.parts import bass, chords, drums
from separation_coreml.stems.song import STEMS, Song, compose
from separation_coreml.stems.sounds import SAMPLE_RATE, Floats, reverberate
from separation_coreml.stems.voice import vocals

Samples = npt.NDArray[np.float32]

_PARTS: dict[str, Callable[[Song, np.random.Generator], Floats]] = {
    "drums": drums,
    "bass": bass,
    "other": chords,
    "vocals": vocals,
}
_REVERB = {"drums": 0.06, "bass": 0.01, "other": 0.15, "vocals": 0.12}  # level of the tail to the dry sound
_SECTION_BARS = 2  # a part plays or rests for so long
_REST = 0.15  # share of the sections in which a part rests
_PEAK = 0.9


def render(seconds: float, seed: int) -> dict[str, Samples]:
    """The stems of a song, at 44.1 kHz.

    Args:
        seconds: Length of the song.
        seed: Of every random choice, at least 0; the same seed gives the same song.

    Returns:
        Each of `STEMS`, within ±1, as is their sum.

    Raises:
        ConfigError: If a value is out of range.

    Shape:
        - each stem: `[2, T]`
    """
    song = compose(seconds, seed)
    rng = np.random.default_rng([seed, len(STEMS)])
    stems = {}
    for name, part in _PARTS.items():
        dry = part(song, song.generator(name)) * _sections(song, rng)
        wet = dry + _REVERB[name] * reverberate(dry, rng)
        gain = 10 ** (rng.uniform(-3, 3) / 20)
        stems[name] = gain * wet / max(float(np.sqrt(np.mean(wet**2))), 1e-9)
    everything = np.stack(list(stems.values()))
    peak = max(float(np.abs(everything).max()), float(np.abs(everything.sum(axis=0)).max()), 1e-9)
    return {name: (stem * (_PEAK / peak)).astype(np.float32) for name, stem in stems.items()}


def mix(stems: dict[str, Samples]) -> Samples:
    """The sum of stems, in the order of `STEMS`.

    Shape:
        - each stem: `[2, T]`
        - result: `[2, T]`
    """
    total = np.zeros_like(stems[STEMS[0]])
    for name in STEMS:
        total += stems[name]
    return total


def render_folder(folder: str | Path, *, songs: int, seconds: float, seed: int = 0) -> list[Path]:
    """Write songs as MUSDB18-HQ is laid out: a folder each, with `mixture.wav` and a file for each stem.

    Songs that are there are not rendered again, so an interrupted run goes on where it stopped.

    Args:
        folder: Where to write; made if missing.
        songs: How many, at least 1.
        seconds: Length of each.
        seed: Of the first song; the next have the next seeds.

    Returns:
        The folders of the songs. Files are 32-bit float.

    Raises:
        ConfigError: If a value is out of range.
    """
    import torch

    from audio_io.files import save

    if songs < 1:
        raise ConfigError("songs", songs, "at least 1")
    length = compose(seconds, seed).length
    places = [Path(folder) / f"song-{seed + index:04d}" for index in range(songs)]
    with Progress("render", songs, "songs") as progress:
        for index, place in enumerate(places):
            if not all(_has_length(place / f"{name}.wav", length) for name in (*STEMS, "mixture")):
                stems = render(seconds, seed + index)
                for name, samples in {**stems, "mixture": mix(stems)}.items():
                    save(place / f"{name}.wav", torch.from_numpy(samples), SAMPLE_RATE)
            progress.advance(1)
    return places


def _has_length(path: Path, length: int) -> bool:
    from audio_io.files import info

    try:
        return info(path).frames == length
    except AudioError:
        return False


def _sections(song: Song, rng: np.random.Generator) -> Floats:
    """1 where a part plays and 0 where it rests, with ramps of 10 ms, `[T]`; the first section plays."""
    plays = rng.random(song.bars // _SECTION_BARS + 1) > _REST
    plays[0] = True
    section = (np.arange(song.length) / (song.bar * _SECTION_BARS * SAMPLE_RATE)).astype(int)
    ramp = np.hanning(2 * int(0.005 * SAMPLE_RATE) + 3)[1:-1]
    padded = np.pad(plays[section].astype(np.float64), ramp.size // 2, mode="edge")
    return np.convolve(padded, ramp / ramp.sum(), mode="valid")
