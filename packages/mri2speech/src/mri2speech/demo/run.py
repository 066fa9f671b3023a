"""The stages of the demo, one after the other; each keeps what it has and goes on where it was.

In the folder: `phantom` and `strangers` (films, sound and truth), `data` and `strangers_data` (preprocessed),
`run` (the training), `vocoder` (its fine-tuning), `known` and `unknown` (measures, and a page to listen to),
`speech`, `gradcam`, `results.json` and `index.html`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

import audio_io
from audio_io.atomic import fingerprint, write_json
from audio_io.claims import claim_for
from audio_io.errors import FileError
from mri2speech.acoustic.record import FREE
from mri2speech.acoustic.train import fit
from mri2speech.demo.config import DemoConfig
from mri2speech.demo.films import write_films
from mri2speech.demo.page import write_page
from mri2speech.demo.voice import fine_tune
from mri2speech.evaluate.baseline import Baseline, learn
from mri2speech.evaluate.config import EvaluateConfig
from mri2speech.evaluate.page import write_page as write_measures
from mri2speech.evaluate.runner import Result, evaluate, summary, write
from mri2speech.gradcam.film import explain_film
from mri2speech.gradcam.videos import overlay_video
from mri2speech.phantom.config import PhantomConfig
from mri2speech.preprocess.corpus import preprocess
from mri2speech.synthesize import Synthesizer

KNOWN, UNKNOWN = "known", "unknown"
TITLES = {KNOWN: "Unseen utterances of the speakers", UNKNOWN: "Speakers never seen"}
# Where the films and the data of each group are.
PLACES = {KNOWN: ("phantom", "data"), UNKNOWN: ("strangers", "strangers_data")}
Measures = dict[str, dict[str, dict[str, float | None]]]


def run(
    output_dir: str | Path, config: DemoConfig, *, device: torch.device | None = None, workers: int = 1
) -> Measures:
    """Make the phantom's films, learn from them, let the model speak, and show what came of it.

    The same call goes on with what was interrupted or killed.

    Args:
        output_dir: Folder of the demo.
        config: What is made.
        device: Where the model is trained; the CPU if None.
        workers: Processes that make and read films.

    Returns:
        The means of `evaluate`, by group (`known`, `unknown`) and voice; None where nothing was found.

    Raises:
        FileError: If the folder holds a demo of other settings, or a film cannot be used.
    """
    folder = Path(output_dir)
    training = {name: value for name, value in asdict(config.training).items() if name not in FREE}
    settings = fingerprint({**asdict(config), "training": training, "shown": None, "gradcam": None})
    claim_for(folder / "demo.json", {"fingerprint": settings}, "a demo")
    print("1 of 5: films, sound and truth of the phantom", flush=True)
    for group, phantom in ((KNOWN, config.phantom), (UNKNOWN, config.strangers)):
        _films(folder, group, phantom, config, workers)
    print("2 of 5: training", flush=True)
    best = fit(
        folder / "data",
        folder / "run",
        config.training,
        architecture=config.acoustic,
        loss=config.loss,
        device=device,
    )
    print("3 of 5: fine-tuning of the vocoder on the model's mels", flush=True)
    voice = fine_tune(
        folder / "data", best, folder / "run" / "split.json", folder / "vocoder", config.tuning, device
    )
    print("4 of 5: speech of utterances that the model was not trained on", flush=True)
    synthesizer = Synthesizer.load(best, voice)
    baseline = learn(folder / "data", split=folder / "run" / "split.json", truth=folder / "phantom" / "truth")
    results = {group: _measured(folder, group, synthesizer, baseline, config) for group in TITLES}
    print("5 of 5: what the model looks at", flush=True)
    shown = [(group, name) for group, result in results.items() for name in result.shown]
    for group, name in shown:
        _explained(folder, group, name, results[group], best, config, synthesizer.mel_config.sample_rate)
    means = {group: _finite(result) for group, result in results.items()}
    write_json(folder / "results.json", {"settings": asdict(config), "means": means})
    write_page(folder, {group: (TITLES[group], result) for group, result in results.items()}, shown)
    _report(folder, results)
    return means


def _finite(result: Result) -> dict[str, dict[str, float | None]]:
    return {
        voice: {name: value if math.isfinite(value) else None for name, value in row.items()}
        for voice, row in result.means.items()
    }


def _films(folder: Path, group: str, phantom: PhantomConfig, config: DemoConfig, workers: int) -> None:
    corpus, data = (folder / place for place in PLACES[group])
    write_films(corpus, phantom, workers=workers)
    report = preprocess(
        corpus / "videos", data, config.preprocess, audio_dir=corpus / "audio", workers=workers
    )
    if report.dropped:
        film, reason = report.dropped[0]
        raise FileError(film, reason, "a film; without it and its truth, the demo makes it anew")


def _measured(
    folder: Path, group: str, synthesizer: Synthesizer, baseline: Baseline, config: DemoConfig
) -> Result:
    corpus, data = (folder / place for place in PLACES[group])
    result = evaluate(
        data,
        synthesizer,
        EvaluateConfig(players=config.shown),
        split=folder / "run" / "split.json" if group == KNOWN else None,
        truth=corpus / "truth",
        baseline=baseline,
    )
    write(result, folder / group)
    write_measures(folder / group / "index.html", result, synthesizer.mel_config)
    return result


def _explained(
    folder: Path, group: str, name: str, result: Result, best: Path, config: DemoConfig, sample_rate: int
) -> None:
    """Write the generated speech, its heat maps, and the film with both."""
    video = folder / PLACES[group][0] / "videos" / f"{name}.avi"
    target = folder / "gradcam" / f"{group}_{name}"
    speech = folder / "speech" / f"{group}_{name}.wav"
    waveform = result.shown[name]["predicted"][0]
    audio_io.save(speech, waveform[None].clamp(-1, 1), sample_rate)
    files = explain_film(video, best, target, config=config.gradcam, preprocess=config.preprocess)
    maps = [path for path in files if path.suffix == ".npy"]
    overlay_video(video, maps, target / "overlay.mp4", audio=speech, preprocess=config.preprocess)


def _report(folder: Path, results: Mapping[str, Result]) -> None:
    for group, result in results.items():
        print(f"{TITLES[group]}: {summary(result.means)}")
    print(f"look at {folder / 'index.html'}")
    print("with films of your own: mri2speech preprocess --data-dir FILMS --out-dir DATA, and then")
    print("mri2speech train --data DATA --output-dir RUN; the page says more", flush=True)
