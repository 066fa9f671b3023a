"""Utterances of the phantom: film, sound and their truth."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import signal

from mri2speech.config import MelConfig
from mri2speech.phantom.gestures import Plan, Score, perform, phone_at
from mri2speech.phantom.line import OVERSAMPLING, simulate
from mri2speech.phantom.outline import ARTICULATORS, PHARYNX_LINES
from mri2speech.phantom.render import Frames, Painter, noisy
from mri2speech.phantom.source import excite, voice_strength
from mri2speech.phantom.tube import resonances

__all__ = ["ARTICULATORS", "Utterance", "frame_times", "utterance"]

Floats = npt.NDArray[np.float32]

MEL = MelConfig()
MOMENTS = 3  # per frame, for the blur of movement
CONTROLS = 16  # values of the area function per mel frame
VELUM_TUBE = PHARYNX_LINES + 3  # where the nose branches off
LEAST_VOICE = 0.02  # strength of the voice that counts as voiced


@dataclass(frozen=True)
class Utterance:
    """A spoken film with all that it was made from.

    Attributes:
        id: Name.
        speaker: Name of the speaker.
        text: The phones.
        frames: Film, `[T, 256, 256]`; frame i shows the tract at i / fps.
        fps: Frames a second.
        waveform: Speech, `[N]`, full scale 1.
        sample_rate: Of the waveform, in Hz.
        f0: Pitch in Hz, 0 where there is no voice, `[T]`.
        formants: Resonances F1 to F3 of the tube from glottis to lips in Hz, the nose left out, `[T, 3]`.
        area: Area function in cm2 from the glottis to the lips, `[T, S]`.
        lengths: Length of each tube in cm, `[T, S]`.
        articulators: In the order of `ARTICULATORS`, `[T, 9]`.
        phones: The phone of each frame.
    """

    id: str
    speaker: str
    text: str
    frames: Frames
    fps: float
    waveform: Floats
    sample_rate: int
    f0: Floats
    formants: Floats
    area: Floats
    lengths: Floats
    articulators: Floats
    phones: tuple[str, ...]


def frame_times(plan: Plan, fps: float) -> npt.NDArray[np.float64]:
    """Times in seconds of the frames: as many as the utterance has mel frames at the same rate."""
    return np.arange(1 + math.floor(plan.duration * fps)) / fps


def utterance(plan: Plan, *, fps: float | None = None, size: int = 256, mel: MelConfig = MEL) -> Utterance:
    """Film, sound and truth of a plan; the same plan gives the same bytes.

    Args:
        plan: Who says what, and how.
        fps: Frames a second; the mel rate if None, so that frame i belongs to mel frame i.
        size: Height and width of the film in pixels.
        mel: Its sample rate is the waveform's.
    """
    rate = mel.frame_rate if fps is None else fps
    times = frame_times(plan, rate)
    score = perform(plan, times)
    outline = score.outline(plan.speaker)
    spread = (np.arange(MOMENTS) - (MOMENTS - 1) / 2) / (MOMENTS * rate)
    blurred = perform(plan, (times[:, None] + spread).ravel()).outline(plan.speaker)
    clean = Painter(plan.speaker, size).signal(blurred, MOMENTS)
    voice = voice_strength(score, outline.area, outline.port)
    return Utterance(
        id=plan.id,
        speaker=plan.speaker.id,
        text=plan.text,
        frames=noisy(clean, plan.speaker, plan.seed),
        fps=rate,
        waveform=speak(plan, mel),
        sample_rate=mel.sample_rate,
        f0=np.where(voice > LEAST_VOICE, score.f0, 0).astype(np.float32),
        formants=resonances(outline.area, outline.lengths).astype(np.float32),
        area=outline.area.astype(np.float32),
        lengths=outline.lengths.astype(np.float32),
        articulators=score.articulators.astype(np.float32),
        phones=phone_at(plan, times),
    )


def speak(plan: Plan, mel: MelConfig = MEL) -> Floats:
    """The sound alone, `[N]`, its greatest sample `plan.peak`; sample 0 is at time 0."""
    count = round(plan.duration * mel.sample_rate)
    moments = math.ceil(plan.duration * mel.frame_rate * CONTROLS) + 2
    score: Score = perform(plan, np.linspace(0, (count - 1) / mel.sample_rate, moments))
    outline = score.outline(plan.speaker)
    rate = float(mel.sample_rate * OVERSAMPLING)
    source = excite(score, outline.area, outline.port, count * OVERSAMPLING, rate, plan.seed)
    pressure = simulate(
        outline.area, outline.lengths, outline.port, VELUM_TUBE, source.flow, source.noise, source.place, rate
    )
    # A linear-phase filter whose delay is taken off: sample n stays at time n / sample_rate.
    waveform = signal.resample_poly(pressure, 1, OVERSAMPLING)
    loudest = float(np.abs(waveform).max())
    if loudest == 0.0:  # nothing but silence was asked for
        return np.zeros(count, dtype=np.float32)
    return np.asarray(waveform * (plan.peak / loudest), dtype=np.float32)
