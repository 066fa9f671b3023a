"""From posteriors to pitch: torchcrepe's decoders, and one for leaps and fractions of a bin.

All take `[batch, 360, time]` and return the bins with the pitch in Hz. The first three are drop-in for
torchcrepe's functions of the same name, random dither included; `dither=False` makes them reproducible.

Reference:
    torchcrepe/decode.py (maxrmorrison/torchcrepe) and crepe/core.py (marl/crepe).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pitch import convert
from pitch.config import DecoderName
from pitch.constants import PITCH_BINS, SAMPLE_RATE
from pitch.viterbi import REACH, viterbi_path

Decoder = Callable[[Tensor], tuple[Tensor, Tensor]]

# Probability that every bin has, whatever the network says: what one wrong frame can cost the right path.
PROBABILITY_FLOOR = 1e-3

# Bins on either side of the centre that a local average takes in (crepe/core.py, to_local_average_cents).
AVERAGE_REACH = 4


def argmax(logits: Tensor, *, dither: bool = True) -> tuple[Tensor, Tensor]:
    """The most likely bin of each frame, on its own.

    Args:
        logits: Network output, -inf where a bin is not allowed.
        dither: Whether to add torchcrepe's random noise of up to 20 cents to the pitch.

    Returns:
        The bins (int64) and the pitch in Hz.

    Shape:
        - logits: `[B, 360, T]`
        - Output: twice `[B, T]`
    """
    bins = logits.argmax(dim=1)
    return bins, convert.bins_to_frequency(bins, dither=dither)


def weighted_argmax(logits: Tensor, *, dither: bool = True) -> tuple[Tensor, Tensor]:
    """The most likely bin of each frame; the pitch is the mean of the 9 bins around it.

    The weights are torchcrepe's: the sigmoid of what already is a sigmoid's output, which pulls the mean
    towards the centre bin. Use `weighted_viterbi` to measure pitch.

    See `argmax` for arguments and shapes.
    """
    bins = logits.argmax(dim=1)
    weights = torch.sigmoid(logits)
    cents = _local_average_cents(weights, bins, dither=dither)
    return bins, convert.cents_to_frequency(cents)


def viterbi(logits: Tensor, *, dither: bool = True) -> tuple[Tensor, Tensor]:
    """The bins of the most likely path, on which the pitch moves by at most 220 cents a frame.

    This is torchcrepe's path, which trusts a frame's posterior by e to 1 at most: it smooths well, but a
    leap of an octave has to last about half a second before the path follows. Use `weighted_viterbi` for
    melodies and speech.

    See `argmax` for arguments and shapes.
    """
    bins = _path(path_probabilities(logits.detach(), floor=None), REACH)
    return bins, convert.bins_to_frequency(bins, dither=dither)


def weighted_viterbi(logits: Tensor, *, reach: int = REACH) -> tuple[Tensor, Tensor]:
    """The bins of the most likely path, and as pitch the mean of the 9 bins around it, by probability.

    The path takes the network's output as the probability of each bin, so that it follows leaps at once;
    the mean is the original CREPE's and resolves pitch far below the 20 cents of a bin, without noise.

    Args:
        logits: Network output, -inf where a bin is not allowed.
        reach: Greatest number of bins that the pitch moves from frame to frame; see `reach_of_hop`.

    See `argmax` for shapes.
    """
    bins = _path(path_probabilities(logits.detach(), floor=PROBABILITY_FLOOR), reach)
    return bins, local_average(logits, bins)


def reach_of_hop(hop_length: int) -> int:
    """The bins that pitch can move from one frame to the next: 11 in 10 ms, in proportion for other hops.

    Args:
        hop_length: Step between frames, in samples at 16 kHz.
    """
    return min(max(round(REACH * hop_length / (SAMPLE_RATE / 100)), 1), PITCH_BINS - 1)


def local_average(probabilities: Tensor, bins: Tensor) -> Tensor:
    """Pitch in Hz as the mean of the 9 bins around a centre, weighted by their probability.

    Args:
        probabilities: Network output, -inf where a bin is not allowed.
        bins: Centre bins.

    Shape:
        - probabilities: `[B, 360, T]`
        - bins: `[B, T]`
        - Output: `[B, T]`
    """
    weights = probabilities.clamp(min=0.0)
    return convert.cents_to_frequency(_local_average_cents(weights, bins, dither=False))


def path_probabilities(logits: Tensor, *, floor: float | None) -> Tensor:
    """Probability of each bin in a frame, summing to 1, for a Viterbi path.

    Args:
        logits: Network output, -inf where a bin is not allowed.
        floor: Added to the network's output before it is normalised; None takes a softmax of it instead, as
            torchcrepe does.

    Shape:
        `[B, 360, T]`, in and out
    """
    if floor is None:
        return torch.softmax(logits, dim=1)
    weights = torch.where(logits >= 0, logits + floor, 0.0)
    return weights / weights.sum(dim=1, keepdim=True)


def _path(probabilities: Tensor, reach: int) -> Tensor:
    sequences = probabilities.transpose(1, 2).cpu().numpy()  # [B, T, 360]
    paths = [torch.from_numpy(viterbi_path(sequence, reach=reach)) for sequence in sequences]
    return torch.stack(paths).to(probabilities.device)  # [B, T]


def _local_average_cents(weights: Tensor, bins: Tensor, *, dither: bool) -> Tensor:
    every_bin = torch.arange(PITCH_BINS, device=weights.device)
    near = (every_bin[None, :, None] - bins[:, None, :]).abs() <= AVERAGE_REACH  # [B, 360, T]
    weights = weights * near
    cents = convert.bins_to_cents(every_bin, dither=dither)[None, :, None]  # [1, 360, 1]
    # Cents in the thousands times weights near 1: the sum wants more digits than float32 (MPS) has.
    weights = weights if weights.device.type == "mps" else weights.double()
    total = weights.sum(dim=1)
    mean = (weights * cents).sum(dim=1) / total
    # A path may cross bins whose probability is exactly 0.
    mean = torch.where(total > 0, mean, convert.bins_to_cents(bins, dither=dither))
    return mean.to(torch.get_default_dtype())  # [B, T]


DECODERS: dict[DecoderName, Decoder] = {
    "argmax": lambda logits: argmax(logits, dither=False),
    "weighted_argmax": lambda logits: weighted_argmax(logits, dither=False),
    "viterbi": lambda logits: viterbi(logits, dither=False),
    "weighted_viterbi": weighted_viterbi,
}
