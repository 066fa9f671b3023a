"""What is evaluated: a sound, its true pitch, and the groups it belongs to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import audio_io
from audio_io.files import Channels
from pitch.constants import SAMPLE_RATE

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """The true pitch of a sound.

    Attributes:
        times: In s, in ascending order.
        frequency: In Hz, 0 where there is none.

    Shape:
        both `[K]`
    """

    times: Floats
    frequency: Floats


@dataclass(frozen=True)
class Example:
    """One sound with its true pitch; both are read when they are asked for.

    Attributes:
        name: Unique within its data set; a path below it, with `/`.
        sound: An audio file, or a function that makes samples at 16 kHz, `[T]`.
        truth: Gives the true pitch; None where it is not known.
        channel: Channel of the file; None mixes all.
        groups: What the scores are grouped by, such as `{"family": "sung", "snr": "10 dB"}`.
        identity: What changes when a made sound or the labels do; the audio file is told by size and time.
    """

    name: str
    sound: Path | Callable[[], Floats]
    truth: Callable[[], Truth] | None
    channel: int | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""

    def audio(self) -> Tensor:
        """The sound at 16 kHz, one channel.

        Shape:
            - Output: `[1, T]`

        Raises:
            AudioError: If the file cannot be used.
        """
        if not isinstance(self.sound, Path):
            return torch.from_numpy(self.sound()).float()[None]
        channels: Channels = "mono" if self.channel is None else self.channel
        return audio_io.load(self.sound, sample_rate=SAMPLE_RATE, channels=channels)[0]
