"""`preprocess.png`: what to look at before anything is trained."""

from pathlib import Path

import numpy as np

from audio_io.figures import PALETTE, new_figure
from mri2speech.meta import Meta, sample_folder

_SHOWN = 6  # frames


def draw(folder: Path, meta: Meta) -> None:
    """Frames and mels of the longest sample, and how long the samples are.

    Args:
        folder: Of the data set.
        meta: Its description, with at least one sample.
    """
    sample = max(meta.samples, key=lambda entry: entry.frames)
    place = sample_folder(folder, sample.id)
    mri = np.load(place / "mri.npy", mmap_mode="r", allow_pickle=False)
    mels = np.load(place / "mel_db.npy", allow_pickle=False)
    rate = meta.mel.frame_rate
    indices = np.linspace(0, len(mri) - 1, _SHOWN + 2).round().astype(int)[1:-1]
    with new_figure(folder / "preprocess.png", width=10.0, height=7.5) as figure:
        rows = figure.add_gridspec(3, _SHOWN, height_ratios=(0.8, 1.2, 0.9))
        for column, index in enumerate(indices):
            axes = figure.add_subplot(rows[0, column])
            axes.imshow(np.asarray(mri[index], dtype=np.float32), cmap="gray", vmin=0, vmax=1)
            axes.set_title(f"{index / rate:.2f} s", fontsize=9, fontweight="normal")
            axes.axis("off")
        axes = figure.add_subplot(rows[1, :])
        # Each column lies around the time at which its frame is centred.
        extent = (-0.5 / rate, (len(mels) - 0.5) / rate, -0.5, mels.shape[1] - 0.5)
        image = axes.imshow(mels.T, origin="lower", aspect="auto", extent=extent, interpolation="nearest")
        for index in indices:
            axes.axvline(index / rate, color="white", linewidth=0.8, linestyle="--")
        axes.set(xlabel="time in s", ylabel="mel band", title=f"{sample.id}: {sample.frames} frames")
        axes.grid(visible=False)
        figure.colorbar(image, ax=axes, label="dB", pad=0.01)
        left = figure.add_subplot(rows[2, : _SHOWN // 2])
        seconds = [entry.frames / rate for entry in meta.samples]
        left.hist(seconds, bins=min(30, max(5, len(seconds))), color=PALETTE[0], edgecolor="white")
        left.set(
            xlabel="length in s", ylabel="samples", title=f"{len(seconds)} samples, {sum(seconds):.0f} s"
        )
        right = figure.add_subplot(rows[2, _SHOWN // 2 :])
        differences = [1000 * entry.alignment.end_difference for entry in meta.samples]
        right.plot(differences, ".", color=PALETTE[1])
        right.axhline(0.0, color="#444444", linewidth=0.8)
        right.set(xlabel="sample", ylabel="ms", title="end of the sound after the end of the film")
