"""What the demo shows: `index.html`, its figures, and films with sound and heat maps."""

import html
from collections.abc import Mapping, Sequence
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
from mri2speech.demo.judge import Spoken
from mri2speech.features import band_centres
from mri2speech.video_writer import write_video

_COLOURS = {"F1": (0xD5, 0x5E, 0x00), "F2": (0x56, 0xB4, 0xE9)}  # of the palette; told apart by all readers
_ALPHA = 0.7
_RANGE_DB = 70.0
_SOURCES = {
    "speech": "speech that the model made",
    "mel": "its mel, without a vocoder",
    "recording": "the phantom's recording: what the measurement can do",
    "mean": "always the mean of the training utterances",
}


def write_speech(folder: Path, entry: Spoken, heat: Mapping[str, Tensor], mel: MelConfig) -> None:
    """Write the sounds, the film with heat maps and the figure of an utterance."""
    name = entry.sample.id
    audio_io.save(folder / "speech" / f"{name}.wav", entry.speech[None].clamp(-1, 1), mel.sample_rate)
    audio_io.save(folder / "recordings" / f"{name}.wav", entry.recording[None], mel.sample_rate)
    frames = [
        _overlay(frame, {band: rows[t] for band, rows in heat.items()})
        for t, frame in enumerate(entry.frames)
    ]
    video = folder / "gradcam" / f"{name}.mp4"
    write_video(video, frames, mel.frame_rate, waveform=entry.speech, sample_rate=mel.sample_rate)
    draw_utterance(folder / "figures" / f"{name}.png", entry, frames, mel)


def _overlay(frame: Tensor, heat: Mapping[str, Tensor]) -> npt.NDArray[np.uint8]:
    """A grey frame `[H, W]` with heat maps `[H, W]` in their colours, `[H, W, 3]`."""
    grey = frame.float().numpy()[..., None] * 255 * np.ones(3)
    for band, values in heat.items():
        share = _ALPHA * values.numpy()[..., None]
        grey = grey * (1 - share) + share * np.array(_COLOURS[band])
    return grey.round().astype(np.uint8)


def draw_utterance(
    path: Path, entry: Spoken, frames: Sequence[npt.NDArray[np.uint8]], mel: MelConfig
) -> None:
    """Frames with heat maps, the true and the predicted mel, and the formants of both."""
    rate, count = mel.frame_rate, len(frames)
    seconds = np.arange(count) / rate
    centres = band_centres(mel).numpy()
    top = float(entry.true_mel.max())
    with new_figure(path, width=10.0, height=8.0) as figure:
        rows = figure.add_gridspec(4, 6, height_ratios=(1.0, 1.0, 1.0, 1.3))
        voiced = np.flatnonzero(entry.truth.vowels)
        shown = voiced[np.linspace(0, len(voiced) - 1, 8).round().astype(int)[1:-1]]
        for column, index in enumerate(shown):
            axes = figure.add_subplot(rows[0, column])
            axes.imshow(frames[index])
            axes.set_title(f"{index / rate:.2f} s", fontsize=9, fontweight="normal")
            axes.axis("off")
        for row, (title, values) in enumerate((("recording", entry.true_mel), ("model", entry.mel)), start=1):
            axes = figure.add_subplot(rows[row, :])
            edges = np.append(seconds, count / rate) - 0.5 / rate
            axes.pcolormesh(
                edges, _edges(centres), values.numpy(), vmin=top - _RANGE_DB, vmax=top, rasterized=True
            )
            axes.set(ylabel="Hz", title=f"mel of the {title}")
            axes.grid(visible=False)
        axes = figure.add_subplot(rows[3, :])
        for column, colour in enumerate(PALETTE[:2]):
            truth = np.where(entry.truth.voiced, entry.truth.formants[:, column], np.nan)
            axes.plot(seconds, truth, color=colour, label=f"F{column + 1} of the tube")
            axes.plot(
                seconds,
                entry.found["speech"][:, column],
                ".",
                color=colour,
                label=f"F{column + 1} of the speech",
            )
        axes.set(xlabel="time in s", ylabel="Hz", xlim=(-0.5 / rate, (count - 0.5) / rate))
        axes.legend(ncols=4, loc="upper right")


