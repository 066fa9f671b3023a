"""What the frozen stages give for tracks that are never augmented: computed once, kept on disk in float16.

With six of EfficientNet-B3's stages frozen, that is 384 KB for a picture of 600 x 600. It serves validation
always, and training if nothing is augmented.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from audio_io.atomic import atomic_path, fingerprint
from audio_io.progress import Progress
from genre.dataset import Example, Pictures
from genre.features import resize
from genre.model import GenreNet


class FrozenFeatures(Dataset[Example]):
    """Outputs of the frozen stages, with the keys of `genre.dataset.Pictures`.

    Args:
        files: One for each track.
        targets: The numbers of their genres.

    Shape:
        - each item: `[C, H', W']`, float16
    """

    def __init__(self, files: tuple[Path, ...], targets: tuple[int, ...]) -> None:
        self.files, self.targets = files, targets

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: tuple[int, int]) -> Example:
        _, index = key
        return torch.from_numpy(np.load(self.files[index], allow_pickle=False)), self.targets[index]


def cache_frozen(
    network: GenreNet, pictures: Pictures, folder: Path, device: torch.device, batch_size: int
) -> FrozenFeatures:
    """Compute what is not yet there.

    Args:
        network: Whose frozen stages; left on `device`.
        pictures: Without augmentation.
        folder: Where the files are kept, in a sub-folder for each combination of weights and settings.
        device: Where to compute.
        batch_size: Pictures at a time.

    Raises:
        OSError: If a file cannot be written; it carries its name.
    """
    place = folder / _identity(network, pictures)
    files = tuple(place / f"{track.id}.npy" for track in pictures.tracks)
    missing = [index for index, file in enumerate(files) if not file.is_file()]
    network.to(device)
    with Progress("frozen stages", len(missing), "tracks") as progress, torch.no_grad():
        for first in range(0, len(missing), batch_size):
            chosen = missing[first : first + batch_size]
            batch = torch.stack([pictures[0, index][0] for index in chosen])
            outputs = network.freeze(resize(batch.to(device), pictures.features))
            for index, output in zip(chosen, outputs.half().cpu().contiguous(), strict=True):
                _write(files[index], output)
            progress.advance(len(chosen))
    return FrozenFeatures(files, pictures.targets)


def _write(file: Path, output: Tensor) -> None:
    with atomic_path(file) as temporary:
        np.save(temporary, output.numpy(), allow_pickle=False)


def _identity(network: GenreNet, pictures: Pictures) -> str:
    digest = hashlib.sha256()
    for value in network.features[: network.frozen_stages].state_dict().values():
        digest.update(value.detach().cpu().numpy().tobytes())
    tracks = [(track.id, pictures.stems.digest(track)) for track in pictures.tracks]
    settings = [repr(pictures.features), repr(pictures.statistics), repr(network.features[0])]
    return fingerprint([digest.hexdigest(), settings, tracks])
