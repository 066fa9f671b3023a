"""The accuracy of a network on its own, frame by frame: quick enough to follow a training."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from audio_io.errors import ConfigError
from pitch.constants import SAMPLE_RATE
from pitch.core import normalize_frames
from pitch.decode import local_average
from pitch.evaluate.examples import Example, Floats
from pitch.evaluate.metrics import Tally, at_times
from pitch.tracking import frame_stream

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
    network: nn.Module,
    example: Example,
    device: torch.device,
    *,
    hop_length: int = HOP_LENGTH,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Tensor]:
    """The network's output for an example, batch by batch; frame k is centred on k hops.

    Shape:
        - Output: each `[N, 360]`, on the CPU
    """
    for frames in frame_stream(example.blocks(), hop_length, batch_size):
        yield network(normalize_frames(frames.to(device))).float().cpu()


def most_likely(batch: Tensor) -> tuple[Floats, Floats]:
    """Pitch in Hz and confidence of each frame on its own, as in the paper of CREPE.

    Shape:
        - batch: `[N, 360]`, -inf where a bin is not allowed
        - Output: twice `[N]`
    """
    confidence, bins = batch.max(dim=1)
    pitch = local_average(batch.T[None], bins[None])[0]
    return pitch.double().numpy(), confidence.double().numpy()


def _tally(
    network: nn.Module, example: Example, device: torch.device, threshold: float, batch_size: int
) -> Tally:
    if example.truth is None:
        raise ConfigError("examples", f"{example.name} without a true pitch", "examples with one")
    decoded = [most_likely(batch) for batch in posteriors(network, example, device, batch_size=batch_size)]
    frequency = np.concatenate([pitch for pitch, _ in decoded])
    confidence = np.concatenate([certainty for _, certainty in decoded])
    truth = example.truth()
    times = np.arange(len(frequency)) * HOP_LENGTH / SAMPLE_RATE
    pitch, voiced = at_times(truth.times, times, frequency, confidence >= threshold)
    return Tally.count(pitch, voiced, truth.frequency)
