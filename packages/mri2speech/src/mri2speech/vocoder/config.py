"""HiFi-GAN's `config.json`, and the settings of a training run. Free of torch, for the command line's help.

`VocoderConfig` has the fields of the original project's file under their own names
(github.com/jik876/hifi-gan, `config_v1.json` and the code that reads it); keys that it does not know are kept
and written back. The defaults are those of the brief where it gives one, V1's elsewhere.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from audio_io.atomic import write_json
from audio_io.errors import ConfigError, FileError
from audio_io.settings import check, setting
from mri2speech.config import MelConfig

Precision = Literal["float32", "bfloat16"]

CONFIG_NAME = "config.json"


@dataclass(frozen=True)
class VocoderConfig:
    """The networks, the mel and the optimiser of a HiFi-GAN.

    The kernels of the transposed convolutions are not in the brief. Ours are multiples of the rates, which
    leaves no checkerboard (Odena et al., "Deconvolution and checkerboard artifacts", 2016), and their
    difference to the rates is even, as the original's padding `(k - r) // 2` needs for an output of exactly
    r times the input. Kernels of an odd difference are taken too: see `generator.Generator`.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    resblock: Literal["1", "2"] = setting("1", "residual block: 1 of V1 and V2, 2 of V3")
    upsample_rates: tuple[int, ...] = setting((10, 7, 3, 2), "factors of the upsampling")
    upsample_kernel_sizes: tuple[int, ...] = setting((20, 21, 9, 4), "kernels of the upsampling")
    upsample_initial_channel: int = setting(512, "channels before the upsampling", minimum=1)
    resblock_kernel_sizes: tuple[int, ...] = setting((3, 7, 11), "kernels of the residual blocks")
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = setting(((1, 3, 5),) * 3, "their dilations")
    segment_size: int = setting(8400, "length of a training segment", unit="samples", minimum=1)
    num_mels: int = setting(64, "mel bands", minimum=1)
    n_fft: int = setting(2048, "length of the transform", unit="samples", minimum=16)
    hop_size: int = setting(420, "step between mel frames", unit="samples", minimum=1)
    win_size: int = setting(2048, "length of the window", unit="samples", minimum=16)
    sampling_rate: int = setting(11413, "sample rate", unit="Hz", minimum=2000)
    fmin: float = setting(0.0, "lower edge of the lowest band", unit="Hz", minimum=0.0)
    fmax: float | None = setting(None, "upper edge of the highest band; none is half the rate", unit="Hz")
    preemphasis: float = setting(0.97, "pre-emphasis before the mel", minimum=0.0, maximum=0.999)
    batch_size: int = setting(16, "segments in a batch", minimum=1)
    learning_rate: float = setting(5e-5, "AdamW's at the start", minimum=0.0)
    adam_b1: float = setting(0.8, "AdamW's first beta", minimum=0.0, maximum=0.9999)
    adam_b2: float = setting(0.99, "AdamW's second beta", minimum=0.0, maximum=0.99999)
    lr_decay: float = setting(0.999, "factor of the learning rate per epoch", minimum=0.0, maximum=1.0)
    seed: int = setting(1234, "seed of weights and data", minimum=0)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)
        for name in ("upsample_rates", "upsample_kernel_sizes", "resblock_kernel_sizes"):
            values = getattr(self, name)
            if not values or any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in values):
                raise ConfigError(name, list(values), "whole numbers of at least 1")
        if math.prod(self.upsample_rates) != self.hop_size:
            raise ConfigError(
                "upsample_rates", list(self.upsample_rates), f"factors of {self.hop_size}, hop_size"
            )
        if len(self.upsample_kernel_sizes) != len(self.upsample_rates):
            raise ConfigError(
                "upsample_kernel_sizes",
                list(self.upsample_kernel_sizes),
                f"{len(self.upsample_rates)} numbers",
            )
        for kernel, rate in zip(self.upsample_kernel_sizes, self.upsample_rates, strict=True):
            if kernel < rate:
                raise ConfigError("upsample_kernel_sizes", kernel, f"at least the upsampling rate, {rate}")
        self._check_residual_blocks()
        if self.upsample_initial_channel % 2 ** len(self.upsample_rates):
            raise ConfigError(
                "upsample_initial_channel",
                self.upsample_initial_channel,
                f"a multiple of {2 ** len(self.upsample_rates)}",
            )
        if self.segment_size % self.hop_size:
            raise ConfigError("segment_size", self.segment_size, f"a multiple of hop_size, {self.hop_size}")
        _ = self.mel  # its own checks

    def _check_residual_blocks(self) -> None:
        if any(kernel % 2 == 0 for kernel in self.resblock_kernel_sizes):
            raise ConfigError("resblock_kernel_sizes", list(self.resblock_kernel_sizes), "odd numbers")
        wanted = 3 if self.resblock == "1" else 2
        sizes = [len(dilations) for dilations in self.resblock_dilation_sizes]
        if len(sizes) != len(self.resblock_kernel_sizes) or any(size < wanted for size in sizes):
            raise ConfigError(
                "resblock_dilation_sizes",
                [list(dilations) for dilations in self.resblock_dilation_sizes],
                f"{wanted} dilations for each of the {len(self.resblock_kernel_sizes)} kernels",
            )

    @property
    def mel(self) -> MelConfig:
        """The mel that the generator takes, which is the one that the acoustic model gives."""
        return MelConfig(
            sample_rate=self.sampling_rate,
            n_mels=self.num_mels,
            n_fft=self.n_fft,
            win_length=self.win_size,
            hop_length=self.hop_size,
            preemphasis=self.preemphasis,
            fmin=self.fmin,
            fmax=self.fmax,
        )

    def require_mel(self, mel: MelConfig) -> None:
        """Refuse to speak other mels than those that the generator takes.

        Raises:
            ConfigError: If `mel` is another; the sentence names the first setting that differs.
        """
        if differs := self.mel.difference(mel):
            raise ConfigError("vocoder", f"one of {differs[0]}", f"{differs[1]}, as the mels have it")

    @property
    def segment_frames(self) -> int:
        """Mel frames of a training segment, 20 with the defaults."""
        return self.segment_size // self.hop_size

    def save(self, path: str | Path) -> None:
        """Write `config.json`."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        unknown = values.pop("extra")
        write_json(path, {**values, **unknown})

    @classmethod
    def load(cls, path: str | Path) -> "VocoderConfig":
        """Read a `config.json`, ours or the original project's.

        Raises:
            FileError: If it is missing, is no JSON object, or has a value that cannot be used.
        """
        wanted = "a config.json of HiFi-GAN"
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise FileError(path, "no such file", wanted) from error
        except ValueError as error:
            raise FileError(path, f"not JSON ({error})", wanted) from error
        if not isinstance(stored, dict):
            raise FileError(path, f"a {type(stored).__name__}", wanted)
        try:
            return cls.from_mapping(stored)
        except ConfigError as error:
            raise FileError(path, f"{error.field} = {error.found}", error.expected) from error
        except TypeError as error:
            raise FileError(path, f"a value of the wrong type ({error})", wanted) from error

    @classmethod
    def from_mapping(cls, stored: Mapping[str, Any]) -> "VocoderConfig":
        """The configuration of the keys of a `config.json`; those that are not fields go to `extra`."""
        known = {entry.name for entry in dataclasses.fields(cls)} - {"extra"}
        values = {key: _tuples(value) for key, value in stored.items() if key in known}
        if "resblock" in values:
            values["resblock"] = str(values["resblock"])
        return cls(**values, extra={key: value for key, value in stored.items() if key not in known})


def _tuples(value: Any) -> Any:  # noqa: ANN401 - any JSON
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class TrainConfig:
    """How a run of training goes; the rest of the original's settings are in `VocoderConfig`.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    epochs: int = setting(3100, "passes through the training list", minimum=1)
    max_steps: int | None = setting(None, "stop after this many steps", minimum=1)
    checkpoint_interval: int = setting(5000, "steps between checkpoints", minimum=1)
    validation_interval: int = setting(1000, "steps between validations", minimum=1)
    validation_recordings: int = setting(100, "recordings that are validated, the list's first", minimum=1)
    log_interval: int = setting(100, "steps between lines of the log", minimum=1)
    keep: int | None = setting(None, "checkpoints to keep, the newest; none keeps all", minimum=1)
    mel_weight: float = setting(45.0, "weight of the mel loss", minimum=0.0)
    stft_weight: float = setting(0.0, "weight of a multi-resolution STFT loss (0 in the paper)", minimum=0.0)
    adversarial_from: int = setting(0, "step at which the discriminators come in", minimum=0)
    discriminator_width: float = setting(
        1.0, "channels of the discriminators as a share of the paper's", minimum=0.03125, maximum=1.0
    )
    precision: Precision = setting("float32", "arithmetic of the networks")
    num_workers: int = setting(0, "processes that load the data", minimum=0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class VocoderData:
    """Where waveforms and mels are.

    A file list has one recording a line, of which the part before the first `|` is the name, with or without
    `.wav`. Without `mels` the mels are computed from the waveforms. With it they are read
    (`<name>.npy`, natural logarithm of the amplitude, `[num_mels, T]`), each time with probability
    `extra_mels_weight` from `extra_mels` instead.

    Attributes:
        wavs: Folder of the recordings.
        training: File list.
        validation: File list.
        mels: Folder of mels that an acoustic model predicted.
        extra_mels: Folder of ground-truth mels.
        extra_mels_weight: Share of the samples that take the ground truth, 0 to 1.

    Raises:
        ConfigError: If the weight is outside its range or `extra_mels` comes without `mels`.
    """

    wavs: Path
    training: Path
    validation: Path
    mels: Path | None = None
    extra_mels: Path | None = None
    extra_mels_weight: float = 0.8

    def __post_init__(self) -> None:
        if not 0 <= self.extra_mels_weight <= 1:
            raise ConfigError("extra_mels_weight", self.extra_mels_weight, "from 0 to 1")
        if self.extra_mels is not None and self.mels is None:
            raise ConfigError("extra_mels", self.extra_mels, "a folder of predicted mels with it (mels)")
