"""What an articulator does to picture and sound: the truth that a saliency map can be held against.

One frame of an utterance is made again with one articulator moved and everything else as it was. Where the
picture changes, and by how much the resonances change, is the cause of a formant in the image.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mri2speech.phantom.gestures import Plan, perform
from mri2speech.phantom.outline import ARTICULATORS, HIGHEST, LOWEST, Outline, trace
from mri2speech.phantom.render import Painter
from mri2speech.phantom.tube import resonances

Image = npt.NDArray[np.float32]

# A movement that is seen and heard, yet leaves the phone what it is: mm, and share of the velum's way.
STEP: Final = {name: (0.3 if name == "velum" else 2.0) for name in ARTICULATORS}


@dataclass(frozen=True)
class Effect:
    """What moving one articulator changes at one moment.

    Attributes:
        articulator: Its name.
        delta: By how much it was moved, in mm (the velum: share of its way).
        image: Change of the noise-free picture, `[size, size]`, full scale 1.
        formants: Change of F1 to F3 in Hz, `[3]`.
    """

    articulator: str
    delta: float
    image: Image
    formants: npt.NDArray[np.float64]


def regions(plan: Plan, frame: int, *, fps: float, size: int = 256) -> npt.NDArray[np.uint8]:
    """The organ of each pixel of a frame, as numbers of `scene.Region`, `[size, size]`."""
    return Painter(plan.speaker, size).regions(_outline(plan, frame, fps), 0)


def moved(plan: Plan, frame: int, articulator: str, delta: float, *, fps: float, size: int = 256) -> Effect:
    """What changes if an articulator is moved at one frame.

    Args:
        plan: What is said.
        frame: Which frame, from 0.
        articulator: One of `ARTICULATORS`.
        delta: By how much, in mm (the velum: share of its way); the articulator stays within its range.
        fps: Frames a second.
        size: Height and width of the picture.
    """
    painter = Painter(plan.speaker, size)
    before = _outline(plan, frame, fps)
    return _effect(plan, painter, painter.signal(before, 1)[0], before, articulator, delta)


def sensitivity(plan: Plan, frame: int, *, fps: float, size: int = 256) -> tuple[Effect, ...]:
    """`moved` for every articulator, each by its `STEP` towards the middle of its range."""
    painter = Painter(plan.speaker, size)
    before = _outline(plan, frame, fps)
    picture = painter.signal(before, 1)[0]
    effects = []
    for index, name in enumerate(ARTICULATORS):
        middle = (LOWEST[index] + HIGHEST[index]) / 2
        towards = 1.0 if before.articulators[0, index] < middle else -1.0
        effects.append(_effect(plan, painter, picture, before, name, towards * STEP[name]))
    return tuple(effects)


def causal_map(effects: tuple[Effect, ...], formant: int) -> Image:
    """Where the picture holds what a formant depends on.

    The change of the picture by each articulator, weighted with the change of the formant that came with it:
    a place counts as much as the movements that are seen there move the formant.

    Args:
        effects: Of `sensitivity`.
        formant: 0 for F1, 1 for F2, 2 for F3.

    Shape:
        - output: `[size, size]`, not negative
    """
    weighted = [np.abs(effect.image) * abs(float(effect.formants[formant])) for effect in effects]
    return np.asarray(np.sum(weighted, axis=0), dtype=np.float32)


def _outline(plan: Plan, frame: int, fps: float) -> Outline:
    return perform(plan, [frame / fps]).outline(plan.speaker)


def _effect(
    plan: Plan, painter: Painter, picture: Image, before: Outline, articulator: str, delta: float
) -> Effect:
    index = ARTICULATORS.index(articulator)
    values = before.articulators.copy()
    values[:, index] = np.clip(values[:, index] + delta, LOWEST[index], HIGHEST[index])
    delta = float(values[0, index] - before.articulators[0, index])
    after = trace(plan.speaker, values, groove=before.groove, lateral=before.lateral)
    return Effect(
        articulator=articulator,
        delta=delta,
        image=painter.signal(after, 1)[0] - picture,
        formants=(resonances(after.area, after.lengths) - resonances(before.area, before.lengths))[0],
    )
