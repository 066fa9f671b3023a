"""CNN for each frame, global average pooling, LSTM whose directions are added, dropout, linear layer.

The brief replicates the grey frame to the three channels that an image network expects. A convolution of
three equal channels is the convolution of one with the sum of the three weights, so the first layer here has
one input channel: the same numbers for less work. `mri2speech.acoustic.checkpoint` folds weights of three
channels.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the customary name
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from audio_io.errors import ConfigError, FileError
from mri2speech.acoustic.config import AcousticConfig

State = tuple[Tensor, Tensor]


class AcousticModel(nn.Module):
    """Normalised mel frames of the frames of a film.

    Args:
        config: The architecture.
        pretrained: Start the CNN from timm's ImageNet weights, which timm downloads.
        backbone_weights: Start it from this file of timm's weights (`.safetensors` or `.pth`) instead.

    Raises:
        ConfigError: If timm knows no such backbone or stage of it, or the weights cannot be had.
        FileError: If the file is missing or holds other weights.
    """

    def __init__(
        self,
        config: AcousticConfig = AcousticConfig(),  # noqa: B008 - frozen
        *,
        pretrained: bool = False,
        backbone_weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        # Segments of the CNN whose inputs alone are stored in training; 0 stores every activation.
        self.checkpoint_segments = 0
        self.backbone, self.channels = _backbone(config, pretrained=pretrained, weights=backbone_weights)
        self.lstm = nn.LSTM(
            self.channels,
            config.hidden,
            config.layers,
            batch_first=True,
            bidirectional=config.bidirectional,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden, config.n_mels)

    def forward(self, mri: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalised mels.

        Args:
            mri: Frames with values from 0 to 1.
            lengths: Frames of each film, if shorter ones are padded at their end. Padding has no influence,
                on BatchNorm in training neither; what comes out beyond a film's end means nothing.

        Shape:
            - mri: `[B, T, H, W]`, H and W multiples of `image_size`
            - lengths: `[B]`, whole numbers from 1 to T
            - output: `[B, T, n_mels]`
        """
        batch, frames = mri.shape[:2]
        if lengths is None:
            return self.sequence(self.encode(mri.flatten(0, 1)).view(batch, frames, self.channels))
        valid = torch.arange(frames, device=mri.device) < lengths.to(mri.device)[:, None]
        encoded = self.encode(mri[valid])
        pooled = encoded.new_zeros(batch, frames, self.channels)
        pooled[valid] = encoded
        return self.sequence(pooled, lengths)

    def encode(self, frames: Tensor) -> Tensor:
        """What the CNN makes of each frame.

        Shape:
            - frames: `[N, H, W]`
            - output: `[N, C]`
        """
        return self.features(frames[:, None]).mean(dim=(2, 3))

    def features(self, frames: Tensor) -> Tensor:
        """The last feature map of the CNN.

        Shape:
            - frames: `[N, 1, H, W]`, H and W multiples of `image_size`
            - output: `[N, C, h, w]`, 8 by 8 for the default backbone and size

        Raises:
            ConfigError: If the frames cannot be averaged to `image_size`.
        """
        size = self.config.image_size
        if frames.shape[-1] % size or frames.shape[-2] != frames.shape[-1]:
            found = f"frames of {frames.shape[-2]}x{frames.shape[-1]}"
            raise ConfigError("image_size", found, f"square frames, a multiple of {size}")
        if (factor := frames.shape[-1] // size) > 1:
            frames = F.avg_pool2d(frames, factor)
        # One channel satisfies both layouts; only such strides tell the convolution which is meant.
        frames = frames[:, 0, :, :, None].permute(0, 3, 1, 2)
        if self.checkpoint_segments and self.training and torch.is_grad_enabled():
            return _checkpointed(stages(self.backbone), frames, self.checkpoint_segments)
        last: Tensor = self.backbone(frames)[-1]
        return last

    def sequence(self, pooled: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalised mels of what the CNN made of the frames.

        Shape:
            - pooled: `[B, T, C]`
            - lengths: `[B]`
            - output: `[B, T, n_mels]`
        """
        if lengths is None or bool((lengths == pooled.shape[1]).all()):
            outputs, _ = self.lstm(pooled)
        else:
            packed = pack_padded_sequence(pooled, lengths.cpu(), batch_first=True, enforce_sorted=False)
            outputs, _ = pad_packed_sequence(
                self.lstm(packed)[0], batch_first=True, total_length=pooled.shape[1]
            )
        return self._mels(outputs)

    def step(self, frame: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The mel frame of one frame of a film that is still going on.

        Args:
            frame: The frame, of each of B films.
            state: What the step before returned; None at the start.

        Shape:
            - frame: `[B, H, W]`
            - output: `[B, n_mels]`, and the state: two of `[layers, B, hidden]`

        Raises:
            ConfigError: If the model is bidirectional and so needs the whole film.
        """
        if self.config.bidirectional:
            raise ConfigError("bidirectional", "true", "false, for a model that makes speech frame by frame")
        outputs, state = self.lstm(self.encode(frame)[:, None], state)
        return self._mels(outputs)[:, 0], state

    def _mels(self, outputs: Tensor) -> Tensor:
        if self.config.bidirectional:
            forwards, backwards = outputs.chunk(2, dim=-1)
            outputs = forwards + backwards
        mels: Tensor = self.head(self.dropout(outputs))
        return mels


class _Whole(nn.Module):
    """A backbone that gives its map instead of a list of one."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, frames: Tensor) -> Tensor:
        last: Tensor = self.backbone(frames)[-1]
        return last


def stages(backbone: nn.Module) -> list[nn.Module]:
    """The backbone as modules to be applied one after the other.

    A single one, the whole, for the few families in timm that are no such chain.
    """
    if hasattr(backbone, "blocks") and getattr(backbone, "feature_hooks", None) is None:
        stem = [part for name, part in backbone.named_children() if name != "blocks"]
        return [
            nn.Sequential(*stem),
            *(block for stage in backbone.get_submodule("blocks").children() for block in stage.children()),
        ]
    if isinstance(backbone, timm.models.FeatureListNet):
        return list(backbone.values())
    return [_Whole(backbone)]


def _backbone(
    config: AcousticConfig, *, pretrained: bool, weights: str | Path | None
) -> tuple[nn.Module, int]:
    """The CNN and the channels of its map."""
    name = config.backbone
    if not timm.is_model(name.split(".")[0]):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "such as tf_efficientnetv2_b2"
        raise ConfigError("backbone", repr(name), f"the name of a model in timm: {near}")
    if weights is not None and not Path(weights).is_file():
        raise FileError(weights, "no such file", f"weights of timm's {name}")
    overlay = None if weights is None else {"file": str(weights)}
    try:
        # Any: timm is untyped.
        backbone: Any = timm.create_model(
            name,
            features_only=True,
            out_indices=(config.stage,),
            in_chans=1,
            pretrained=pretrained or weights is not None,
            pretrained_cfg_overlay=overlay,
        )
    except Exception as error:
        # timm's loaders raise whatever their libraries do, from a network that is down to keys that differ.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if weights is not None:
            raise FileError(weights, f"other weights ({reason})", f"weights of timm's {name}") from error
        if pretrained:
            raise ConfigError(
                "pretrained",
                f"true, but the weights of {name} could not be fetched ({reason})",
                "a network, or the file of timm's weights as --backbone-weights FILE",
            ) from error
        raise ConfigError(
            "backbone", f"{name} at stage {config.stage} ({reason})", "one with maps"
        ) from error
    if hasattr(backbone, "blocks"):
        # timm runs these to the end whichever map is asked for.
        backbone.blocks = backbone.blocks[: backbone.feature_info.get_dicts()[-1]["stage"]]
    # Weights follow the frames, which `features` lays out so: convolutions are faster on CPUs and GPUs.
    backbone.to(memory_format=torch.channels_last)
    return backbone, int(backbone.feature_info.channels()[-1])


def _checkpointed(parts: Sequence[nn.Module], frames: Tensor, segments: int) -> Tensor:
    """Apply the parts, storing only what enters each of so many segments."""
    length = -(-len(parts) // segments)
    for start in range(0, len(parts), length):
        segment = nn.Sequential(*parts[start : start + length])

        def contexts(
            segment: nn.Module = segment,
        ) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _running_statistics_kept(segment)

        frames = checkpoint(segment, frames, use_reentrant=False, context_fn=contexts)
    return frames


@contextmanager
def _running_statistics_kept(segment: nn.Module) -> Iterator[None]:
    """Let the second forward pass of a checkpoint leave the running statistics as the first made them."""
    kept = [
        (module, module.momentum, module.num_batches_tracked)
        for module in segment.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    for norm, _, _ in kept:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, count in kept:
            norm.momentum, norm.num_batches_tracked = momentum, count
