"""The page on which vocoders are listened to: one file, with sounds and pictures in it."""

import html
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor

import audio_io
from audio_io.figures import PALETTE
from mri2speech.config import MelConfig
from mri2speech.features import band_centres
from mri2speech.pages import embedded, picture_html, table_html, write_html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEADS = {
    "vocoder": "vocoder",
    "recordings": "recordings",
    "mel_db": "mel distance (dB)",
    "stft": "STFT distance",
    "real_time_factor": "real-time factor",
}
_RANGE_DB = 70.0  # of the pictures, below the recording's loudest band


@dataclass(frozen=True)
class Sound:
    """What a vocoder made: waveform `[N]` and its mel in dB `[n_mels, T]`."""

    vocoder: str
    waveform: Tensor
    mel: Tensor


def write_page(
    path: str | Path,
    table: Sequence[Mapping[str, str | int | float]],
    recordings: Mapping[str, Sequence[Sound]],
    config: MelConfig,
) -> None:
    """Write the page.

    Args:
        path: Where to write.
        table: The means by vocoder, as `compare.summary` gives them.
        recordings: The sounds of each recording, its own first.
        config: Of their mels.
    """
    body = [table_html(_HEADS.values(), ([row[key] for key in _HEADS] for row in table))]
    for name, sounds in recordings.items():
        top = float(sounds[0].mel.max())
        figures = "\n".join(sound_html(sound, top, config) for sound in sounds)
        body.append(f'<h2>{html.escape(name)}</h2>\n<div class="row">\n{figures}\n</div>')
    write_html(path, f"{len(table)} vocoders on the same mels", body)


def sound_html(
    sound: Sound, top: float, config: MelConfig, lines: Sequence[npt.NDArray[np.float64]] = ()
) -> str:
    """A player with the mel above it, both within the text.

    Args:
        sound: What is shown and played.
        top: Level in dB of the brightest colour.
        config: Of the mel.
        lines: Frequencies in Hz, a value per frame, drawn over the mel.

    Shape:
        - each of lines: `[T]`
    """
    rate, centres = config.frame_rate, band_centres(config).numpy()

    def draw(figure: "Figure") -> None:
        axis = figure.add_subplot()
        axis.imshow(
            sound.mel.numpy(),
            origin="lower",
            aspect="auto",
            vmin=top - _RANGE_DB,
            vmax=top,
            # Each column lies around the time at which its frame is centred.
            extent=(-0.5 / rate, (sound.mel.shape[1] - 0.5) / rate, 0, config.n_mels),
        )
        for number, line in enumerate(lines):
            bands = np.interp(line, centres, np.arange(config.n_mels)) + 0.5
            shown = np.where(np.isfinite(line), bands, np.nan)
            axis.plot(np.arange(len(line)) / rate, shown, color=PALETTE[number + 1])
        axis.grid(visible=False)
        axis.set(xlabel="s", ylabel="mel band")

    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "sound.wav"
        audio_io.save(wav, sound.waveform[None].clamp(-1, 1), config.sample_rate)
        player = f'<audio controls preload="metadata" src="{embedded(wav, "audio/wav")}"></audio>'
    picture = picture_html(draw, 4.0, 1.6, alt=f"mel of {sound.vocoder}")
    return f"<figure><figcaption>{html.escape(sound.vocoder)}</figcaption>{picture}{player}</figure>"
