"""Loading under torchcrepe's names: `load.audio` and `load.model`."""

from pathlib import Path

import torch
from torch import Tensor

import audio_io
from pitch.core import preload


def audio(filename: str | Path) -> tuple[Tensor, int]:
    """All channels of an audio file as `[C, T]`, and the sample rate in Hz; see `audio_io.load`.

    Raises:
        AudioError: If the file cannot be used.
    """
    return audio_io.load(filename)


def model(device: str | torch.device, capacity: str = "full") -> None:
    """Load the weights of a capacity ahead of the first prediction.

    Raises:
        ConfigError: If the capacity does not exist.
        WeightsNotFoundError: If its weights are not installed.
    """
    preload(capacity, device)
