"""Utterances as scores of phones, and their movements at any moment.

Between the plateaus on which an articulator holds its target it moves with the least jerk (Flash & Hogan,
J. Neurosci. 5, 1985); how long a movement takes is a property of the articulator. Everything is a closed
formula of time, so that a frame, a sample and a test see one and the same movement.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mri2speech.phantom.anatomy import Points, Speaker
from mri2speech.phantom.outline import ARTICULATORS, Outline, trace
from mri2speech.phantom.phones import CONSONANTS, PHONES, VOWELS, Phone

# Length of a movement in seconds: lips and tip are quick, body and jaw slower.
TRANSITION = {
    "jaw": 0.13, "body_x": 0.13, "body_y": 0.12, "tip_x": 0.09, "tip_y": 0.09, "lip_aperture": 0.10,
    "lip_protrusion": 0.13, "velum": 0.11, "larynx": 0.14,
}  # fmt: skip
OPEN_GLOTTIS = 0.18  # cm2 of an open glottis
ASPIRATION_SECONDS = 0.045


@dataclass(frozen=True)
class Plan:
    """All that an utterance follows from.

    Attributes:
        id: Name.
        speaker: Who says it.
        segments: Phones and their lengths in seconds, silence (`_`) included.
        f0: Knots (second, Hz) of the pitch.
        breath: Pressure of the lungs in dyn/cm2; 8,000 is about 8 cm of water.
        peak: Greatest sample of the waveform.
        seed: Of noise, jitter and image noise.
    """

    id: str
    speaker: Speaker
    segments: tuple[tuple[str, float], ...]
    f0: tuple[tuple[float, float], ...]
    breath: float = 8000.0
    peak: float = 0.6
    seed: int = 0

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return sum(length for _, length in self.segments)

    @property
    def text(self) -> str:
        """The phones."""
        return "".join(phone for phone, _ in self.segments if phone != "_")


@dataclass(frozen=True)
class Score:
    """A plan at T moments: articulators `[T, 9]`; the rest `[T]`.

    Attributes:
        articulators: In the order of `ARTICULATORS`.
        groove: See `trace`.
        lateral: See `trace`.
        abduction: Opening of the glottis beyond that of the voice, in cm2.
        voicing: Strength of the voice from 0 to 1, before the pressure above the glottis is taken off.
        pressure: Of the lungs, in dyn/cm2.
        f0: Pitch in Hz; given also where nothing is voiced.
    """

    articulators: Points
    groove: Points
    lateral: Points
    abduction: Points
    voicing: Points
    pressure: Points
    f0: Points

    def outline(self, speaker: Speaker) -> Outline:
        """The tract."""
        return trace(speaker, self.articulators, groove=self.groove, lateral=self.lateral)


def perform(plan: Plan, times: npt.ArrayLike) -> Score:
    """The plan at some moments.

    Args:
        plan: What is said.
        times: In seconds; before the start and after the end the first and last posture are held.

    Shape:
        - times: `[T]`
    """
    t = np.asarray(times, dtype=np.float64)
    ends = np.cumsum([length for _, length in plan.segments])
    spans = [
        (PHONES[name], float(end - length), float(end))
        for (name, length), end in zip(plan.segments, ends, strict=True)
    ]
    columns = []
    for name in ARTICULATORS:
        rows = [(start, end, phone.targets[name]) for phone, start, end in spans if name in phone.targets]
        # What no phone asks for rests as in the neutral vowel.
        columns.append(_course(t, rows or [(0.0, 0.0, PHONES["ə"].targets[name])], TRANSITION[name]))
    glottis = []
    for phone, start, end in spans:
        late = ASPIRATION_SECONDS if phone.aspirated else 0.0
        glottis.append((start + late, end + late, 0.0 if phone.voiced or not phone.breath else OPEN_GLOTTIS))
    knots = np.array(plan.f0)
    return Score(
        articulators=np.stack(columns, axis=-1),
        groove=_course(t, _each(spans, "groove"), 0.05),
        lateral=_course(t, _each(spans, "lateral"), 0.06),
        abduction=_course(t, glottis, 0.04),
        voicing=_course(t, _each(spans, "voiced", shift=True), 0.03),
        pressure=plan.breath * _course(t, _each(spans, "breath"), 0.06),
        f0=np.interp(t, knots[:, 0], knots[:, 1]),
    )


def phone_at(plan: Plan, times: npt.ArrayLike) -> tuple[str, ...]:
    """The phone of each moment."""
    ends = np.cumsum([length for _, length in plan.segments])
    index = np.minimum(np.searchsorted(ends, np.asarray(times), side="right"), len(plan.segments) - 1)
    return tuple(plan.segments[i][0] for i in index)


def _each(
    spans: Sequence[tuple[Phone, float, float]], name: str, *, shift: bool = False
) -> list[tuple[float, float, float]]:
    rows: list[tuple[float, float, float]] = []
    for phone, start, end in spans:
        # After an aspirated stop the voice waits for the glottis to close.
        late = ASPIRATION_SECONDS if shift and phone.aspirated else 0.0
        rows.append((rows[-1][1] if rows else start, end + late, float(getattr(phone, name))))
    return rows


def _course(times: Points, plateaus: Sequence[tuple[float, float, float]], transition: float) -> Points:
    """A value that is held on plateaus (start, end, value) and moves with the least jerk between them."""
    starts, ends, values = [], [], []
    for k, (start, end, value) in enumerate(plateaus):
        margin = min(transition, end - start) / 2
        starts.append(start + margin if k else -np.inf)
        ends.append(end - margin if k < len(plateaus) - 1 else np.inf)
        values.append(value)
    result = np.full(len(times), values[0])
    for k in range(len(values) - 1):
        share = np.clip((times - ends[k]) / max(starts[k + 1] - ends[k], 1e-9), 0, 1)
        result += (values[k + 1] - values[k]) * share**3 * (10 - 15 * share + 6 * share**2)
    return result


SILENCE_SECONDS = 0.18


def sustained(
    phone: str, speaker: Speaker, seconds: float = 1.0, *, f0: float | None = None, seed: int = 0
) -> Plan:
    """One phone alone, with a level pitch and no silence around it."""
    hz = f0 if f0 is not None else speaker.f0
    return Plan(f"{speaker.id}_{phone}", speaker, ((phone, seconds),), ((0.0, hz), (seconds, hz)), seed=seed)


def compose(speaker: Speaker, index: int, seed: int = 0) -> Plan:
    """An utterance of two to four seconds, drawn by its seed.

    A third are vowels and diphthongs, the others chains of vowels with consonants between them.
    """
    rng = np.random.default_rng([seed, index, speaker.seed, 2])
    rate = float(rng.uniform(0.85, 1.25))
    phones: list[tuple[str, float]] = []
    target, seconds = float(rng.uniform(1.7, 3.0)), 0.0
    vowels_only = index % 3 == 0
    previous = ""
    while seconds < target:
        vowel = str(rng.choice([v for v in VOWELS if v != previous]))
        length = float(rng.uniform(0.22, 0.42) if vowels_only else rng.uniform(0.13, 0.28)) * rate
        phones.append((vowel, length))
        seconds += length
        previous = vowel
        if not vowels_only and seconds < target:
            consonant = str(rng.choice(CONSONANTS))
            length = float(rng.uniform(0.08, 0.13)) * rate
            phones.append((consonant, length))
            seconds += length
    segments = (("_", SILENCE_SECONDS), *phones, ("_", SILENCE_SECONDS))
    # A declining line with an accent or two and a final fall or rise, in semitones.
    total = sum(length for _, length in segments)
    times = np.linspace(0, total, 7)
    semitones = np.linspace(2.0, -2.5, 7) + rng.uniform(-2.2, 2.2, 7)
    semitones[-1] += float(rng.choice([-3.0, 4.0]))
    f0 = tuple((float(t), float(speaker.f0 * 2 ** (s / 12))) for t, s in zip(times, semitones, strict=True))
    return Plan(
        id=f"{speaker.id}_{index:03d}",
        speaker=speaker,
        segments=tuple(segments),
        f0=f0,
        breath=float(rng.uniform(6500, 9500)),
        peak=float(rng.uniform(0.35, 0.8)),
        seed=int(rng.integers(2**31)),
    )
