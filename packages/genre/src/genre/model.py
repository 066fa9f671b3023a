"""EfficientNet on four channels, with leading stages that stay as they are.

Freezing is complete: no gradients, no change of the weights, and BatchNorm keeps its statistics in training
too, where `Module.train` alone would let them drift. What is frozen runs without autograd and with its
BatchNorm folded into the convolutions.

References: M. Tan and Q. Le, "EfficientNet", 2019; `torchvision.models.efficientnet`.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from audio_io.errors import ConfigError, FileError, UserError
from genre.config import STEMS, TrainConfig

HIDDEN = 512
_DROPOUT = (0.5, 0.3)
_FAMILIES = ("efficientnet_", "mobilenet_v")  # of one build: stages in `features`, then a classifier


class PretrainedWeightsError(UserError):
    """The ImageNet weights are neither on this machine nor to be had."""


class GenreNet(nn.Module):
    """The network, with random weights; `build_network` loads others.

    The first convolution takes four channels. The head is Dropout(.5), Linear(n, 512), ReLU, Dropout(.3) and
    Linear(512, classes), with the n of the backbone (1536 for EfficientNet-B3).

    Args:
        config: Backbone and number of frozen stages.
        n_classes: Number of genres.

    Raises:
        ConfigError: If the backbone is no EfficientNet or MobileNet of torchvision, or has fewer stages than
            are frozen.

    Shape:
        - input: `[B, 4, H, W]`, standardised
        - output: `[B, n_classes]`, logits
    """

    def __init__(self, config: TrainConfig, n_classes: int) -> None:
        super().__init__()
        backbone = _backbone(config.backbone)
        if config.frozen_stages > len(backbone.features):
            found = f"{config.frozen_stages}, but {config.backbone} has {len(backbone.features)} stages"
            raise ConfigError("frozen_stages", found, "at most the number of stages")
        self.frozen_stages = config.frozen_stages
        self.features = cast("nn.Sequential", backbone.features)
        _widen(self.features)
        self.pool = nn.AdaptiveAvgPool2d(1)
        width = next(part.in_features for part in backbone.classifier if isinstance(part, nn.Linear))
        self.head = nn.Sequential(
            nn.Dropout(_DROPOUT[0]),
            nn.Linear(width, HIDDEN),
            nn.ReLU(),
            nn.Dropout(_DROPOUT[1]),
            nn.Linear(HIDDEN, n_classes),
        )
        self.features[: self.frozen_stages].requires_grad_(False)
        # In a list, so that the folded copy is no part of the state; emptied when weights or device change.
        self._folded: list[nn.Module] = []
        self.register_load_state_dict_post_hook(_forget_folded)  # type: ignore[no-untyped-call]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack the keyword alone
        self.train(self.training)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.classify(self.freeze(x))

    def freeze(self, x: Tensor) -> Tensor:
        """What the frozen stages make of pictures, without gradients.

        Shape:
            - x: `[B, 4, H, W]`
            - output: `[B, C, H', W']`; `x` itself if nothing is frozen
        """
        x = x.contiguous(memory_format=torch.channels_last)
        if not self.frozen_stages:
            return x
        if not self._folded:
            self._folded.append(_fold(self.features[: self.frozen_stages]))
        with torch.no_grad():
            return cast("Tensor", self._folded[0](x))

    def classify(self, x: Tensor) -> Tensor:
        """Logits of what `freeze` gave.

        Shape:
            - x: `[B, C, H', W']`
            - output: `[B, n_classes]`
        """
        x = self.features[self.frozen_stages :](x)
        return cast("Tensor", self.head(self.pool(x).flatten(1)))

    def plain_forward(self, x: Tensor) -> Tensor:
        """`forward` through the unfolded stages, with gradients for all of them: for export and attribution.

        Shape:
            - x: `[B, 4, H, W]`
            - output: `[B, n_classes]`, logits
        """
        return cast("Tensor", self.head(self.pool(self.features(x)).flatten(1)))

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but the frozen stages, whose BatchNorm keeps its statistics."""
        super().train(mode)
        self.features[: self.frozen_stages].eval()
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._folded.clear()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


