"""Settings of the demo. Free of torch and numpy, for the command line's help.

They are for a CPU of two cores and for networks that start from random weights. The brief's figures, for
EfficientNet-B3 with ImageNet weights, are the defaults of `genre.config`.
"""

from dataclasses import dataclass, replace

from genre.config import AugmentConfig, FeatureConfig, Separation, TrainConfig
from genre.corpus.config import DemoConfig
from genre.evaluate.config import EvaluateConfig
from genre.run_config import Settings

OUTPUT_DIR = "genre_demo"
# What the channels of each model are; the first model is compared with the second.
MODELS: dict[str, Separation] = {"four stems": "stems", "mixture": "none"}


@dataclass(frozen=True)
class Plan:
    """The settings of every stage.

    Attributes:
        corpus: What is rendered.
        settings: Of both models, but for the separator and its cache.
        evaluate: Folds and seeds.
    """

    corpus: DemoConfig
    settings: Settings
    evaluate: EvaluateConfig

    def varied(
        self, seed: int | None = None, ensemble: int | None = None, corpus_seed: int | None = None
    ) -> "Plan":
        """The same with other networks, or other songs.

        Args:
            seed: Of the folds and of the first network of each.
            ensemble: Networks a fold, with the seeds `seed`, `seed + 1` and so on.
            corpus_seed: Of artists and songs.

        Raises:
            ConfigError: If a value cannot be used; it names the field.
        """
        corpus, train, test = self.corpus, self.settings.train, self.evaluate
        return replace(
            self,
            corpus=replace(corpus, seed=corpus.seed if corpus_seed is None else corpus_seed),
            settings=replace(self.settings, train=replace(train, seed=train.seed if seed is None else seed)),
            evaluate=replace(test, ensemble=test.ensemble if ensemble is None else ensemble),
        )


# Half of the brief's mel bands and a frame every 93 ms; the window is a whole song.
_FEATURES = FeatureConfig(n_mels=64, hop_length=2048, duration=8.0, image="native")
# Few artists are many when each song mixes their stems at other levels. Without changes of pitch, tempo and
# time, mel spectrograms are computed once.
_AUGMENT = AugmentConfig(
    augment_pitch_shift=False,
    augment_time_stretch=False,
    augment_time_shift=False,
    augment_add_noise=False,
    swap_stems=0.5,
    stem_level=3.0,
    tilt=4.0,
)
_TRAIN = TrainConfig(
    backbone="mobilenet_v3_small",
    weights="none",
    frozen_stages=0,
    batch_size=32,
    epochs=36,
    patience=36,
    lr=4e-3,
    weight_decay=0.05,
    test_size=1 / 9,
    num_workers=0,
)

FULL = Plan(
    corpus=DemoConfig(songs=6),
    settings=Settings(features=_FEATURES, augment=_AUGMENT, train=_TRAIN),
    evaluate=EvaluateConfig(folds=10, max_folds=2, ensemble=2, by=("artist",)),
)
# Only shows that every stage works.
QUICK = Plan(
    corpus=DemoConfig(artists=4, songs=2),
    settings=Settings(
        features=_FEATURES, augment=_AUGMENT, train=replace(_TRAIN, epochs=8, patience=8, test_size=0.3)
    ),
    evaluate=EvaluateConfig(folds=4, max_folds=1, by=("artist",)),
)
