"""Settings of the demo. Free of torch and numpy, for the command line's help.

They are for a CPU of two cores. The brief's figures, for days on a GPU, are the defaults of
`mri2speech.acoustic.config`.
"""

from dataclasses import dataclass, replace

from audio_io.errors import ConfigError
from mri2speech.acoustic.config import AcousticConfig, FitConfig, LossConfig
from mri2speech.gradcam.config import GradcamConfig
from mri2speech.phantom.config import PhantomConfig
from mri2speech.preprocess.config import PreprocessConfig

OUTPUT_DIR = "mri2speech_demo"
_LEAST_UTTERANCES = 10


@dataclass(frozen=True)
class TuningConfig:
    """How the vocoder is fine-tuned on the mels of the acoustic model.

    Attributes:
        steps: Optimizer steps.
        batch_size: Segments in each.
        learning_rate: At the start.
        decay: Factor of the learning rate per epoch of the utterances.
        stft_weight: Of the multi-resolution STFT distance; the mel's is 45.
        truth_share: Share of the segments whose mel is the recording's own.
        save_every: Steps between checkpoints.
    """

    steps: int = 900
    batch_size: int = 8
    learning_rate: float = 4e-4
    decay: float = 0.95
    stft_weight: float = 20.0
    truth_share: float = 0.2
    save_every: int = 100


@dataclass(frozen=True)
class DemoConfig:
    """The settings of every stage.

    Attributes:
        phantom: Who speaks, and how much; a tenth of the utterances is kept for the test.
        strangers: Speakers of whom the model sees nothing; of another seed than `phantom`.
        preprocess: How films become samples.
        acoustic: What is trained.
        loss: What is minimised.
        training: How.
        tuning: How the vocoder is fine-tuned on what was trained.
        gradcam: How heat maps are made.
        shown: Utterances of each group with sound and heat maps.

    Raises:
        ConfigError: If there are too few utterances to keep a tenth, or the strangers are none.
    """

    phantom: PhantomConfig
    strangers: PhantomConfig
    preprocess: PreprocessConfig
    acoustic: AcousticConfig
    loss: LossConfig
    training: FitConfig
    tuning: TuningConfig
    gradcam: GradcamConfig
    shown: int

    def __post_init__(self) -> None:
        count = self.phantom.speakers * self.phantom.utterances
        if count < _LEAST_UTTERANCES:
            raise ConfigError("utterances", f"{count} in all", f"at least {_LEAST_UTTERANCES}")
        if self.strangers.seed == self.phantom.seed:
            raise ConfigError("strangers", f"seed {self.strangers.seed}", "another seed than the phantom's")

    def of_seed(self, seed: int) -> "DemoConfig":
        """The demo with other speakers, films, weights and split, if the seed is not the training's own."""
        if seed == self.training.seed:
            return self
        return replace(
            self,
            phantom=replace(self.phantom, seed=2 * seed),
            strangers=replace(self.strangers, seed=2 * seed + 1),
            training=replace(self.training, seed=seed),
        )


# Half precision keeps 256x256 frames of a quarter of an hour below 2 GB.
_PREPROCESS = PreprocessConfig(dtype="float16", pairs="none")
_ACOUSTIC = AcousticConfig(backbone="test_resnet", image_size=64, hidden=192, dropout=0.2)
# Its map of 8x8; the last one, 2x2, marks places that do not matter (docs/mri2speech_gradcam.md).
_GRADCAM = GradcamConfig(layer="layer2", influence="both", dtype="float16")
_LOSS = LossConfig(ramp_steps=500)
_TRAINING = FitConfig(
    mode="sequence",
    split="utterance",
    batch_size=2,
    workers=0,
    learning_rate=2e-3,
    weight_decay=1e-2,
    lr_patience=0,
    max_epochs=16,
    save_every=25,
    precision="fp32",
)

FULL = DemoConfig(
    phantom=PhantomConfig(speakers=4, utterances=40, seed=0),
    strangers=PhantomConfig(speakers=2, utterances=4, seed=1),
    preprocess=_PREPROCESS,
    acoustic=_ACOUSTIC,
    loss=_LOSS,
    training=_TRAINING,
    tuning=TuningConfig(),
    gradcam=_GRADCAM,
    shown=3,
)
# Only shows that every stage works: so short a training gives no intelligible formants.
QUICK = DemoConfig(
    phantom=PhantomConfig(speakers=2, utterances=12, seed=0),
    strangers=PhantomConfig(speakers=1, utterances=2, seed=1),
    preprocess=_PREPROCESS,
    acoustic=_ACOUSTIC,
    loss=_LOSS,
    training=replace(_TRAINING, batch_size=2, max_epochs=10, save_every=10),
    tuning=TuningConfig(steps=10, batch_size=2),
    gradcam=_GRADCAM,
    shown=1,
)
