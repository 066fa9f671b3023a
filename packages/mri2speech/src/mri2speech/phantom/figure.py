"""A picture of the phantom: three vowels with their walls and area functions, and an utterance."""

from pathlib import Path

import numpy as np
import torch

from audio_io import stft
from audio_io.figures import PALETTE, new_figure
from mri2speech.phantom.anatomy import Speaker
from mri2speech.phantom.corpus import Utterance, utterance
from mri2speech.phantom.gestures import sustained
from mri2speech.phantom.outline import trace
from mri2speech.phantom.phones import PHONES
from mri2speech.phantom.render import Painter
from mri2speech.phantom.scene import Region

_VOWELS = ("i", "ɑ", "u")


def draw(path: str | Path, speaker: Speaker, example: Utterance) -> None:
    """Write the figure.

    Args:
        path: Of the PNG.
        speaker: Who says the vowels.
        example: The utterance below them.
    """
    with new_figure(path, width=7.4, height=6.6) as figure:
        painter = Painter(speaker)
        rows = figure.add_gridspec(3, 3, height_ratios=(1.7, 0.7, 1.1))
        for column, vowel in enumerate(_VOWELS):
            made = utterance(sustained(vowel, speaker, 0.3))
            frame = len(made.frames) // 2
            axes = figure.add_subplot(rows[0, column])
            axes.imshow(made.frames[frame], cmap="gray", vmin=0, vmax=255)
            outline = trace(speaker, made.articulators[frame], groove=PHONES[vowel].groove)
            for wall, colour in ((outline.outer, PALETTE[0]), (outline.inner, PALETTE[1])):
                axes.plot(*painter.pixels(wall[0]).T, color=colour, linewidth=0.9)
            f1, f2 = made.formants[frame, :2]
            axes.set_title(f"/{vowel}/: F1 {f1:.0f} Hz, F2 {f2:.0f} Hz", fontsize=10)
            axes.set_axis_off()
            axes = figure.add_subplot(rows[1, column])
            ends = np.concatenate([[0.0], np.cumsum(made.lengths[frame])])
            axes.stairs(made.area[frame], ends, color=PALETTE[0], fill=True, alpha=0.6)
            axes.set(xlabel="from the glottis in cm", xlim=(0, 20), ylim=(0, 15))
            if column == 0:
                axes.set_ylabel("area in cm$^2$")
        axes = figure.add_subplot(rows[2, :])
        spectrum = stft(torch.from_numpy(example.waveform), n_fft=256, hop_length=64).abs()
        seconds = len(example.waveform) / example.sample_rate
        axes.imshow(
            20 * torch.log10(spectrum.clamp(min=1e-4)).numpy(),
            origin="lower",
            aspect="auto",
            cmap="Greys",
            vmin=-30,
            interpolation="nearest",
            extent=(0, seconds, 0, example.sample_rate / 2),
        )
        times = np.arange(len(example.formants)) / example.fps
        voiced = np.where(example.f0[:, None] > 0, example.formants, np.nan)
        for number in range(3):
            axes.plot(times, voiced[:, number], color=PALETTE[number + 1], label=f"F{number + 1} of the tube")
        axes.legend(loc="upper right")
        axes.set(xlabel="time in s", ylabel="Hz", ylim=(0, 4500), title=f"{example.speaker}: {example.text}")


def region_names() -> dict[int, str]:
    """Names of the numbers in a label image."""
    return {int(region): region.name.lower().replace("_", " ") for region in Region}
