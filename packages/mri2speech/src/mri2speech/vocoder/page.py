"""The page on which vocoders are listened to: one file, with sounds and pictures in it."""

import base64
import html
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from torch import Tensor

import audio_io
from audio_io.atomic import write_text
from audio_io.figures import new_figure
from mri2speech.config import MelConfig

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
    body = [_table(table)]
    for name, sounds in recordings.items():
        top = float(sounds[0].mel.max())
        figures = "\n".join(_figure(sound, top, config) for sound in sounds)
        body.append(f'<h2>{html.escape(name)}</h2>\n<div class="row">\n{figures}\n</div>')
    template = resources.files("mri2speech.vocoder").joinpath("page.html").read_text(encoding="utf-8")
    title = f"{len(table)} vocoders on the same mels"
    write_text(path, Template(template).substitute(title=title, body="\n".join(body)))


def _table(rows: Sequence[Mapping[str, str | int | float]]) -> str:
    heads = "".join(f'<th scope="col">{head}</th>' for head in _HEADS.values())
    lines = []
    for row in rows:
        cells = (
            f"<td>{row[key]:.3f}</td>"
            if isinstance(row[key], float)
            else f"<td>{html.escape(str(row[key]))}</td>"
            for key in _HEADS
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{heads}</tr></thead><tbody>\n" + "\n".join(lines) + "\n</tbody></table>"


def _figure(sound: Sound, top: float, config: MelConfig) -> str:
    with tempfile.TemporaryDirectory() as folder:
        wav, png = Path(folder) / "sound.wav", Path(folder) / "mel.png"
        audio_io.save(wav, sound.waveform[None].clamp(-1, 1), config.sample_rate)
        with new_figure(png, width=4.0, height=1.6) as figure:
            axis = figure.add_subplot()
            seconds = sound.mel.shape[1] / config.frame_rate
            axis.imshow(
                sound.mel.numpy(),
                origin="lower",
                aspect="auto",
                vmin=top - _RANGE_DB,
                vmax=top,
                extent=(0, seconds, 0, config.n_mels),
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
