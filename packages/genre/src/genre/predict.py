"""Genres of recordings, voted over windows that overlap. All that is needed is the checkpoint.

The probabilities of a recording are the means of those of its windows; the last window ends with the
recording, and a recording shorter than a window is padded as in training.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_io.cli import pick_device
from audio_io.errors import AudioError, AudioNotFoundError, UserError
from audio_io.files import walk
from genre import checkpoint as checkpoints
from genre.checkpoint import Checkpoint
from genre.config import STEMS, FeatureConfig, SeparationConfig
from genre.dataset import Stems
from genre.features import StemMel, picture
from genre.layouts import Track, has_stems
from genre.run_config import PredictConfig
from genre.separate import ReadyStems, Separator, open_separator

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """What the network says about a recording.

    Attributes:
        labels: Names of the genres.
        probabilities: Of each genre, `[C]`; they add up to 1.
        windows: The same for each window, `[W, C]`.
        starts: Where the windows begin, in s.
    """

    labels: tuple[str, ...]
    probabilities: Probabilities
    windows: Probabilities
    starts: tuple[float, ...]

    @property
    def label(self) -> str:
        """The most probable genre."""
        return self.labels[int(self.probabilities.argmax())]


class Predictor:
    """A trained network with what it takes to use it.

    Args:
        checkpoint: From `genre.checkpoint.load`.
        config: Windows.
        device: See `audio_io.cli.pick_device`.
        separation: How recordings become stems, if not as in training.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: PredictConfig | None = None,
        *,
        device: str = "auto",
        separation: SeparationConfig | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.config = PredictConfig() if config is None else config
        self.device = pick_device(device)
        self.separation = checkpoint.separation if separation is None else separation
        self.network = checkpoint.network().to(self.device)
        self.mel = StemMel(checkpoint.features)
        self._separator: Separator | None = None

    @classmethod
    def load(
        cls,
        path: str | Path,
        config: PredictConfig | None = None,
        *,
        device: str = "auto",
        separation: SeparationConfig | None = None,
    ) -> "Predictor":
        """The predictor of a file.

        Raises:
            FileError: If it is no checkpoint.
        """
        return cls(checkpoints.load(path), config, device=device, separation=separation)

    def predict(self, source: str | Path | Track, stems: Stems | None = None) -> Prediction:
        """Genres of a recording.

        Args:
            source: A sound file, a folder of ready-made stems, or a track.
            stems: Where the stems of a track are read; they are made anew if None.

        Raises:
            AudioError: If the recording cannot be used.
            WeightsNotFoundError: If Demucs is needed and its weights cannot be had.
        """
        if stems is not None:
            assert isinstance(source, Track)
            return self.predict_stems(torch.from_numpy(stems.read(source)))
        return self.predict_stems(self.read_stems(source.path if isinstance(source, Track) else source))

    def read_stems(self, source: str | Path) -> Tensor:
        """Stems of a recording: read where they are ready-made, else separated.

        Args:
            source: A sound file or a folder of ready-made stems.

        Raises:
            AudioError: If the recording cannot be used.
            WeightsNotFoundError: If Demucs is needed and its weights cannot be had.

        Shape:
            - output: `[4, N]`, in the order of `genre.config.STEMS`, at the rate of the features
        """
        path = Path(source)
        if path.is_dir():
            if not has_stems(path) and self.separation.separator == "stems":
                raise AudioNotFoundError(path, "a folder without stems", "a file for each of the four stems")
            if self.separation.separator != "none":
                # Better than what Demucs would make of their sum.
                return ReadyStems(self.checkpoint.features.sample_rate)(path)
        if self._separator is None:
            self._separator = open_separator(
                self.separation, self.checkpoint.features, device=str(self.device)
            )
        return self._separator(path)

    def predict_stems(self, stems: Tensor) -> Prediction:
        """Genres of stems at the rate of the features.

        Args:
            stems: In the order of `genre.config.STEMS`, full scale ±1.

        Shape:
            - stems: `[4, N]` with any `N` above 0
        """
        features = self.checkpoint.features
        starts = window_starts(stems.shape[-1], features, self.config.window_overlap)
        batches = []
        size = self.config.window_batch
        for first in range(0, len(starts), size):
            windows = [stems[:, start : start + features.samples] for start in starts[first : first + size]]
            batches.append(self.probabilities(torch.stack(windows)))
        windows_ = torch.cat(batches).numpy()
        seconds = tuple(start / features.sample_rate for start in starts)
        return Prediction(self.checkpoint.labels, windows_.mean(axis=0), windows_, seconds)

    def probabilities(self, windows: Tensor) -> Tensor:
        """Probabilities of windows of equal length.

        Shape:
            - windows: `[W, 4, N]`
            - output: `[W, C]`, on the CPU
        """
        checkpoint = self.checkpoint
        with torch.inference_mode():
            pictures = picture(self.mel(windows), checkpoint.statistics, checkpoint.features)
            logits = self.network(pictures.to(self.device)).float()
            return torch.softmax(logits / checkpoint.temperature, dim=1).cpu()


def window_starts(length: int, features: FeatureConfig, overlap: float) -> list[int]:
    """First samples of the fewest windows that overlap at least as asked, spread evenly to the very end.

    Example:
        >>> seconds = FeatureConfig(sample_rate=4000, duration=1.0)
        >>> window_starts(10000, seconds, 0.5), window_starts(3000, seconds, 0.5)
        ([0, 2000, 4000, 6000], [0])
    """
    spare = length - features.samples
    if spare <= 0:
        return [0]
    count = int(np.ceil(spare / max(1.0, (1 - overlap) * features.samples)))
    return [round(index * spare / count) for index in range(count + 1)]


def find_recordings(paths: Iterable[str | Path]) -> list[Path]:
    """Sound files and folders of stems among paths and below them, in order.

    Raises:
        AudioNotFoundError: If a path does not exist, or a folder holds no recording.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            if not path.exists():
                raise AudioNotFoundError(path, "nothing", "a recording or a folder of recordings")
            found[path] = None
        elif has_stems(path):
            found[path] = None
        else:
            below = [entry.parent if has_stems(entry.parent) else entry for entry in walk(path)]
            if not below:
                raise AudioNotFoundError(path, "no sound", f"recordings, or stems: {', '.join(STEMS)}")
            found.update(dict.fromkeys(below))
    return list(found)


def nothing_usable(errors: Sequence[AudioError]) -> UserError:
    """What to raise where every recording has an error: its own if there is one recording."""
    if len(errors) == 1:
        return errors[0]
    return UserError(f"none of {len(errors)} recordings can be used (the first: {errors[0]})")


def predict_all(
    predictor: Predictor, recordings: Iterable[Path]
) -> Iterator[tuple[Path, Prediction | AudioError]]:
    """Predictions one by one; a recording that cannot be used gives its error."""
    for path in recordings:
        try:
            yield path, predictor.predict(path)
        except AudioError as error:
            yield path, error
