"""Settings of features, separation and training. Free of torch and numpy, for the command line's help.

The defaults are those of the brief's tables. A TOML file has a table for each class (`[features]`,
`[separation]`, `[augment]`, `[train]`) with the fields as keys.
"""

from dataclasses import dataclass
from typing import Literal

from audio_io.errors import ConfigError
from audio_io.settings import check, setting

STEMS = ("vocals", "drums", "bass", "other")  # order of the channels
GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")

Reference = Literal["stem", "common"]
Image = Literal["resize", "native"]
Separation = Literal["demucs", "stems", "none"]


@dataclass(frozen=True)
class FeatureConfig:
    """From stems to the picture that the network sees.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    sample_rate: int = setting(22050, "sample rate of the stems", unit="Hz", minimum=4000)
    n_mels: int = setting(128, "mel bands", minimum=8)
    n_fft: int = setting(2048, "length of the transform", unit="samples", minimum=64)
    hop_length: int = setting(512, "step between frames", unit="samples", minimum=1)
    duration: float = setting(30.0, "length of the window that is classified", unit="s", minimum=0.5)
    reference: Reference = setting(
        "common", "what 0 dB is: the loudest value of each stem, or of the four stems together"
    )
    image: Image = setting("resize", "resize to image_size x image_size, or native: n_mels x frames")
    image_size: int = setting(600, "height and width of the resized picture", unit="pixels", minimum=32)

    def __post_init__(self) -> None:
        check(self)
        if self.hop_length > self.n_fft:
            raise ConfigError("hop_length", self.hop_length, f"at most n_fft, {self.n_fft}")

    @property
    def samples(self) -> int:
        """Length of the window in samples."""
        return round(self.duration * self.sample_rate)

    @property
    def frames(self) -> int:
        """Frames of the window."""
        return 1 + self.samples // self.hop_length


@dataclass(frozen=True)
class SeparationConfig:
    """How a recording becomes four stems, and where they are kept.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    separator: Separation = setting(
        "demucs", "demucs separates; stems reads ready-made ones (MUSDB layout); none repeats the mixture"
    )
    separation_model: str = setting("htdemucs", "name of the Demucs model")
    separation_repo: str | None = setting(None, "folder with the model's files, instead of the network")
    separation_cache_dir: str = setting("data/separated", "where the stems are kept, a .npz a track")
    overlap: float = setting(0.25, "share of a segment that the next one covers again", minimum=0.0)

    def __post_init__(self) -> None:
        check(self)
        if not 0 <= self.overlap < 1:
            raise ConfigError("overlap", self.overlap, "from 0 to below 1")


@dataclass(frozen=True)
class AugmentConfig:
    """What training pictures are varied by; each with its own probability and alike in all four stems.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    augment_mode: Literal["mel", "waveform", "none"] = setting(
        "mel", "vary the mel spectrogram (fast), the waveform (as the brief), or nothing"
    )
    augment_probability: float = setting(0.5, "probability of each variation", minimum=0.0, maximum=1.0)
    augment_pitch_shift: bool = setting(True, "shift the pitch")
    augment_time_stretch: bool = setting(True, "stretch the time")
    augment_add_noise: bool = setting(True, "add Gaussian noise")
    augment_time_shift: bool = setting(True, "shift in time")
    augment_time_masking: bool = setting(True, "mask a span of time")
    augment_frequency_masking: bool = setting(True, "mask a band of frequencies")
    pitch_semitones: float = setting(2.0, "greatest shift of the pitch", unit="semitones", minimum=0.0)
    stretch_low: float = setting(0.8, "least stretching of the tempo", minimum=0.1)
    stretch_high: float = setting(1.2, "greatest stretching of the tempo", minimum=0.1)
    shift_seconds: float = setting(0.2, "greatest shift in time", unit="s", minimum=0.0)
    noise_level: float = setting(0.005, "standard deviation of the noise, full scale 1", minimum=0.0)
    mask_share: float = setting(0.1, "greatest share of an axis that a mask covers", minimum=0.0, maximum=1.0)
    swap_stems: float = setting(
        0.0, "probability that a stem comes from another track of the genre", minimum=0.0, maximum=1.0
    )
    drop_stems: float = setting(0.0, "probability that a stem is silent", minimum=0.0, maximum=1.0)
    stem_level: float = setting(0.0, "standard deviation of the level of each stem", unit="dB", minimum=0.0)
    tilt: float = setting(
        0.0,
        "standard deviation of a change in slope of all spectra, at the highest and lowest band",
        unit="dB",
        minimum=0.0,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.stretch_low > self.stretch_high:
            raise ConfigError("stretch_low", self.stretch_low, f"at most stretch_high, {self.stretch_high}")


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    seed: int = setting(42, "seed of everything that is drawn", minimum=0)
    backbone: str = setting(
        "efficientnet_b3", "torchvision's name of the network, an EfficientNet or MobileNet"
    )
    weights: str = setting("imagenet", "imagenet, none, or the path of torchvision weights")
    frozen_stages: int = setting(6, "leading stages of `features` that are not trained", minimum=0, maximum=9)
    batch_size: int = setting(24, "tracks a step; 0 finds the greatest that fits", minimum=0)
    epochs: int = setting(50, "most epochs", minimum=1)
    lr: float = setting(2e-4, "learning rate of AdamW", minimum=0.0)
    min_lr: float = setting(1e-6, "learning rate at the end of the cosine", minimum=0.0)
    weight_decay: float = setting(1e-4, "weight decay of AdamW", minimum=0.0)
    test_size: float = setting(0.1, "share of the tracks kept for validation", minimum=0.01, maximum=0.9)
    patience: int = setting(10, "epochs without improvement after which training stops", minimum=1)
    use_amp: bool = setting(True, "mixed precision on CUDA")
    num_workers: int = setting(2, "processes that load tracks; 0 loads in between", minimum=0)
    load_optimizer_state: bool = setting(True, "resume with the optimizer's state")
    load_scheduler_state: bool = setting(True, "resume with the scheduler's state")

    def __post_init__(self) -> None:
        check(self)
