"""The six sizes of CREPE: channels, parameters, and who trained each.

Every layer is scaled by one multiplier m: convolutions of 32m, 4m, 4m, 4m, 8m and 16m channels, then a
dense layer from 64m features to 360 pitch bins.

Reference:
    Kim, Salamon, Li, Bello, "CREPE: A Convolutional Representation for Pitch Estimation", ICASSP 2018; the
    multipliers are those of crepe/core.py (marl/crepe). `regular` (12) is this project's own size between
    `small` and `medium`.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from audio_io.errors import ConfigError
from pitch.constants import PITCH_BINS

CapacityName = Literal["tiny", "small", "regular", "medium", "large", "full"]

CONV_KERNELS = (512, 64, 64, 64, 64, 64)  # samples, then positions
CONV_STRIDES = (4, 1, 1, 1, 1, 1)


@dataclass(frozen=True)
class Capacity:
    """One size of the network.

    Attributes:
        name: Its name in every API and command of the package.
        multiplier: The m that scales all layers.
    """

    name: CapacityName
    multiplier: int

    @property
    def channels(self) -> tuple[int, int, int, int, int, int]:
        """Output channels of the six convolutions."""
        m = self.multiplier
        return (32 * m, 4 * m, 4 * m, 4 * m, 8 * m, 16 * m)

    @property
    def classifier_features(self) -> int:
        """Inputs of the dense layer: 4 remaining positions times the last convolution's channels."""
        return 4 * self.channels[-1]

    @property
    def parameters(self) -> int:
        """Number of trained parameters, BatchNorm scales and shifts included, running statistics not."""
        total = 0
        inputs = 1
        for outputs, kernel in zip(self.channels, CONV_KERNELS, strict=True):
            total += outputs * (inputs * kernel + 1) + 2 * outputs
            inputs = outputs
        return total + PITCH_BINS * (self.classifier_features + 1)


CAPACITIES: dict[CapacityName, Capacity] = {
    name: Capacity(name, multiplier)
    for name, multiplier in zip(get_args(CapacityName), (4, 8, 12, 16, 24, 32), strict=True)
}


def get_capacity(name: str) -> Capacity:
    """The capacity of a name.

    Raises:
        ConfigError: If there is none of that name.
    """
    for capacity in CAPACITIES.values():
        if capacity.name == name:
            return capacity
    raise ConfigError("model", repr(name), "one of " + ", ".join(CAPACITIES))
