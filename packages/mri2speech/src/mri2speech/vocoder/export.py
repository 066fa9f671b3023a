"""Mels for the vocoder's fine-tuning, from a preprocessed data set.

Folders and form are those of the brief: `mels_gt_log/<ID>.npy` from the recordings, and
`mels_ft_log_normalized/<ID>.npy` as the acoustic model predicts them; float32 `[n_mels, T]`, natural
logarithm of the amplitude. Despite its name the second holds no normalised values: the scaler has mapped them
back to dB, because the vocoder's input has one scale.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio_io.atomic import atomic_path
from audio_io.errors import FileError
from audio_io.progress import Progress
from mri2speech.arrays import read_array
from mri2speech.dataset import SequenceDataset
from mri2speech.features import mel_log
from mri2speech.meta import sample_folder

GROUND_TRUTH, PREDICTED = "mels_gt_log", "mels_ft_log_normalized"

# Frames that the CNN sees at once; it looks at each alone, so this only bounds the memory.
_CHUNK = 64


def export_mels(
    data: str | Path,
    folder: str | Path | None = None,
    *,
    acoustic: str | Path | None = None,
    scaler: str | Path | None = None,
    device: torch.device | None = None,
) -> dict[str, int]:
    """Write the mels of all utterances of a data set.

    Args:
        data: What `mri2speech preprocess` wrote.
        folder: Where the two folders go; the data set's own if None.
        acoustic: Checkpoint of an acoustic model, for the predicted mels as well.
        scaler: A scaler.json instead of the checkpoint's own; bare weights have none.
        device: Where the model runs; the CPU if None.

    Returns:
        Number of files by folder.

    Raises:
        FileError: If the data set or the checkpoint cannot be used, or they have different mel settings.
    """
    target = Path(data) if folder is None else Path(folder)
    films = SequenceDataset(data)
    names = [sample.id for sample in films.meta.samples]
    sources = {GROUND_TRUTH: _ground_truth(Path(data), names)}
    if acoustic is not None:
        sources[PREDICTED] = _predicted(films, acoustic, scaler, device or torch.device("cpu"))
    with Progress("exporting mels", len(names) * len(sources), "files") as progress:
        for name, mels in sources.items():
            for identity, mel in zip(names, mels, strict=True):
                with atomic_path(target / name / f"{identity}.npy") as temporary:
                    np.save(temporary, mel_log(mel).T.contiguous().numpy(), allow_pickle=False)
                progress.advance(1)
    return dict.fromkeys(sources, len(names))


def _ground_truth(data: Path, names: list[str]) -> Iterator[Tensor]:
    # From the files rather than through the scaler, which would round twice.
    for name in names:
        path = sample_folder(data, name) / "mel_db.npy"
        yield torch.from_numpy(read_array(path, "mels in dB")).float()


def _predicted(
    films: SequenceDataset, acoustic: str | Path, scaler_json: str | Path | None, device: torch.device
) -> Iterator[Tensor]:
    from mri2speech.acoustic import checkpoint

    model, scaler, mel = checkpoint.load(acoustic, scaler=scaler_json)
    if differs := mel.difference(films.meta.mel):
        raise FileError(acoustic, f"a model of {differs[0]}", f"{differs[1]}, as the data set has it")
    model.to(device)
    for index in range(len(films)):
        frames = films[index]["mri"]
        with torch.inference_mode():
            seen = [model.encode(part.to(device)) for part in torch.split(frames, _CHUNK)]
            normalised = model.sequence(torch.cat(seen)[None])[0]
        yield scaler.denormalise(normalised.cpu())
