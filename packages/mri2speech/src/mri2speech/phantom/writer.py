"""A corpus of the phantom on disk: films with sound, recordings, and the truth behind both.

    videos/<ID>.avi    FFV1 and 16-bit PCM: the very pixels and samples; `browser` adds an .mp4
    audio/<ID>.wav     16 bits at 11,413 Hz
    truth/<ID>.npz     f0, formants, area, lengths, articulators, phones: a row per frame
    corpus.json        the settings and the speakers

Reference: the folders are those that `mri2speech preprocess` takes.
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audio_io import save
from audio_io.atomic import atomic_path, fingerprint
from audio_io.claims import claim_for
from audio_io.errors import ConfigError
from mri2speech.arrays import Arrays, read_archive
from mri2speech.phantom.anatomy import speaker
from mri2speech.phantom.config import PhantomConfig
from mri2speech.phantom.corpus import Utterance, utterance
from mri2speech.phantom.gestures import Plan, compose
from mri2speech.preprocess.workers import run_all
from mri2speech.video_writer import write_video

TRUTH = ("f0", "formants", "area", "lengths", "articulators")
# Raised whenever the same settings give another picture or sound.
VERSION = 3


def plans(config: PhantomConfig) -> Iterator[Plan]:
    """What a corpus of these settings says, utterance by utterance."""
    for index in range(config.utterances):
        for number in range(config.speakers):
            yield compose(speaker(number, config.seed), index, config.seed)


def write_corpus(
    folder: str | Path, config: PhantomConfig | None = None, *, workers: int = 1, browser: bool = False
) -> list[str]:
    """Write a corpus, or what of it is missing.

    Args:
        folder: Where; it may hold the corpus already, whole or in part.
        config: How much, and how.
        workers: Processes that render.
        browser: Whether to write films as H.264 and AAC too, which browsers play.

    Returns:
        The ids of all utterances.

    Raises:
        ConfigError: If `workers` is less than 1.
        FileError: If the folder holds a corpus of other settings, or something else.
        UserError: If a process was killed.
    """
    if workers < 1:
        raise ConfigError("workers", workers, "at least 1")
    config = config or PhantomConfig()
    root = Path(folder)
    about: dict[str, Any] = {"settings": asdict(config), "version": VERSION}
    about["fingerprint"] = fingerprint(about)
    about["speakers"] = [asdict(speaker(number, config.seed)) for number in range(config.speakers)]
    claim_for(root / "corpus.json", about, "a corpus of the phantom")
    for part in ("videos", "audio", "truth"):
        (root / part).mkdir(parents=True, exist_ok=True)
    everything = list(plans(config))
    missing = [
        plan for plan in everything if not all(path.exists() for path in _files(root, plan.id, browser))
    ]
    task = partial(_write, root=root, config=config, browser=browser)
    for _, outcome in run_all(missing, task, workers=workers):
        if outcome is not None:
            raise outcome
    return [plan.id for plan in everything]


def load_truth(path: str | Path) -> Arrays:
    """The arrays of `truth/<ID>.npz`: float32 of `Utterance`, and `phones` as text.

    Raises:
        FileError: If it cannot be read.
    """
    return read_archive(path, "truth/<ID>.npz of a phantom", (*TRUTH, "phones"))


def _files(root: Path, identity: str, browser: bool) -> list[Path]:
    files = [root / "videos" / f"{identity}.avi", root / "audio" / f"{identity}.wav"]
    if browser:
        files.append(root / "browser" / f"{identity}.mp4")
    return [*files, root / "truth" / f"{identity}.npz"]


def _write(plan: Plan, *, root: Path, config: PhantomConfig, browser: bool) -> None:
    made = utterance(plan, fps=config.fps, size=config.size)
    video, audio, *copies, truth = _files(root, plan.id, browser)
    sound = torch.from_numpy(made.waveform)
    write_video(video, made.frames, made.fps, waveform=sound, sample_rate=made.sample_rate, lossless=True)
    save(audio, sound[None], made.sample_rate, subtype="PCM_16")
    for copy in copies:
        copy.parent.mkdir(exist_ok=True)
        write_video(copy, made.frames, made.fps, waveform=sound, sample_rate=made.sample_rate)
    # Last, so that an utterance with its truth is complete.
    _write_truth(truth, made)


def _write_truth(path: Path, made: Utterance) -> None:
    arrays = {name: getattr(made, name) for name in TRUTH}
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays, phones=np.array(made.phones), fps=made.fps)
