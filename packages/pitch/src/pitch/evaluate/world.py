"""Real recordings with an exact pitch: analysed and synthesised anew by WORLD.

The estimate of WORLD's f0 tracker becomes the truth, because the new sound is made from it; what is kept of
the recording is its timbre, its phrasing and its noise.

Reference:
    Morise, Yokomori, Ozawa, "WORLD: A Vocoder-Based High-Quality Speech Synthesis System", IEICE Trans. Inf.
    Syst. E99-D(7), 2016; the idea is that of Salamon et al., "An Analysis/Synthesis Framework for Automatic
    F0 Annotation of Multitrack Datasets", ISMIR 2017.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

import audio_io
from audio_io.errors import ConfigError
from pitch.constants import SAMPLE_RATE
from pitch.evaluate.examples import Example, Floats, Truth
from pitch.extras import require_extra

F0Method = Literal["harvest", "dio"]

FRAME_SECONDS = 0.005
# Harvest's own limits, 71 and 800 Hz, are those of speech.
F0_FLOOR, F0_CEIL = 40.0, 1200.0
# D4C sets the aperiodicity of every band to just below 1 where it finds nothing periodic: such a frame is
# synthesised as noise, whatever its f0.
NOISE_APERIODICITY = 0.999


def resynthesized_set(recordings: Sequence[str | Path], *, method: F0Method = "harvest") -> list[Example]:
    """Recordings synthesised anew, with the pitch that they were synthesised with.

    Args:
        recordings: Sound files, and folders that are searched for them.
        method: WORLD's f0 tracker; `dio` is about ten times faster than `harvest` and misses more.

    Raises:
        MissingExtraError: If pyworld is not installed.
        ConfigError: If a folder holds no sound file.
    """
    require_extra("world", "--resynthesize")
    examples: list[Example] = []
    for entry in map(Path, recordings):
        files = audio_io.walk(entry) if entry.is_dir() else [entry]
        if not files:
            raise ConfigError("resynthesize", f"no sound file in {entry}", "a folder with at least one")
        for file in files:
            name = file.relative_to(entry).as_posix() if entry.is_dir() else file.name
            examples.append(_example(file, name, method))
    return examples


def _example(file: Path, name: str, method: F0Method) -> Example:
    status = file.stat() if file.is_file() else None
    stamp = "" if status is None else f"{status.st_size} {status.st_mtime_ns}"
    return Example(
        name=f"{name} (WORLD)",
        sound=lambda: _resynthesize(file, method, stamp)[0],
        truth=lambda: _resynthesize(file, method, stamp)[1],
        groups={"source": "WORLD"},
        identity=f"{method} {file.name} {stamp}",
    )


# The sound and its truth are asked for one after the other.
@functools.lru_cache(maxsize=2)
def _resynthesize(file: Path, method: F0Method, _: str) -> tuple[Floats, Truth]:
    waveform = audio_io.load(file, sample_rate=SAMPLE_RATE, channels="mono")[0][0].double().numpy()
    return resynthesize(waveform, method=method)


def resynthesize(waveform: Floats, *, method: F0Method = "harvest") -> tuple[Floats, Truth]:
    """A sound synthesised anew, and its pitch every 5 ms.

    Args:
        waveform: At 16 kHz.
        method: WORLD's f0 tracker.

    Shape:
        - waveform: `[T]`
        - Output: the sound `[T]`, and K times

    Raises:
        MissingExtraError: If pyworld is not installed.
    """
    require_extra("world", "resynthesis")
    import pyworld

    track = pyworld.harvest if method == "harvest" else pyworld.dio
    f0, times = track(
        waveform, SAMPLE_RATE, f0_floor=F0_FLOOR, f0_ceil=F0_CEIL, frame_period=1000 * FRAME_SECONDS
    )
    envelope = pyworld.cheaptrick(waveform, f0, times, SAMPLE_RATE)
    aperiodicity = pyworld.d4c(waveform, f0, times, SAMPLE_RATE)
    f0 = np.where(aperiodicity.min(axis=1) < NOISE_APERIODICITY, f0, 0.0)
    sound = pyworld.synthesize(f0, envelope, aperiodicity, SAMPLE_RATE, 1000 * FRAME_SECONDS)
    length = min(len(sound), len(waveform))
    return sound[:length], Truth(times, f0)
