"""Songs with known stems: folders as MUSDB18-HQ has them, or rendered ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

import audio_io
from audio_io.errors import ConfigError, FileError
from audio_io.resampling import resample
from separation_coreml.evaluation.config import EvaluateConfig, Subset
from separation_coreml.stems.render import mix, render
from separation_coreml.stems.song import STEMS
from separation_coreml.stems.sounds import SAMPLE_RATE

_MIXTURE = "mixture.wav"


@dataclass(frozen=True)
class Loaded:
    """A song in memory.

    Shape:
        - mixture, each stem: `[2, T]`
    """

    mixture: Tensor
    stems: dict[str, Tensor]
    sample_rate: int

    def at(self, sample_rate: int) -> dict[str, Tensor]:
        """The stems at another rate."""
        return {name: resample(stem, self.sample_rate, sample_rate) for name, stem in self.stems.items()}


class Track(Protocol):
    """A song that can be loaded."""

    @property
    def name(self) -> str:
        """What the reports call it."""

    @property
    def made_from(self) -> str:
        """What it depends on, as text."""

    def load(self) -> Loaded:
        """Read or render it."""


@dataclass(frozen=True)
class FolderTrack:
    """A folder with `mixture.wav` and a `.wav` for each stem; one channel is doubled."""

    folder: Path

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def made_from(self) -> str:
        """Its files, and when they were changed."""
        files = [(path.name, path.stat()) for path in sorted(self.folder.glob("*.wav"))]
        return repr([(name, status.st_size, status.st_mtime_ns) for name, status in files])

    def load(self) -> Loaded:
        """Read it.

        Raises:
            AudioError: If a file cannot be read.
            FileError: If a stem has another rate or shape than the mixture.
        """
        mixture, rate = audio_io.load(self.folder / _MIXTURE)
        if len(mixture) > 2:
            raise FileError(self.folder / _MIXTURE, f"{len(mixture)} channels", "1 or 2")
        stems = {}
        for path in sorted(self.folder.glob("*.wav")):
            if path.name == _MIXTURE or path.name.startswith("."):
                continue
            stem, stem_rate = audio_io.load(path)
            if (stem.shape, stem_rate) != (mixture.shape, rate):
                found = f"{stem_rate} Hz and shape {list(stem.shape)}"
                raise FileError(path, found, f"{rate} Hz and shape {list(mixture.shape)}, as the mixture has")
            stems[path.stem] = stem.expand(2, -1)
        return Loaded(mixture.expand(2, -1), stems, rate)


@dataclass(frozen=True)
class RenderedTrack:
    """A song of `separation_coreml.stems`."""

    seconds: float
    seed: int

    @property
    def name(self) -> str:
        """As `render-stems` calls it."""
        return f"song-{self.seed:04d}"

    @property
    def made_from(self) -> str:
        """Length and seed."""
        return repr((self.seconds, self.seed))

    def load(self) -> Loaded:
        """Render it."""
        stems = render(self.seconds, self.seed)
        tensors = {name: torch.from_numpy(stems[name]) for name in STEMS}
        return Loaded(torch.from_numpy(mix(stems)), tensors, SAMPLE_RATE)


def find_tracks(config: EvaluateConfig, folder: str | Path | None) -> Sequence[Track]:
    """The songs of an evaluation.

    Args:
        config: Rendered songs, or which part of the folder.
        folder: Of a data set; None for rendered songs.

    Raises:
        ConfigError: If both or neither are given, or the folder holds no such songs.
    """
    if (folder is None) == (config.rendered is None):
        found = "neither" if folder is None else "both"
        raise ConfigError("data", f"{found} a data set and rendered songs", "one of --data and --rendered")
    if config.rendered is not None:
        count = min(config.rendered, config.limit or config.rendered)
        return [RenderedTrack(config.seconds, config.seed + index) for index in range(count)]
    assert folder is not None
    place = _subset(Path(folder), config.subset)
    folders = sorted(path.parent for path in place.rglob(_MIXTURE))
    if not folders:
        raise ConfigError("data", f"no {_MIXTURE} below {place}", "folders with mixture.wav and its stems")
    return [FolderTrack(path) for path in folders[: config.limit]]


def _subset(folder: Path, subset: Subset) -> Path:
    if not folder.is_dir():
        raise ConfigError("data", f"{folder}, which is no folder", "a data set laid out as MUSDB18-HQ")
    if subset == "all" or (subset == "auto" and not (folder / "test").is_dir()):
        return folder
    part = folder / ("test" if subset == "auto" else subset)
    if not part.is_dir():
        raise ConfigError("subset", repr(subset), f"a folder of that name in {folder}")
    return part
