"""The page on which vocoders are listened to: one file, with sounds and pictures in it."""

import base64
import html
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np
import numpy.typing as npt
from torch import Tensor

import audio_io
from audio_io.atomic import write_text
from audio_io.figures import PALETTE, new_figure
from mri2speech.config import MelConfig
from mri2speech.features import band_centres

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
    body = [table_html(table, _HEADS)]
    for name, sounds in recordings.items():
        top = float(sounds[0].mel.max())
        figures = "\n".join(sound_html(sound, top, config) for sound in sounds)
        body.append(f'<h2>{html.escape(name)}</h2>\n<div class="row">\n{figures}\n</div>')
    write_html(path, f"{len(table)} vocoders on the same mels", body)


def write_html(path: str | Path, title: str, body: Sequence[str]) -> None:
    """Write a page of parts that are HTML already."""
    template = resources.files("mri2speech.vocoder").joinpath("page.html").read_text(encoding="utf-8")
    write_text(path, Template(template).substitute(title=html.escape(title), body="\n".join(body)))


def table_html(rows: Sequence[Mapping[str, str | int | float]], heads_of: Mapping[str, str]) -> str:
    """A table of rows.

    Args:
        rows: A value for each key of `heads_of`.
        heads_of: Heads of the columns.
    """
    heads = "".join(f'<th scope="col">{html.escape(head)}</th>' for head in heads_of.values())
    lines = []
    for row in rows:
        cells = (
            f"<td>{row[key]:.3f}</td>"
            if isinstance(row[key], float)
            else f"<td>{html.escape(str(row[key]))}</td>"
            for key in heads_of
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{heads}</tr></thead><tbody>\n" + "\n".join(lines) + "\n</tbody></table>"


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
    with tempfile.TemporaryDirectory() as folder:
        wav, png = Path(folder) / "sound.wav", Path(folder) / "mel.png"
        audio_io.save(wav, sound.waveform[None].clamp(-1, 1), config.sample_rate)
        with new_figure(png, width=4.0, height=1.6) as figure:
            axis = figure.add_subplot()
            rate = config.frame_rate
            axis.imshow(
                sound.mel.numpy(),
                origin="lower",
                aspect="auto",
                vmin=top - _RANGE_DB,
                vmax=top,
                # Each column lies around the time at which its frame is centred.
                extent=(-0.5 / rate, (sound.mel.shape[1] - 0.5) / rate, 0, config.n_mels),
            )
            centres = band_centres(config).numpy()
            for number, line in enumerate(lines):
                bands = np.interp(line, centres, np.arange(config.n_mels)) + 0.5
                axis.plot(
                    np.arange(len(line)) / rate,
                    np.where(np.isfinite(line), bands, np.nan),
                    color=PALETTE[number + 1],
                )
            axis.grid(visible=False)
            axis.set(xlabel="s", ylabel="mel band")
        return (
            f"<figure><figcaption>{html.escape(sound.vocoder)}</figcaption>"
            f'<img alt="mel of {html.escape(sound.vocoder)}" src="{_embedded(png, "image/png")}">'
            f'<audio controls preload="metadata" src="{_embedded(wav, "audio/wav")}"></audio></figure>'
        )


def _embedded(path: Path, kind: str) -> str:
    return f"data:{kind};base64," + base64.b64encode(path.read_bytes()).decode("ascii")
