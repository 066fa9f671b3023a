"""CREPE on a phone: the pitch of 1,024-sample frames, through the package `pitch`.

Not a separator: frames in, posteriors of 360 pitch bins out. Normalisation of the frames is part of the
graph. Weights are those of `pitch`, checked there.

Reference:
    Kim, Salamon, Li, Bello, "CREPE: A Convolutional Representation for Pitch Estimation", ICASSP 2018.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from audio_io.errors import ConfigError, UserError
from separation_coreml.registry import PITCH_MODELS, Weights

if TYPE_CHECKING:
    from pitch.export.graph import FrameGraph

SOURCE = "https://github.com/marl/crepe"
LICENCE = "MIT"
FRAME_LENGTH = 1024  # samples
SAMPLE_RATE = 16000  # Hz
HOP_LENGTH = 160  # samples; the 10 ms that CREPE's authors use
SEGMENT_SECONDS = 1.0
INPUT, OUTPUT = "frames", "posteriors"


class MissingPitchError(UserError):
    """The optional dependency `pitch` is not installed."""


def build(
    name: str,
    *,
    weights: Weights = "official",
    seed: int = 0,
    checkpoint: str | Path | None = None,
) -> "FrameGraph":
    """The network of a capacity with the normalisation of its frames, ready to run.

    Args:
        name: One of `registry.PITCH_MODELS`.
        weights: Those of `pitch.load_model`, or `random`.
        seed: For random weights.
        checkpoint: A state dict with torchcrepe's names, to use instead of the official weights.

    Raises:
        ConfigError: If the name is unknown.
        MissingPitchError: If `pitch` is not installed.
        WeightsNotFoundError: Of `pitch`, if the weights of the capacity are not on this machine.
        FileError: If the checkpoint cannot be read or is of another capacity.

    Shape:
        - input: `[N, 1024]` at 16 kHz
        - output: `[N, 360]`
    """
    if name not in PITCH_MODELS:
        raise ConfigError("model", repr(name), "one of " + ", ".join(PITCH_MODELS))
    try:
        from pitch.export.graph import FrameGraph
        from pitch.model import Crepe
        from pitch.weights import load_model
    except ImportError as error:
        raise MissingPitchError(
            f"model: {name} needs the package pitch of this workspace, which is not installed; "
            "run with the extra: uv run --package separation-coreml --extra pitch"
        ) from error
    capacity = name.removeprefix("crepe-")
    if weights == "random" and checkpoint is None:
        from separation_coreml.families.base import vary

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Crepe(capacity)
            vary(network)
    else:
        network = load_model(capacity, weights=checkpoint)
    return FrameGraph(network, "none").eval().requires_grad_(requires_grad=False)


def frame_count(segment_seconds: float | None) -> int:
    """How many frames a package takes at once, if they are 10 ms apart.

    Raises:
        ConfigError: If the segment is shorter than 10 ms.
    """
    seconds = SEGMENT_SECONDS if segment_seconds is None else segment_seconds
    count = round(seconds * SAMPLE_RATE / HOP_LENGTH)
    if count < 1:
        raise ConfigError("segment_seconds", segment_seconds, "0.01 s, one frame, or more")
    return count


def frames_of(path: str | Path, count: int) -> Tensor:
    """Frames of the middle of a recording, 10 ms apart; a shorter one is followed by silence.

    Raises:
        AudioError: If the file cannot be used.

    Shape:
        - output: `[count, 1024]` at 16 kHz
    """
    from separation_coreml.verify import excerpt

    waveform = excerpt(path, SAMPLE_RATE, 1, (count - 1) * HOP_LENGTH + FRAME_LENGTH)
    return waveform[0, 0].unfold(0, FRAME_LENGTH, HOP_LENGTH).contiguous()


def metadata(frames: int) -> dict[str, str]:
    """What an app that runs the converted network has to know, as texts."""
    from pitch.constants import CENTS_PER_BIN, FIRST_BIN_CENTS

    return {
        "kind": "pitch",
        "sample_rate": str(SAMPLE_RATE),
        "frame_length": str(FRAME_LENGTH),
        "hop_length": str(HOP_LENGTH),
        "frames": str(frames),
        # Above 10 Hz: frequency = 10 * 2 ** (cents / 1200).
        "cents_of_first_bin": str(FIRST_BIN_CENTS),
        "cents_per_bin": str(CENTS_PER_BIN),
    }
