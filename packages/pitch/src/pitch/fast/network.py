"""The whole network on the layers of `pitch.fast.layers`."""

import torch
from torch import Tensor, nn

from pitch.config import EngineName
from pitch.constants import PITCH_BINS
from pitch.fast.layers import LAYER_DISTANCES, FirstLayer, Layer, in_order
from pitch.model import Crepe

# Frames that go through layers 2 to 6 at once: as many as keep layer 2 in the cache.
FRAMES = 32


def accelerate(network: Crepe, engine: EngineName = "auto") -> nn.Module:
    """The network to use for inference: `FastCrepe` on a CPU, the plain one elsewhere, unless named.

    GPUs have convolutions that are fast enough; there the plain network is kept.
    """
    on_cpu = network.classifier.weight.device.type == "cpu"
    return FastCrepe(network) if engine == "fast" or (engine == "auto" and on_cpu) else network


class FastCrepe(nn.Module):
    """The posteriors of a `Crepe`, several times faster on a CPU, for inference only.

    The result equals the plain network's to about 1e-6. The transformed weights take memory: 210 MB for
    `full`.

    Args:
        network: The trained network, in evaluation mode, on the CPU; it is not changed.

    Shape:
        - Input: `[N, 1024]`, each frame of zero mean and unit variance
        - Output: `[N, 360]`
    """

    def __init__(self, network: Crepe) -> None:
        super().__init__()
        self.capacity = network.capacity
        pairs = [
            (network.get_submodule(f"conv{number}"), network.get_submodule(f"conv{number}_BN"))
            for number in range(1, 7)
        ]
        # The tables are made where the weights are, whatever the default device.
        with torch.no_grad(), torch.device("cpu"):
            self.first = FirstLayer(*pairs[0])  # type: ignore[arg-type]  # by name they are what they are
            layers = zip(pairs[1:], LAYER_DISTANCES, strict=True)
            self.others = nn.Sequential(*(Layer(*pair, distances) for pair, distances in layers))  # type: ignore[arg-type]
        self.classifier = network.classifier

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Pitch posteriors."""
        posteriors = frames.new_empty(len(frames), PITCH_BINS)
        # Autocast would round some of the steps; `pitch.engine` rounds those that bear it.
        with torch.autocast("cpu", enabled=False):
            for start in range(0, len(frames), FRAMES):
                posteriors[start : start + FRAMES] = self._posteriors(frames[start : start + FRAMES])
        return posteriors

    def _posteriors(self, frames: Tensor) -> Tensor:
        logits: Tensor = self.classifier(in_order(self.others(self.first(frames))))  # [n, 360]
        return torch.sigmoid(logits)
