"""The demo's corpus: the phantom on one note.

A picture does not show how fast the vocal folds vibrate. Where the pitch moves, the harmonics of a mel cannot
be foretold from a film, the model gives the mean of what they may be, and the speech is hoarse. Here every
speaker keeps to one pitch, so that all of the mel follows from the picture. `mri2speech phantom` makes speech
whose pitch moves.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

import audio_io
from audio_io.atomic import atomic_path
from mri2speech.phantom.config import PhantomConfig
from mri2speech.phantom.corpus import utterance
from mri2speech.phantom.gestures import Plan
from mri2speech.phantom.writer import TRUTH, plans
from mri2speech.preprocess.workers import run_all
from mri2speech.video_writer import write_video


def write_films(folder: Path, config: PhantomConfig, *, workers: int = 1) -> None:
    """Write `videos/<ID>.avi`, `audio/<ID>.wav` and `truth/<ID>.npz`, or what of them is missing.

    Raises:
        OSError: If a file cannot be written.
        UserError: If a process was killed.
    """
    missing = [_level(plan) for plan in plans(config) if not _truth(folder, plan).is_file()]
    for _, outcome in run_all(missing, partial(_write, folder=folder, config=config), workers=workers):
        if isinstance(outcome, Exception):
            raise outcome


def _level(plan: Plan) -> Plan:
    hz = plan.speaker.f0
    return replace(plan, f0=((0.0, hz), (plan.duration, hz)))


def _truth(folder: Path, plan: Plan) -> Path:
    return folder / "truth" / f"{plan.id}.npz"


def _write(plan: Plan, *, folder: Path, config: PhantomConfig) -> None:
    made = utterance(plan, fps=config.fps, size=config.size)
    sound = torch.from_numpy(made.waveform)
    video = folder / "videos" / f"{plan.id}.avi"
    write_video(video, made.frames, made.fps, waveform=sound, sample_rate=made.sample_rate, lossless=True)
    audio_io.save(folder / "audio" / f"{plan.id}.wav", sound[None], made.sample_rate, subtype="PCM_16")
    # Last, so that an utterance with its truth is complete.
    with atomic_path(_truth(folder, plan)) as temporary:
        np.savez(temporary, **{name: getattr(made, name) for name in TRUTH}, phones=np.array(made.phones))
