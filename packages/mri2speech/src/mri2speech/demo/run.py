"""The stages of the demo, one after the other; each keeps what it has and goes on where it was.

In the folder: `phantom` and `strangers` (films, sound and truth), `data` and `strangers_data` (preprocessed),
`run` (the training), `speech`, `recordings`, `gradcam`, `figures`, `results.json` and `index.html`.
"""

import html
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audio_io.atomic import atomic_path, fingerprint, write_json
from audio_io.errors import FileError
from mri2speech.acoustic import checkpoint
from mri2speech.acoustic.config import AcousticConfig, FitConfig, LossConfig
from mri2speech.acoustic.model import AcousticModel
from mri2speech.acoustic.train import fit
from mri2speech.demo.config import FULL, DemoConfig
from mri2speech.demo.films import write_films
from mri2speech.demo.judge import Spoken, baseline, speak, summary
from mri2speech.demo.maps import FORMANT_BANDS, formant_maps
from mri2speech.demo.page import draw_formants, write_page, write_speech
from mri2speech.demo.voice import load_voice
from mri2speech.features import Scaler
from mri2speech.meta import Meta
from mri2speech.phantom.config import PhantomConfig
from mri2speech.preprocess.corpus import preprocess
from mri2speech.splits import Split

UTTERANCES, STRANGERS = "unseen utterances of the speakers", "speakers never seen"
Results = dict[str, dict[str, float]]


def run(
    output_dir: str | Path, config: DemoConfig, *, device: torch.device | None = None, workers: int = 1
) -> Results:
    """Make the phantom's films, learn from them, let the model speak, and show what came of it.

    The same call goes on with what was interrupted or killed.

    Args:
        output_dir: Folder of the demo.
        config: What is made.
        device: Where the model is trained; the CPU if None.
        workers: Processes that make and read films.

    Returns:
        For each group of utterances what `judge.summary` gives.

    Raises:
        FileError: If the folder holds a demo of other settings.
    """
    folder = Path(output_dir)
    _claim(folder, config)
    _say("1/5", "films, sound and truth of the phantom")
    data = _films(folder, "phantom", "data", config.phantom, config, workers)
    strange = _films(folder, "strangers", "strangers_data", config.strangers, config, workers)
    _say("2/5", "training")
    best = fit(
        data, folder / "run", config.training, architecture=config.acoustic, loss=config.loss, device=device
    )
    _say("3/5", "speech of utterances that the model has not seen")
    model, scaler, _ = checkpoint.load(best)
    name, voice = load_voice(scaler.mel)
    split = Split.load(folder / "run" / "split.json", Meta.load(data))
    mean = baseline(folder / "phantom", data, split.train)
    strangers = range(len(Meta.load(strange).samples))
    groups = {
        UTTERANCES: speak(folder / "phantom", data, split.test, model, scaler, voice, mean),
        STRANGERS: speak(folder / "strangers", strange, strangers, model, scaler, voice, mean),
    }
    results = {group: summary(spoken) for group, spoken in groups.items()}
    _say("4/5", "heat maps")
    shown = _shown(groups, config.shown)
    for _, entry in shown:
        write_speech(folder, entry, _maps(folder, entry, model, scaler), scaler.mel)
    _say("5/5", "page")
    draw_formants(folder / "figures" / "formants.png", groups)
    write_json(folder / "results.json", {"vocoder": name, "settings": asdict(config), "results": results})
    write_page(folder, results, shown, name, _next_steps(folder))
    _report(folder, results)
    return results


def _claim(folder: Path, config: DemoConfig) -> None:
    path = folder / "demo.json"
    mark = fingerprint(config)
    if path.is_file():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))["fingerprint"]
        except (ValueError, KeyError, TypeError) as error:
            raise FileError(path, f"no mark of a demo ({error})", "another --output-dir") from error
        if stored != mark:
            raise FileError(path, "a demo of other settings", "the same, or another --output-dir")
    write_json(path, {"fingerprint": mark})


def _say(number: str, text: str) -> None:
    print(f"[{number}] {text}", flush=True)


def _films(
    folder: Path, corpus: str, data: str, phantom: PhantomConfig, config: DemoConfig, workers: int
) -> Path:
    write_films(folder / corpus, phantom, workers=workers)
    report = preprocess(
        folder / corpus / "videos",
        folder / data,
        config.preprocess,
        audio_dir=folder / corpus / "audio",
        workers=workers,
    )
    if report.dropped:
        film, reason = report.dropped[0]
        raise FileError(film, reason, "a film that can be used; remove it, and it is made anew")
    return folder / data


def _shown(groups: Mapping[str, list[Spoken]], count: int) -> list[tuple[str, Spoken]]:
    """Utterances of both groups in turn, from different speakers first."""
    queues = []
    for group, spoken in groups.items():
        first = {entry.sample.speaker: entry for entry in reversed(spoken)}
        rest = [entry for entry in spoken if entry is not first[entry.sample.speaker]]
        queues.append([(group, entry) for entry in [*sorted(first.values(), key=_id), *rest]])
    longest = max(map(len, queues))
    turns = [queue[place] for place in range(longest) for queue in queues if place < len(queue)]
    return turns[:count]


def _id(entry: Spoken) -> str:
    return entry.sample.id


def _maps(folder: Path, entry: Spoken, model: AcousticModel, scaler: Scaler) -> dict[str, Any]:
    heat = {
        band: formant_maps(model, entry.frames, edges, scaler.mel) for band, edges in FORMANT_BANDS.items()
    }
    for band, values in heat.items():
        with atomic_path(folder / "gradcam" / f"{entry.sample.id}_{band}_sequence.npy") as path:
            np.save(path, values.half().numpy())
    return heat


def _next_steps(folder: Path) -> str:
    place = html.escape(shlex.quote(str(folder)))
    return (
        "<p>A folder of films, with their sound or with sound files beside them:</p>\n"
        "<pre>mri2speech preprocess --data-dir FILMS --audio-dir WAVS --out-dir DATA\n"
        "mri2speech train --data DATA --output-dir RUN --split utterance</pre>\n"
        "<p>The defaults are a full-size model, for a GPU. The small one of this page is trained with</p>\n"
        f"<pre>mri2speech train --data DATA --output-dir RUN {small_options()}</pre>\n"
        f"<p>This folder, <code>{place}</code>, can be deleted; its large parts are <code>data</code> and "
        "<code>phantom</code>.</p>"
    )


def small_options() -> str:
    """The options of `mri2speech train` that differ from the brief's in the demo's own training."""
    options = []
    for ours, default in (
        (FULL.acoustic, AcousticConfig()),
        (FULL.loss, LossConfig()),
        (FULL.training, FitConfig()),
    ):
        for field in fields(ours):
            value = getattr(ours, field.name)
            if value != getattr(default, field.name):
                options.append(f"--{field.name.replace('_', '-')} {value}")
    return " ".join(options)


def _report(folder: Path, results: Results) -> None:
    for group, result in results.items():
        for kind in ("vowels", "voiced"):
            numbers = ", ".join(
                f"{name} {result[f'speech/{kind}/{name}']:.0f} Hz (the mean as a guess: "
                f"{result[f'mean/{kind}/{name}']:.0f})"
                for name in ("F1", "F2")
            )
            frames = "vowels" if kind == "vowels" else "all voiced frames"
            print(f"{group}, formants of the speech, RMSE in {frames}: {numbers}")
    print(f"look at {folder / 'index.html'}")
    print("with films of your own: mri2speech preprocess --data-dir FILMS --out-dir DATA, and then")
    print("mri2speech train --data DATA --output-dir RUN; the page says more", flush=True)
