"""`index.html` of the demo: what came of it, films with sound and heat maps, and what to do next."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from mri2speech.acoustic.config import AcousticConfig, FitConfig, LossConfig
from mri2speech.demo.config import FULL
from mri2speech.evaluate.runner import Result, summary
from mri2speech.pages import table_html, write_html

_VOICES = {
    "predicted": "the film's speech",
    "griffin-lim": "the film's speech, by Griffin-Lim",
    "copy": "the recording's mels, by the same vocoder",
    "mean": "always the mean of the recordings",
}
_HEADS = {
    "voice": "formants of",
    "f1_reader_rmse_hz": "F1, spectrum",
    "f2_reader_rmse_hz": "F2, spectrum",
    "f1_rmse_hz": "F1, peaks",
    "f2_rmse_hz": "F2, peaks",
}


def write_page(
    folder: Path, results: Mapping[str, tuple[str, Result]], shown: Sequence[tuple[str, str]]
) -> None:
    """Write `index.html`.

    Args:
        folder: Of the demo.
        results: Title and measures of each group of utterances, by the name of its folder.
        shown: Group and name of the utterances that have a film in `gradcam`.
    """
    body = [
        "<p>The films show a model of the vocal tract, and the sound was made by the same tract: the "
        "resonances of its tube are the truth. The acoustic model has learned mels from films, and the "
        "vocoder that comes with the package, fine-tuned on such mels, speaks them. All that follows is of "
        "utterances that neither was trained on.</p>",
        "<p>Every speaker keeps to one pitch: a film does not show how fast the vocal folds vibrate. That of "
        "a speaker whom the model has never seen is a guess.</p>",
    ]
    for group, (title, result) in results.items():
        rows = [
            [words, *(_hertz(result, voice, key) for key in _HEADS if key != "voice")]
            for voice, words in _VOICES.items()
        ]
        body += [
            f"<h2>{html.escape(title)}</h2>",
            table_html(_HEADS.values(), rows),
            "<p>Root mean square errors in Hz. <em>Spectrum</em>: read off the mels of the sound by a smooth "
            "map fitted on the recordings of the training. <em>Peaks</em>: of linear prediction, which takes "
            "a wrong one where the right one is blurred.</p>",
            f"<p>{html.escape(summary(result.means))}</p>",
            f'<p><a href="{group}/index.html">All measures, and each utterance with its sounds, mels and '
            "formants</a></p>",
        ]
    body.append(
        "<h2>What the model looks at</h2>\n<p>The generated speech, and heat maps (Grad-CAM) of what "
        'raises or lowers the energy at 300-900 Hz (F1) and at 900-2500 Hz (F2).</p>\n<div class="row">'
    )
    for group, name in shown:
        place = f"gradcam/{group}_{name}"
        body.append(
            f"<figure><figcaption>{html.escape(name)} ({html.escape(results[group][0])})</figcaption>"
            f'<video controls loop width="100%" src="{place}/overlay.mp4"></video>'
            f'<img alt="mean heat map of F1" src="{place}/gradcam_F1_average.png">'
            f'<img alt="mean heat map of F2" src="{place}/gradcam_F2_average.png"></figure>'
        )
    body += [
        "</div>",
        '<h2>Training</h2>\n<p><img alt="Losses and errors over the epochs" src="run/curves.png" '
        'style="max-width: 100%"></p>',
        '<p>The model: <a href="run/best.pt">run/best.pt</a>. The data: '
        '<a href="data/preprocess.png">frames and mels</a>. All figures: '
        '<a href="results.json">results.json</a>.</p>',
        "<h2>Your own films</h2>",
        "<pre>mri2speech preprocess --data-dir FILMS --audio-dir WAVS --out-dir DATA\n"
        "mri2speech train --data DATA --output-dir RUN --split utterance</pre>",
        "<p>These defaults are a full-size model, for a GPU. The small one of this page is trained with</p>",
        '<pre style="white-space: pre-wrap">mri2speech train --data DATA --output-dir RUN '
        f"{small_options()}</pre>",
    ]
    write_html(folder / "index.html", "Speech from films of the phantom", body)


def _hertz(result: Result, voice: str, key: str) -> str:
    means = result.means[voice]
    # Whoever guesses the mean is wrong by as much, however formants are measured.
    value = means.get(key, means[key.replace("_reader", "")])
    return f"{value:.0f}" if math.isfinite(value) else "-"


def small_options() -> str:
    """The options of `mri2speech train` in which the demo's training differs from the brief's."""
    pairs = ((FULL.acoustic, AcousticConfig()), (FULL.loss, LossConfig()), (FULL.training, FitConfig()))
    return " ".join(
        f"--{field.name.replace('_', '-')} {getattr(ours, field.name)}"
        for ours, default in pairs
        for field in fields(ours)
        if getattr(ours, field.name) != getattr(default, field.name)
    )
