"""Shapley values of the four stems, exactly, from the 2^4 recordings in which some of them are silent.

The value v(S) of a set S of stems is what the network says (a log-odds, or a probability) when the stems
outside of S are silent. The Shapley value of stem s is its contribution v(S + s) - v(S), averaged over all
orders in which the stems can come in; with n stems in S::

    phi_s = sum over S without s of n! (3 - n)! / 4! (v(S + s) - v(S))

It is the only attribution that is linear in v, treats equal stems alike, gives 0 to a stem that never
changes anything, and whose sum is v(all) - v(none).

References: L. S. Shapley, "A value for n-person games", 1953; S. Lundberg and S.-I. Lee, "A unified approach
to interpreting model predictions", 2017, where silence stands for a missing feature.
"""

from math import factorial

import torch
from torch import Tensor

from genre.config import STEMS

_BITS = [[bool(number >> stem & 1) for stem in range(len(STEMS))] for number in range(2 ** len(STEMS))]
# Row n says which stems sound in subset n: the binary digits of n, the first stem's the least.
SUBSETS = torch.tensor(_BITS)  # [16, 4]
NONE, ALL = 0, len(SUBSETS) - 1


def shapley(values: Tensor) -> Tensor:
    """Shapley values of the stems, in the unit of the values.

    Args:
        values: Of each subset of stems, in the order of `SUBSETS`.

    Shape:
        - values: `[16, ...]`
        - output: `[4, ...]`, in the order of `genre.config.STEMS`

    Example:
        >>> volume = SUBSETS.double() @ torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
        >>> shapley(volume).round(decimals=12).tolist()
        [1.0, 2.0, 3.0, 4.0]
    """
    result: Tensor = torch.tensordot(_coefficients().to(values), values, dims=1)
    return result


def occlusion(values: Tensor) -> Tensor:
    """What is lost when one stem alone is silenced: v(all) - v(all but s).

    Unlike Shapley values these do not add up: of two stems that say the same, neither is missed.

    Shape:
        - values: `[16, ...]`
        - output: `[4, ...]`
    """
    without = [ALL - 2**stem for stem in range(len(STEMS))]
    result: Tensor = values[ALL] - values[without]
    return result


def _coefficients() -> Tensor:
    """How often each subset counts for each stem, and with which sign; `[4, 16]`."""
    stems = len(STEMS)
    size = SUBSETS.sum(dim=1)
    weight = torch.tensor(
        [factorial(k) * factorial(stems - 1 - k) / factorial(stems) for k in range(stems)],
        dtype=torch.float64,
    )
    with_stem = weight[(size - 1).clamp(min=0)]
    without = weight[size.clamp(max=stems - 1)]
    return torch.where(SUBSETS.T, with_stem, -without)
