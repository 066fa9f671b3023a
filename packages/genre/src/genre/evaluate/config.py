"""Settings of cross-validation. Free of torch and numpy, for the command line's help."""

from dataclasses import dataclass
from typing import Literal, get_args

from audio_io.errors import ConfigError
from audio_io.settings import check, setting

By = Literal["artist", "random"]
WAYS: tuple[By, ...] = get_args(By)


@dataclass(frozen=True)
class FoldConfig:
    """How many networks are trained and tested.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    folds: int = setting(5, "parts of the corpus, each tested by a network that has not heard it", minimum=2)
    max_folds: int = setting(0, "train and test only the first folds, this many; 0 for all", minimum=0)
    ensemble: int = setting(
        1, "networks a fold, with the seeds seed, seed + 1 and so on; their probabilities are averaged",
        minimum=1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)
        if self.max_folds > self.folds:
            raise ConfigError("max_folds", self.max_folds, f"at most folds, {self.folds}")


@dataclass(frozen=True)
class EvaluateConfig(FoldConfig):
    """Cross-validation.

    The folds are drawn with `seed` of `genre.config.TrainConfig`, and its `test_size` is the share of the
    training part of a fold that chooses the epoch and the temperature.

    Attributes:
        by: The ways of splitting, each evaluated for itself: `artist` keeps the tracks of an artist in one
            fold, `random` does not.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    by: tuple[By, ...] = WAYS

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.by or len(set(self.by)) < len(self.by) or not set(self.by) <= set(WAYS):
            raise ConfigError("by", " ".join(self.by) or "nothing", "one or both of " + ", ".join(WAYS))
