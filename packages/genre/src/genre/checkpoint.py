"""The file of a trained network: weights, and everything that prediction needs besides.

It is read by `torch.load(weights_only=True)`, so opening somebody else's checkpoint runs no code.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audio_io.atomic import atomic_path
from audio_io.errors import ConfigError, FileError
from genre.config import STEMS, FeatureConfig, SeparationConfig, TrainConfig
from genre.features import Statistics
from genre.model import GenreNet

FORMAT = "genre checkpoint 1"


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and its settings.

    Attributes:
        features: How stems become pictures.
        separation: How recordings became stems.
        train: Backbone, and how it was trained.
        labels: Names of the genres, in the order of the outputs.
        statistics: Of the training tracks.
        state: Weights, as `GenreNet.state_dict` gives them.
        temperature: By which logits are divided before the softmax; 1 if nobody has calibrated it.
        training: Ids of the tracks that were trained on.
        validation: Ids of the tracks that chose the epoch and the temperature; empty in files of before they
            were kept.
        digests: What tells the recordings of both by their content, by id; empty in files of before they were
            kept.
        scores: What was measured on the validation tracks.
    """

    features: FeatureConfig
    separation: SeparationConfig
    train: TrainConfig
    labels: tuple[str, ...]
    statistics: Statistics
    state: Mapping[str, Tensor]
    temperature: float = 1.0
    training: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)

    def network(self) -> GenreNet:
        """The network, in evaluation mode.

        Raises:
            ConfigError: If the weights are of another network.
        """
        network = GenreNet(self.train, len(self.labels))
        try:
            network.load_state_dict(dict(self.state))
        except RuntimeError as error:
            raise ConfigError("backbone", "weights of another network", self.train.backbone) from error
        return network.eval()


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically.

    Args:
        path: The file; `.pth` by custom.
        checkpoint: What to write.

    Raises:
        OSError: If it cannot be written; it carries the name of the file.
    """
    content = {
        "format": FORMAT,
        "stems": list(STEMS),
        "features": dataclasses.asdict(checkpoint.features),
        "separation": dataclasses.asdict(checkpoint.separation),
        "train": dataclasses.asdict(checkpoint.train),
        "labels": list(checkpoint.labels),
        "statistics": dataclasses.asdict(checkpoint.statistics),
        "temperature": checkpoint.temperature,
        "training": list(checkpoint.training),
        "validation": list(checkpoint.validation),
        "digests": dict(checkpoint.digests),
        "scores": dict(checkpoint.scores),
        "state": {name: value.detach().cpu() for name, value in checkpoint.state.items()},
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: A file that `save` has written.

    Raises:
        FileError: If there is none, or it is damaged or of another program.
    """
    source = Path(path)
    expected = "a checkpoint of genre, such as best_model.pth"
    if not source.is_file():
        raise FileError(source, "a folder" if source.is_dir() else "nothing", expected)
    try:
        content: Any = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # the kinds that a damaged file raises are many
        raise FileError(source, f"a file that cannot be read ({type(error).__name__})", expected) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FileError(source, "a file of another kind", expected)
    try:
        checkpoint = Checkpoint(
            features=FeatureConfig(**content["features"]),
            separation=SeparationConfig(**content["separation"]),
            train=TrainConfig(**content["train"]),
            labels=tuple(content["labels"]),
            statistics=Statistics(**{key: tuple(value) for key, value in content["statistics"].items()}),
            state=content["state"],
            temperature=float(content["temperature"]),
            training=tuple(content["training"]),
            validation=tuple(content.get("validation", ())),
            digests=dict(content.get("digests", {})),
            scores=content["scores"],
        )
        stems = content["stems"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(source, f"a checkpoint with other settings ({error})", expected) from error
    if fault := _fault(checkpoint, stems):
        raise FileError(source, fault, expected)
    return checkpoint


def _fault(checkpoint: Checkpoint, stems: object) -> str | None:
    """Why a network would say nothing, or something wrong."""
    numbers = (*checkpoint.statistics.mean, *checkpoint.statistics.std, checkpoint.temperature)
    state = checkpoint.state
    has_weights = isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())
    if stems != list(STEMS):
        return f"the stems {stems}"
    if not has_weights:
        return "no weights"
    if len(numbers) != 2 * len(STEMS) + 1:
        return f"statistics of other than {len(STEMS)} stems"
    if min(*checkpoint.statistics.std, checkpoint.temperature) <= 0:
        return "a standard deviation or a temperature that is not above 0"
    if not all(map(math.isfinite, numbers)) or not all(value.isfinite().all() for value in state.values()):
        return "numbers that are NaN or infinite"
    return None
