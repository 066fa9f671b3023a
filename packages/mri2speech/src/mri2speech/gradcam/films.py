"""Films on which heat maps are tested: the phantom's, with their causes, or those of a data set."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audio_io.errors import FileError
from mri2speech.arrays import read_array
from mri2speech.gradcam.config import FaithfulnessConfig
from mri2speech.meta import Meta
from mri2speech.phantom.anatomy import speaker
from mri2speech.phantom.causal import causal_map, regions, sensitivity
from mri2speech.phantom.corpus import utterance
from mri2speech.phantom.gestures import compose
from mri2speech.phantom.phones import VOWELS
from mri2speech.preprocess.frames import normalise

Floats = npt.NDArray[np.float32]
FORMANTS = ("F1", "F2", "F3")  # that the phantom knows the causes of


@dataclass(frozen=True)
class Film:
    """A film and what is known of some of its frames.

    Attributes:
        id: Name.
        frames: As the acoustic model sees them, `[T, H, W]`.
        chosen: The frames that are tested, `[K]`.
        causes: By formant, where the chosen frames hold what it depends on, `[K, H, W]`; empty for films
            that are not the phantom's.
        organs: Numbers of `phantom.scene.Region` of the chosen frames, `[K, H, W]`; None likewise.
    """

    id: str
    frames: Floats
    chosen: npt.NDArray[np.intp]
    causes: dict[str, Floats] = field(default_factory=dict)
    organs: npt.NDArray[np.uint8] | None = None


def phantom_films(config: FaithfulnessConfig, size: int = 256) -> Iterator[Film]:
    """Films of the phantom with the causes of the formants at some frames of vowels."""
    for number in range(config.films):
        who = speaker(number % config.speakers, config.phantom_seed)
        plan = compose(who, config.first + number // config.speakers, config.phantom_seed)
        made = utterance(plan, size=size)
        voiced = np.flatnonzero(np.isin(made.phones, VOWELS) & (made.f0 > 0))
        chosen = _spread(voiced, config.frames)
        effects = [sensitivity(plan, int(index), fps=made.fps, size=size) for index in chosen]
        yield Film(
            id=made.id,
            frames=np.stack([normalise(frame.astype(np.float32)) for frame in made.frames]),
            chosen=chosen,
            causes={
                name: np.stack([causal_map(effect, formant) for effect in effects])
                for formant, name in enumerate(FORMANTS)
            },
            organs=np.stack([regions(plan, int(index), fps=made.fps, size=size) for index in chosen]),
        )


def data_films(folder: str | Path, config: FaithfulnessConfig) -> Iterator[Film]:
    """Films of a preprocessed data set, evenly taken, and some of the louder half of their frames.

    Raises:
        FileError: If the folder is no data set, or one of its arrays cannot be used.
    """
    root = Path(folder)
    samples = Meta.load(root).samples
    for place in _spread(np.arange(len(samples)), config.films):
        sample = root / "samples" / samples[int(place)].id
        frames = _read(sample / "mri.npy", 3).astype(np.float32)
        level = _read(sample / "mel_db.npy", 2).mean(axis=1)
        if len(level) != len(frames):
            raise FileError(sample / "mel_db.npy", f"{len(level)} rows", f"{len(frames)}, as many as mri.npy")
        loud = np.flatnonzero(level >= np.median(level))
        yield Film(sample.name, frames, _spread(loud, config.frames))


def _read(path: Path, dimensions: int) -> npt.NDArray[Any]:
    wanted = "an array as mri2speech preprocess writes it"
    array = read_array(path, wanted)
    if array.ndim != dimensions or array.dtype.kind != "f" or 0 in array.shape:
        raise FileError(path, f"shape {list(array.shape)} of {array.dtype}", wanted)
    if not np.isfinite(array).all():
        raise FileError(path, "NaN or infinity", "finite values")
    return array


def _spread(values: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """So many of the values, from the middles of equal parts."""
    places = (np.arange(count) + 0.5) * len(values) / count
    return values[np.unique(np.minimum(places.astype(int), len(values) - 1))] if len(values) else values
