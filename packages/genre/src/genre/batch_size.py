"""The batch size that fits."""

from collections.abc import Callable

import torch
from torch.nn import functional

from audio_io.errors import ConfigError
from genre.features import resize
from genre.model import GenreNet
from genre.run_config import Settings

CPU_BATCH = 4  # the brief's figure for CPUs, for batch_size 0
_LARGEST_BATCH = 1024


def largest_batch(step: Callable[[int], None], most: int = _LARGEST_BATCH) -> int:
    """The greatest power of two that a step has memory for.

    Args:
        step: Does one step with a number of examples; raises `torch.OutOfMemoryError`.
        most: Where to stop.

    Raises:
        ConfigError: If there is no memory for one example.
    """
    size = 1
    while size <= most:
        try:
            step(size)
        except torch.OutOfMemoryError:
            break
        size *= 2
    if size == 1:
        raise ConfigError("batch_size", "no memory for one example", "a smaller image_size")
    return size // 2


def find_batch_size(network: GenreNet, settings: Settings, n_classes: int, device: torch.device) -> int:
    """Examples a step: for a GPU the most that fit; elsewhere memory is swapped, not refused, so always 4.

    Args:
        network: In the state that it gets back.
        settings: For the size of the pictures and the precision.
        n_classes: Number of genres.
        device: Where training runs.

    Raises:
        ConfigError: If there is no memory for one example.
    """
    if device.type != "cuda":
        return CPU_BATCH
    features = settings.features
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.to(device).train()

    def step(size: int) -> None:
        batch = torch.zeros(size, 4, features.n_mels, features.frames, device=device)
        with torch.autocast("cuda", torch.float16, enabled=settings.train.use_amp):
            logits = network(resize(batch, features))
            target = torch.zeros(size, dtype=torch.long, device=device)
            functional.cross_entropy(logits, target % n_classes).backward()  # type: ignore[no-untyped-call]
        network.zero_grad(set_to_none=True)

    try:
        return largest_batch(step)
    finally:
        torch.cuda.empty_cache()
        network.load_state_dict(before)