def _edges(centres: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    middles = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[0.0], middles, [2 * centres[-1] - middles[-1]]])


def draw_formants(path: Path, groups: Mapping[str, Sequence[Spoken]]) -> None:
    """Formants of the synthesised vowels over those of the tube."""
    with new_figure(path, width=10.0, height=4.8) as figure:
        for axes, column in zip(figure.subplots(1, 2), range(2), strict=True):
            for (title, spoken), colour in zip(groups.items(), PALETTE, strict=False):
                true, found = (
                    np.concatenate([values[entry.truth.vowels, column] for entry, values in pairs])
                    for pairs in (
                        [(entry, entry.truth.formants) for entry in spoken],
                        [(entry, entry.found["speech"]) for entry in spoken],
                    )
                )
                axes.plot(true, found, ".", markersize=3, alpha=0.5, color=colour, label=title)
            ends = axes.get_xlim()
            axes.plot(ends, ends, color="#444444", linewidth=0.8)
            name = f"F{column + 1}"
            axes.set(title=f"{name} of vowels", xlabel="tube, Hz", ylabel="synthesised speech (LPC), Hz")
            axes.legend(markerscale=3)


def write_page(
    folder: Path,
    results: Mapping[str, Mapping[str, float]],
    shown: Sequence[tuple[str, Spoken]],
    voice: str,
    steps: str,
) -> None:
    """Write `index.html`.

    Args:
        folder: Of the demo.
        results: Of each group of utterances, as `judge.summary` gives them.
        shown: Group and utterance, of those whose files `write_speech` wrote.
        voice: Name of the vocoder.
        steps: What to do next, as HTML.
    """
    parts = [_table(title, result) for title, result in results.items()]
    utterances = [_utterance(group, entry) for group, entry in shown]
    template = resources.files("mri2speech.demo").joinpath("page.html").read_text(encoding="utf-8")
    page = Template(template).substitute(
        voice=html.escape(voice), results="\n".join(parts), utterances="\n".join(utterances), steps=steps
    )
    write_text(folder / "index.html", page)


def _table(title: str, result: Mapping[str, float]) -> str:
    rows = []
    for source, words in _SOURCES.items():
        cells = "".join(
            f"<td>{result[f'{source}/{kind}/{name}']:.0f}</td>"
            for kind in ("vowels", "voiced")
            for name in ("F1", "F2")
        )
        rows.append(f'<tr><th scope="row">{words}</th>{cells}</tr>')
    heads = "".join(
        f'<th scope="col">{name}, {kind}</th>' for kind in ("vowels", "all voiced") for name in ("F1", "F2")
    )
    frames = f"{result['frames/vowels']:.0f} frames of vowels, {result['frames/voiced']:.0f} voiced"
    return (
        f"<h3>{html.escape(title)}</h3>\n"
        f"<table><thead><tr><th>RMSE in Hz, formants of</th>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
        f'<p class="soft">{frames}. Mean error of the mel: {result["mel_mae_db"]:.1f} dB; '
        f"of the mean mel as a guess: {result['mean_mel_mae_db']:.1f} dB.</p>"
    )


def _utterance(group: str, entry: Spoken) -> str:
    name = html.escape(entry.sample.id)
    return (
        f"<h3>{name} ({html.escape(group)})</h3>\n"
        f'<div class="row"><figure><figcaption>speech and heat maps</figcaption>'
        f'<video controls loop preload="metadata" src="gradcam/{name}.mp4"></video></figure>'
        f"<figure><figcaption>speech of the model</figcaption>"
        f'<audio controls src="speech/{name}.wav"></audio><figcaption>recording of the phantom</figcaption>'
        f'<audio controls src="recordings/{name}.wav"></audio></figure></div>\n'
        f'<img alt="Frames, mels and formants of {name}" src="figures/{name}.png">'
    )
