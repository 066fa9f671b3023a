"""Does a map depend on what the model has learned?

The weights are destroyed from the output to the input, part by part, and the maps are compared with those of
the trained model: a map that stays the same shows the image, not the model (J. Adebayo et al., "Sanity checks
for saliency maps", NeurIPS 2018, cascading randomisation). A tensor's weights are shuffled instead of drawn
anew, which keeps their sizes, so that activations neither vanish nor grow.
"""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from mri2speech.acoustic.model import AcousticModel


def cascade(model: AcousticModel, seed: int) -> Iterator[tuple[str, AcousticModel]]:
    """The model with more and more of it destroyed, from the output to the input.

    Args:
        model: Which stays as it is.
        seed: Of the shuffles.

    Yields:
        Name of the part that was destroyed last, and the model, which is the same object each time.
    """
    broken = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for name, part in parts(broken):
        with torch.no_grad():
            for weights in part.parameters():
                order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
                weights.copy_(weights.flatten()[order].view_as(weights))
        yield name, broken


def parts(model: AcousticModel) -> list[tuple[str, nn.Module]]:
    """Parts of the model that have weights, from the output to the input."""
    found: list[tuple[str, nn.Module]] = [("head", model.head), ("lstm", model.lstm)]
    inner: list[tuple[str, nn.Module]] = []
    for name, child in model.backbone.named_children():
        if name == "blocks":
            inner += [(f"blocks.{key}", stage) for key, stage in child.named_children()]
        else:
            inner.append((name, child))
    found += [(name, child) for name, child in reversed(inner) if any(True for _ in child.parameters())]
    return found
