"""The accuracy of a network on its own, frame by frame: quick enough to follow a training."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from audio_io.errors import ConfigError
from pitch.constants import SAMPLE_RATE
from pitch.core import periodicity, preprocess
from pitch.decode import local_average
from pitch.evaluate.examples import Example, Floats
from pitch.evaluate.metrics import Tally, at_times

HOP_LENGTH = 160  # samples at 16 kHz
BATCH_SIZE = 128


@dataclass(frozen=True)
class NetworkScores:
    """Counts over a data set, and over each of its groups.

    Attributes:
        total: Over all examples.
        groups: By kind and name of group, such as `groups["snr"]["10 dB"]`.
        by_family_and_level: By `(family, snr)`, for the generated set; otherwise empty.
    """

    total: Tally
    groups: dict[str, dict[str, Tally]]
    by_family_and_level: dict[tuple[str, str], Tally]

    def accuracies(self) -> dict[str, float]:
        """Raw pitch accuracy at 50 cents, flat, for a log: `{"all": …, "snr/10 dB": …}`."""
        flat = {"all": self.total.accuracy()}
        for kind, names in self.groups.items():
            flat |= {f"{kind}/{name}": tally.accuracy() for name, tally in names.items()}
        flat |= {f"{family}/{level}": t.accuracy() for (family, level), t in self.by_family_and_level.items()}
        return flat


def score_network(
    network: nn.Module,
    examples: Iterable[Example],
    *,
    threshold: float = 0.5,
    batch_size: int = BATCH_SIZE,
) -> NetworkScores:
    """Scores of a network's most likely bins, averaged with their neighbours, without any path.

    The network is put into evaluation mode and back into the one it was in.

    Args:
        network: From normalised frames `[N, 1024]` to posteriors `[N, 360]`, on any device.
        examples: Such as `generated_set()`.
        threshold: Least posterior of a voiced frame.
        batch_size: Frames that go through the network at once.

    Raises:
        AudioError: If an example is a file that cannot be used.
        ConfigError: If an example has no true pitch.
    """
    parameter = next(network.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    was_training = network.training
    network.eval()
    total = Tally.nothing()
    groups: dict[str, dict[str, Tally]] = {}
    pairs: dict[tuple[str, str], Tally] = {}
    try:
        for example in examples:
            tally = _tally(network, example, device, threshold, batch_size)
            total += tally
            for kind, name in example.groups.items():
                names = groups.setdefault(kind, {})
                names[name] = names.get(name, Tally.nothing()) + tally
            if "family" in example.groups and "snr" in example.groups:
                pair = (example.groups["family"], example.groups["snr"])
                pairs[pair] = pairs.get(pair, Tally.nothing()) + tally
    finally:
        network.train(was_training)
    return NetworkScores(total, groups, pairs)


@torch.inference_mode()
def posteriors(
    network: nn.Module, audio: Tensor, device: torch.device, batch_size: int = BATCH_SIZE
) -> Tensor:
    """The network's output every 10 ms, 144 kB for a second of sound; frame k is centred on k times that.

    Shape:
        - audio: `[1, T]`, at 16 kHz
        - Output: `[1, 360, N]`, on the CPU
    """
    batches = preprocess(audio, SAMPLE_RATE, HOP_LENGTH, batch_size, device)
    return torch.cat([network(frames).float().cpu() for frames in batches]).T[None]


def most_likely(output: Tensor) -> tuple[Tensor, Tensor]:
    """The most likely bin of each frame on its own, and the mean of the bins around it, as the paper has it.

    Unlike `decode.weighted_argmax` the mean is weighted by the network's output itself.

    Shape:
        - output: `[B, 360, N]`, -inf where a bin is not allowed
        - Output: bins and pitch in Hz, each `[B, N]`
    """
    bins = output.argmax(dim=1)
    return bins, local_average(output, bins)


def frame_times(count: int) -> Floats:
    """Centres of the first frames, in s.

    Shape:
        - Output: `[count]`
    """
    return np.arange(count, dtype=np.float64) * HOP_LENGTH / SAMPLE_RATE


def _tally(
    network: nn.Module, example: Example, device: torch.device, threshold: float, batch_size: int
) -> Tally:
    if example.truth is None:
        raise ConfigError("examples", f"{example.name} without a true pitch", "examples with one")
    output = posteriors(network, example.audio(), device, batch_size)  # [1, 360, N]
    bins, pitch = most_likely(output)
    voiced = periodicity(output, bins)[0].numpy() >= np.float32(threshold)
    truth = example.truth()
    frequency, called = at_times(truth.times, frame_times(len(voiced)), pitch[0].double().numpy(), voiced)
    return Tally.count(frequency, called, truth.frequency)
