"""Windows of frames: an index into the samples, and on request the copies of the original scripts.

`pairs_ref4_npy/index.npy`, int64 [P, 2], holds the number of the sample in `meta.json` and the first frame of
each window; a window is a slice of the sample's arrays, which are mapped into memory, so no frame is stored
twice. The copies hold every frame four times (27 MB for a second of film):

    pairs_ref4/<ID>/<frame>.npz    mri [R, 256, 256], mel_db [R, 64], mask [256, 256]; <frame> is the latest
    pairs_ref4_npy/<ID>.mri.npy    [W, R, 256, 256], all windows of a sample
    pairs_ref4_npy/<ID>.mel_db.npy [W, R, 64]
"""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from audio_io.atomic import atomic_path
from audio_io.progress import Progress
from mri2speech.meta import Meta, sample_folder, windows
from mri2speech.preprocess.config import Pairs


def window_index(meta: Meta) -> npt.NDArray[np.int64]:
    """Sample and first frame of every window.

    Shape:
        - output: `[P, 2]`
    """
    counts = windows([sample.frames for sample in meta.samples], meta.ref_frames)
    samples = np.repeat(np.arange(len(counts)), counts)
    starts = np.concatenate([np.arange(count) for count in counts]) if counts else np.zeros(0)
    return np.stack([samples, starts], axis=1).astype(np.int64)


def write_pairs(out_dir: Path, meta: Meta, pairs: Pairs) -> None:
    """Write the index (unless `pairs` is `none`) and the copies that are asked for, anew."""
    name = f"pairs_ref{meta.ref_frames}"
    # Copies of an earlier run may be of samples that have changed.
    for place in (out_dir / name, out_dir / f"{name}_npy"):
        shutil.rmtree(place, ignore_errors=True)
    if pairs == "none":
        return
    with atomic_path(out_dir / f"{name}_npy" / "index.npy") as temporary:
        np.save(temporary, window_index(meta))
    if pairs == "index":
        return
    with Progress("pairs", len(meta.samples), "samples") as progress:
        for sample in meta.samples:
            folder = sample_folder(out_dir, sample.id)
            if pairs in {"npz", "both"}:
                _write_npz(folder, out_dir / name / sample.id, meta.ref_frames)
            if pairs in {"npy", "both"}:
                for array in ("mri", "mel_db"):
                    target = out_dir / f"{name}_npy" / f"{sample.id}.{array}.npy"
                    _write_npy(folder / f"{array}.npy", target, meta.ref_frames)
            progress.advance(1)


def _write_npz(folder: Path, target: Path, ref_frames: int) -> None:
    mri = np.load(folder / "mri.npy", mmap_mode="r", allow_pickle=False)
    mels = np.load(folder / "mel_db.npy", allow_pickle=False)
    mask = np.load(folder / "mask.npy", allow_pickle=False)
    for start in range(len(mri) - ref_frames + 1):
        end = start + ref_frames
        with atomic_path(target / f"{end - 1:06d}.npz") as temporary:
            np.savez(temporary, mri=mri[start:end], mel_db=mels[start:end], mask=mask)


def _write_npy(source: Path, target: Path, ref_frames: int) -> None:
    array = np.load(source, mmap_mode="r", allow_pickle=False)
    copies = np.moveaxis(np.lib.stride_tricks.sliding_window_view(array, ref_frames, axis=0), -1, 1)
    with atomic_path(target) as temporary:
        written = open_memmap(temporary, mode="w+", dtype=array.dtype, shape=copies.shape)
        for index, window in enumerate(copies):
            written[index] = window
        written.flush()
