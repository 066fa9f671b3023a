"""Whether an exported file computes what the package computes."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pitch import decode
from pitch.constants import SAMPLE_RATE, WINDOW_SIZE
from pitch.core import normalize_frames, preprocess
from pitch.export.config import ExportConfig
from pitch.export.formats import Runner
from pitch.model import Crepe

# Greatest difference of a probability, and greatest relative difference of a frequency.
TOLERANCE = 1e-5


@torch.no_grad()
def max_difference(runner: Runner, network: Crepe, config: ExportConfig) -> float:
    """The greatest difference between a file and the eager network on `examples`.

    Posteriors and periodicity are compared as they are. Frequency is compared, relatively, with that of the
    file's own posteriors: rounding may tip the scale between two bins of the same probability.

    Args:
        runner: From `pitch.export.formats.read_file`.
        network: What the file was made from.
        config: What it was made with.

    Returns:
        The difference; NaN if the file gave any.
    """
    return max(
        (_difference(runner(x), eager(x, network, config), config) for x in examples(config)), key=_rank
    )


def examples(config: ExportConfig) -> Iterator[Tensor]:
    """Noise of several levels, offsets and lengths (shorter than a window too), and silence.

    Shape:
        `[N, 1024]` or `[B, T]`
    """
    generator = torch.Generator().manual_seed(1)
    if config.input == "frames":
        levels = torch.logspace(-3, 1, 5)[:, None]
        noise = torch.randn(5, WINDOW_SIZE, generator=generator) * levels + levels / 2
        constants = torch.tensor([0.0, 0.25])[:, None].expand(2, WINDOW_SIZE)
        yield torch.cat([noise, constants])
        yield noise[:1]
        return
    hop = config.hop_length
    # A program of torch.export takes two frames or more: one is a size that it treats as a constant.
    shortest = hop if config.format == "exported" else 1
    yield 0.1 * torch.randn(1, shortest, generator=generator)
    yield 0.1 * torch.randn(1, max(shortest, min(700, 4 * hop + 3)), generator=generator)
    yield torch.cat([torch.randn(2, 3 * hop + 57, generator=generator), torch.zeros(1, 3 * hop + 57)])


def eager(x: Tensor, network: Crepe, config: ExportConfig) -> Tensor:
    """The posteriors of an example by the functions that the file does not hold.

    Shape:
        - x: `[N, 1024]` or `[B, T]`
        - Output: `[N, 360]` or `[B, K, 360]`
    """
    if config.input == "frames":
        posteriors: Tensor = network(normalize_frames(x))
        return posteriors
    batches = [next(preprocess(row[None], SAMPLE_RATE, config.hop_length)) for row in x]
    return torch.stack([network(frames) for frames in batches])


def _difference(outputs: tuple[Tensor, ...], expected: Tensor, config: ExportConfig) -> float:
    posteriors = outputs[0]
    if posteriors.shape != expected.shape:
        return float("inf")
    differences = [(posteriors - expected).abs().max()]
    if config.decode != "none":
        frequency, periodicity = outputs[1:]
        probabilities = posteriors.reshape(1, -1, posteriors.shape[-1]).transpose(1, 2)  # [1, 360, K]
        bins, wanted = decode.argmax(probabilities, dither=False)
        if config.decode == "local_average":
            wanted = decode.local_average(probabilities, bins)
        differences += [
            (frequency.flatten() / wanted[0] - 1).abs().max(),
            (periodicity - expected.amax(dim=-1)).abs().max(),
        ]
    return float(torch.stack(differences).max())


def _rank(difference: float) -> float:
    # NaN compares as false with everything, so `max` alone could pass it over.
    return float("inf") if difference != difference else difference  # noqa: PLR0124 - NaN is not itself
