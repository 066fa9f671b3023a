"""Power and amplitude in decibels, and back.

    dB = 10 log10(max(power, amin) / max(ref, amin)),  not below the loudest value of the example minus top_db

librosa takes the loudest value of the whole array; here an example is a spectrogram (the last two
dimensions), so that what else is in a batch changes nothing. For a single spectrogram the two agree.

Reference: librosa.power_to_db, librosa.amplitude_to_db.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from audio_io.errors import ConfigError

Reference = float | Literal["max"]

_AMIN_POWER = 1e-10  # librosa's default, -100 dB of full scale
_AMIN_AMPLITUDE = 1e-5
_TOP_DB = 80.0  # librosa's default


def power_to_db(
    power: Tensor, *, ref: Reference = 1.0, amin: float = _AMIN_POWER, top_db: float | None = _TOP_DB
) -> Tensor:
    """Decibels of a power spectrogram.

    Args:
        power: Power, at least 0.
        ref: Power that becomes 0 dB, above 0; "max" takes each example's loudest value (librosa's
            `ref=np.max`).
        amin: Smallest power that is told from silence, above 0.
        top_db: Greatest distance below an example's loudest value in dB, at least 0; None for no limit.

    Raises:
        ConfigError: If a setting is out of range.

    Shape:
        Input: [..., F, K]; with fewer than two dimensions all is one example
        Output: [..., F, K]

    >>> power_to_db(torch.tensor([1.0, 0.1, 0.0]), top_db=30).tolist()
    [0.0, -10.0, -30.0]
    """
    _check(ref, amin, top_db)
    if power.numel() == 0:
        return power
    dims = tuple(range(-min(power.ndim, 2), 0))
    if power.is_floating_point():
        # 1e-10 is 0 in half precision.
        amin = max(amin, torch.finfo(power.dtype).tiny)
    level = 10 * torch.log10(power.clamp(min=amin))
    if ref == "max":
        level = level - level.amax(dims, keepdim=True)
    else:
        level = (
            level - 10 * torch.log10(torch.tensor(max(ref, amin), dtype=torch.float64, device="cpu")).item()
        )
    return level if top_db is None else torch.maximum(level, level.amax(dims, keepdim=True) - top_db)


def amplitude_to_db(
    amplitude: Tensor,
    *,
    ref: Reference = 1.0,
    amin: float = _AMIN_AMPLITUDE,
    top_db: float | None = _TOP_DB,
) -> Tensor:
    """Decibels of a magnitude spectrogram: those of its square.

    Args:
        amplitude: Magnitude; the sign is without effect.
        ref: Magnitude that becomes 0 dB, above 0, or "max".
        amin: Smallest magnitude that is told from silence, above 0.
        top_db: See `power_to_db`.

    Raises:
        ConfigError: If a setting is out of range.

    Shape:
        Input: [..., F, K]
        Output: [..., F, K]
    """
    _check(ref, amin, top_db)
    ref_power = ref if ref == "max" else ref**2
    return power_to_db(amplitude.square(), ref=ref_power, amin=amin**2, top_db=top_db)


def db_to_power(db: Tensor, *, ref: float = 1.0) -> Tensor:
    """Power of decibels; the inverse of `power_to_db` as far as that did not limit.

    Args:
        db: Level in dB.
        ref: Power at 0 dB.

    Shape:
        Input: [...]
        Output: [...]
    """
    return ref * torch.pow(10.0, 0.1 * db)


def db_to_amplitude(db: Tensor, *, ref: float = 1.0) -> Tensor:
    """Magnitude of decibels; the inverse of `amplitude_to_db` as far as that did not limit.

    Args:
        db: Level in dB.
        ref: Magnitude at 0 dB.

    Shape:
        Input: [...]
        Output: [...]
    """
    return ref * torch.pow(10.0, 0.05 * db)


class PowerToDb(nn.Module):
    """Module twin of `power_to_db`; the arguments and shapes are the same."""

    def __init__(
        self, *, ref: Reference = 1.0, amin: float = _AMIN_POWER, top_db: float | None = _TOP_DB
    ) -> None:
        super().__init__()
        _check(ref, amin, top_db)
        self.ref: Reference = ref
        self.amin = amin
        self.top_db = top_db

    def forward(self, power: Tensor) -> Tensor:
        """Decibels of `power`."""
        return power_to_db(power, ref=self.ref, amin=self.amin, top_db=self.top_db)


class AmplitudeToDb(nn.Module):
    """Module twin of `amplitude_to_db`; the arguments and shapes are the same."""

    def __init__(
        self, *, ref: Reference = 1.0, amin: float = _AMIN_AMPLITUDE, top_db: float | None = _TOP_DB
    ) -> None:
        super().__init__()
        _check(ref, amin, top_db)
        self.ref: Reference = ref
        self.amin = amin
        self.top_db = top_db

    def forward(self, amplitude: Tensor) -> Tensor:
        """Decibels of `amplitude`."""
        return amplitude_to_db(amplitude, ref=self.ref, amin=self.amin, top_db=self.top_db)


def _check(ref: Reference, amin: float, top_db: float | None) -> None:
    if ref != "max" and not (isinstance(ref, int | float) and ref > 0):  # type: ignore[redundant-expr]  # np.max comes along
        raise ConfigError("ref", repr(ref), "a number above 0, or 'max'")
    if amin <= 0:
        raise ConfigError("amin", amin, "above 0")
    if top_db is not None and top_db < 0:
        raise ConfigError("top_db", top_db, "at least 0 dB, or None")