def _forget_folded(network: nn.Module, _: object) -> None:
    cast("GenreNet", network)._folded.clear()


def build_network(config: TrainConfig, n_classes: int) -> GenreNet:
    """The network with the weights that the configuration names, before training.

    Args:
        config: With `weights`: `imagenet` (downloaded by torchvision once, its digest checked), `none`, or
            the path of a state dict of the same torchvision network.
        n_classes: Number of genres.

    Raises:
        ConfigError: If the backbone cannot be used.
        PretrainedWeightsError: If the ImageNet weights are not here and cannot be downloaded.
        FileError: If a file of weights cannot be used.
    """
    network = GenreNet(config, n_classes)
    if config.weights == "none":
        return network
    if config.weights == "imagenet":
        state, source = _imagenet_state(config.backbone), f"ImageNet weights of {config.backbone}"
    else:
        state, source = _file_state(Path(config.weights)), config.weights
    first = "features.0.0.weight"
    state = {name: value for name, value in state.items() if name.startswith("features.")}
    if first in state and state[first].shape[1] == 3:
        state[first] = widened(state[first])
    try:
        network.features.load_state_dict({k.removeprefix("features."): v for k, v in state.items()})
    except RuntimeError as error:
        found = "weights that do not fit" if state else "no weights of `features`"
        raise FileError(source, found, f"the state dict of torchvision's {config.backbone}") from error
    network._folded.clear()
    return network


def widened(weight: Tensor) -> Tensor:
    """A first convolution for four channels from one for three: the fourth is their mean.

    Shape:
        - weight: `[C, 3, h, w]`
        - output: `[C, 4, h, w]`
    """
    return torch.cat([weight, weight.mean(dim=1, keepdim=True)], dim=1)


def _widen(features: nn.Sequential) -> None:
    block = cast("nn.Sequential", features[0])
    old = cast("nn.Conv2d", block[0])
    new = nn.Conv2d(
        len(STEMS),
        old.out_channels,
        cast("Any", old.kernel_size),
        cast("Any", old.stride),
        cast("Any", old.padding),
        bias=old.bias is not None,
    )
    with torch.no_grad():
        new.weight.copy_(widened(old.weight))
    block[0] = new


def _backbone(name: str) -> Any:  # noqa: ANN401 - torchvision's class has no typed attributes
    from torchvision import models  # type: ignore[import-untyped]

    known = [entry for entry in models.list_models() if entry.startswith(_FAMILIES)]
    if name not in known:
        raise ConfigError("backbone", repr(name), "one of " + ", ".join(known))
    return models.get_model(name)


def _imagenet_state(name: str) -> dict[str, Tensor]:
    from torchvision import models

    weights = models.get_model_weights(name)["IMAGENET1K_V1"]
    file = weights.url.rsplit("/", 1)[-1]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        return cast("dict[str, Tensor]", weights.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError) as error:
        raise PretrainedWeightsError(
            f"{file}: found neither in {folder} nor on the network, expected the ImageNet weights of {name}: "
            f"put {weights.url} there, or use --weights none or a path"
        ) from error
    except RuntimeError as error:
        raise FileError(
            folder / file, "another digest than its name says", "the file at " + weights.url
        ) from error


def _file_state(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise FileError(path, "no file", "imagenet, none, or a file of torchvision weights") from error
    except Exception as error:  # the kinds that a damaged file raises are many
        raise FileError(
            path, f"no weights ({type(error).__name__})", "a state dict of torchvision"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise FileError(path, "something else than a state dict", "a state dict of torchvision")
    return state


def _fold(stages: nn.Module) -> nn.Module:
    """A copy with every BatchNorm folded into the convolution before it; the same in evaluation mode."""
    folded = copy.deepcopy(stages).eval().requires_grad_(False)
    for module in list(folded.modules()):
        for name, child in list(module.named_children()):
            following = getattr(module, str(int(name) + 1), None) if name.isdigit() else None
            if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(child, following))
                setattr(module, str(int(name) + 1), nn.Identity())
    folded.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # see above
    return folded
