"""Settings of the acoustic model and its training. Free of torch, for the command line's help.

The defaults are the figures of the brief; what the brief leaves open is said to be ours.
"""

from dataclasses import dataclass
from typing import Literal

from audio_io.errors import ConfigError
from audio_io.settings import check, setting
from mri2speech.config import IMAGE_SIZE

# Name, first mel band and the band after the last, of 64.
BANDS = (("F0", 0, 6), ("F1", 6, 16), ("F2", 16, 32), ("F3", 32, 48), ("top", 48, 64))


@dataclass(frozen=True)
class AcousticConfig:
    """The architecture: a CNN for each frame, a recurrent network over the frames, a linear layer.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    backbone: str = setting("tf_efficientnetv2_b2", "name of the CNN in timm")
    stage: int = setting(
        -1, "stage of the CNN whose map is used, counted from the last; -2 is finer", minimum=-4, maximum=-1
    )
    image_size: int = setting(
        IMAGE_SIZE, "height and width to which frames are averaged first", unit="pixels", minimum=32
    )
    hidden: int = setting(640, "units of the LSTM in each direction", minimum=1)
    layers: int = setting(1, "layers of the LSTM", minimum=1)
    bidirectional: bool = setting(True, "read forwards and backwards; without, speech can be made live")
    dropout: float = setting(0.5, "share of the LSTM's outputs dropped in training", minimum=0.0, maximum=0.9)
    n_mels: int = setting(64, "mel bands", minimum=1)

    def __post_init__(self) -> None:
        check(self)
        if IMAGE_SIZE % self.image_size:
            raise ConfigError("image_size", self.image_size, f"a divisor of {IMAGE_SIZE}")


@dataclass(frozen=True)
class LossConfig:
    """The weights of `MaskedMSEMAE`. The share of the absolute error is ours.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    weight_f0: float = setting(2.0, "weight of bands 0-5, the fundamental", minimum=0.0)
    weight_f1: float = setting(3.0, "weight of bands 6-15, the first formant", minimum=0.0)
    weight_f2: float = setting(2.4, "weight of bands 16-31, the second formant", minimum=0.0)
    weight_f3: float = setting(1.6, "weight of bands 32-47, around the third formant", minimum=0.0)
    weight_top: float = setting(1.8, "weight of bands 48-63", minimum=0.0)
    time_frames: int = setting(8, "first frames that weigh more", unit="frames", minimum=0)
    time_first: float = setting(1.6, "weight of the first of them", minimum=0.0)
    time_last: float = setting(1.02, "weight of the last of them", minimum=0.0)
    ramp_steps: int = setting(
        120_000, "optimizer steps in which all weights move to their targets", unit="steps", minimum=0
    )
    mae_share: float = setting(
        0.5, "share of the absolute error, beside the squared", minimum=0.0, maximum=1.0
    )
    delta_from: float = setting(0.3, "coefficient of the first difference, at first", minimum=0.0)
    delta_to: float = setting(0.45, "coefficient of the first difference, in the end", minimum=0.0)
    accel_from: float = setting(0.1, "coefficient of the second difference, at first", minimum=0.0)
    accel_to: float = setting(0.15, "coefficient of the second difference, in the end", minimum=0.0)
    latest_from: float = setting(0.2, "coefficient of the latest frame, at first", minimum=0.0)
    latest_to: float = setting(0.4, "coefficient of the latest frame, in the end", minimum=0.0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class FitConfig:
    """How the model is trained. A window is as long as the data set says.

    `mode`, a `split` that is not random, `max_frames` and `save_every` are ours.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    mode: Literal["windows", "sequence"] = setting(
        "windows", "train on windows of a few frames, or on whole utterances, each frame encoded once"
    )
    split: Literal["random", "speaker", "utterance"] = setting(
        "random", "what is kept together when a tenth each is kept for validation and test"
    )
    max_frames: int = setting(
        128, "longest piece of an utterance, in sequence mode", unit="frames", minimum=4
    )
    batch_size: int = setting(16, "windows or utterances an optimizer step", minimum=1)
    micro_batch: int = setting(4, "windows or utterances at a time; gradients are accumulated", minimum=1)
    workers: int = setting(4, "processes that read data; 0 reads in between", minimum=0)
    prefetch: int = setting(4, "micro-batches that each of them reads ahead", minimum=1)
    pin_memory: bool = setting(True, "read into page-locked memory, for a GPU")
    learning_rate: float = setting(1e-4, "learning rate of AdamW", minimum=0.0)
    beta1: float = setting(0.9, "decay of the gradient's mean", minimum=0.0, maximum=0.9999)
    beta2: float = setting(0.999, "decay of the gradient's square", minimum=0.0, maximum=0.99999)
    epsilon: float = setting(1e-8, "least divisor of AdamW", minimum=0.0)
    weight_decay: float = setting(1e-4, "weight decay of AdamW", minimum=0.0)
    lr_factor: float = setting(0.5, "what the learning rate is multiplied by", minimum=0.01, maximum=0.99)
    lr_patience: int = setting(5, "epochs without improvement that it waits for", unit="epochs", minimum=0)
    min_lr: float = setting(1e-6, "least learning rate; training stops there", minimum=0.0)
    patience: int = setting(
        20, "validations in a row without improvement after which training stops", minimum=1
    )
    max_epochs: int = setting(4500, "most epochs", unit="epochs", minimum=1)
    clip: float = setting(1.0, "greatest norm of the gradient; 0 leaves it", minimum=0.0)
    precision: Literal["auto", "bf16", "fp16", "fp32"] = setting(
        "auto", "arithmetic; auto is bf16 where a GPU has it, fp16 on others, fp32 on a CPU"
    )
    use_checkpoint: bool = setting(False, "compute the CNN's activations again instead of storing them")
    ckpt_segments: int = setting(2, "segments of the CNN whose inputs are stored then", minimum=1)
    save_every: int = setting(200, "steps between checkpoints within an epoch", unit="steps", minimum=1)
    devices: int = setting(1, "GPUs, or processes on a CPU, on each node", minimum=1)
    nodes: int = setting(1, "machines", minimum=1)
    strategy: str = setting("auto", "how Lightning spreads the work over devices: auto, ddp")
    seed: int = setting(42, "seed of the split, the order and the dropout", minimum=0, maximum=2**31 - 1)

    def __post_init__(self) -> None:
        check(self)
