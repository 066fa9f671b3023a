"""The midsagittal section as polygons, each with its brightness and the name of its organ.

Soft tissue is bright, fat brighter, air, bone and teeth dark, as in gradient-echo real-time images. Later
polygons cover earlier ones. The airway is the polygon between the two walls of `outline`, so what is seen
is what is heard. Coordinates are reference millimetres.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from mri2speech.phantom.anatomy import CENTRE_Y, Points
from mri2speech.phantom.outline import (
    FRONT_LINES,
    INCISOR_X,
    PHARYNX_LINES,
    POLAR_LINES,
    Outline,
)


class Region(IntEnum):
    """Organs of the label image."""

    BACKGROUND = 0
    HEAD = 1
    AIRWAY = 2
    LIPS = 3
    TONGUE_TIP = 4
    TONGUE_BODY = 5
    TONGUE_ROOT = 6
    VELUM = 7
    LARYNX = 8
    JAW = 9
    PALATE = 10
    PHARYNX_WALL = 11
    NASAL_CAVITY = 12


@dataclass(frozen=True)
class Patch:
    """One polygon `[P, 2]`, its brightness from 0 to 1, and what it belongs to."""

    region: Region
    brightness: float
    points: Points


AIR, BONE, MUSCLE, FAT, MARROW = 0.03, 0.10, 0.55, 0.95, 0.62


def _curve(points: npt.ArrayLike, *, rounds: int = 3) -> Points:
    """Closed polygon with its corners cut (Chaikin, 1974)."""
    closed = np.asarray(points, dtype=np.float64)
    for _ in range(rounds):
        following = np.roll(closed, -1, axis=0)
        closed = np.stack([0.75 * closed + 0.25 * following, 0.25 * closed + 0.75 * following], axis=1)
        closed = closed.reshape(-1, 2)
    return closed


_HEAD = [
    (-30, 112),
    (20, 112),
    (52, 92),
    (64, 62),
    (64, 48),
    (72, 34),
    (80, 24),
    (74, 18),
    (60, 16),
    (56, 6),
    (50, -20),
    (30, -30),
    (4, -46),
    (-4, -64),
    (-6, -90),
    (-4, -140),
    (-100, -140),
    (-98, -90),
    (-94, -50),
    (-100, -10),
    (-112, 30),
    (-112, 70),
    (-84, 104),
]
_BRAIN = [
    (-30, 104),
    (18, 104),
    (46, 86),
    (56, 62),
    (48, 50),
    (20, 46),
    (-10, 44),
    (-30, 38),
    (-46, 26),
    (-60, 16),
    (-88, 20),
    (-102, 40),
    (-103, 68),
    (-80, 96),
]
_CEREBELLUM = [(-56, 34), (-70, 42), (-92, 34), (-92, 20), (-78, 8), (-62, 10)]
_BRAINSTEM = [
    (-34, 44),
    (-46, 44),
    (-62, 20),
    (-72, -10),
    (-78, -60),
    (-80, -140),
    (-70, -140),
    (-69, -60),
    (-62, -12),
    (-48, 16),
]
_CALLOSUM = [(14, 66), (18, 74), (4, 84), (-26, 86), (-50, 74), (-52, 64), (-44, 66), (-26, 77), (2, 76)]
_SINUS = [(-14, 46), (-30, 46), (-34, 38), (-26, 32), (-12, 34)]
_NOSE_AIR = [
    (62, 24),
    (44, 27),
    (10, 28),
    (-10, 28),
    (-22, 28),
    (-34, 22),
    (-39.5, 8),
    (-40, -6),
    (-36, -9),
    (-28, -6),
    (-22, 8),
    (-10, 22),
    (0, 25),
    (20, 25),
    (40, 24),
    (60, 19),
    (66, 20),
]
_TURBINATE = [(44, 33), (10, 35), (-14, 33), (-20, 29), (-12, 27), (20, 28), (46, 28)]
_NASAL_CAVITY = [(60, 26), (46, 40), (20, 45), (-8, 42), (-20, 32), (-10, 27), (40, 26)]


def backdrop(outline: Outline) -> list[Patch]:
    """What never moves: head, brain, spine, nose."""
    patches = [
        Patch(Region.HEAD, FAT, _curve(_HEAD)),
        Patch(Region.HEAD, 0.42, _curve(_shrunk(np.array(_HEAD, dtype=np.float64), 4.0))),
        Patch(Region.HEAD, BONE, _curve(_shrunk(np.array(_BRAIN, dtype=np.float64), -4.0))),
        Patch(Region.HEAD, 0.5, _curve(_BRAIN)),
        Patch(Region.HEAD, 0.62, _curve(_CALLOSUM)),
        Patch(Region.HEAD, 0.46, _curve(_CEREBELLUM)),
        Patch(Region.HEAD, 0.28, _curve(_shrunk(np.array(_BRAINSTEM, dtype=np.float64), -3.0))),
        Patch(Region.HEAD, 0.58, _curve(_BRAINSTEM)),
        Patch(Region.HEAD, AIR, _curve(_SINUS)),
    ]
    stretch = outline.speaker.pharynx
    for k in range(7):
        y = CENTRE_Y + (12 - 17.5 * k) * stretch
        x = -56.0 - 1.3 * k
        box = [(x + 8, y + 7), (x - 8, y + 6), (x - 8, y - 6), (x + 8, y - 7)]
        patches.append(Patch(Region.HEAD, MARROW, _curve(box, rounds=2)))
        disc = [(x + 7, y - 7.5), (x - 7, y - 7), (x - 7, y - 10), (x + 7, y - 10.5)]
        patches.append(Patch(Region.HEAD, 0.22, _curve(disc, rounds=2)))
        spine = [(x - 34, y - 2), (x - 24, y + 3), (x - 24, y - 5), (x - 34, y - 8)]
        patches.append(Patch(Region.HEAD, 0.3, _curve(spine, rounds=2)))
    patches += [
        Patch(Region.NASAL_CAVITY, AIR, _curve(_NASAL_CAVITY)),
        Patch(Region.NASAL_CAVITY, 0.5, _curve(_TURBINATE)),
        Patch(Region.NASAL_CAVITY, AIR, _curve(_NOSE_AIR)),
        # The skin of the face is painted with the lips and the chin; the palate's bone is a thin dark band.
        Patch(Region.PALATE, BONE, _band(outline.speaker.wall()[9:16], 2.0, 5.5)),
        Patch(Region.PALATE, 0.6, _band(outline.speaker.wall()[9:18], -0.5, 2.0)),
    ]
    return patches


def moving(outline: Outline, moment: int) -> list[Patch]:
    """What may move, at one moment: jaw, tongue, velum, larynx, lips, and the airway between them."""
    inner, outer = outline.inner[moment], outline.outer[moment]
    values = outline.articulators[moment]
    jaw, larynx = values[0], values[8]
    down = np.array([-0.25 * jaw, -jaw])
    glottis = inner[0, 1]
    body_end = PHARYNX_LINES + POLAR_LINES
    lips = body_end + FRONT_LINES
    trachea = [(inner[0, 0], glottis), (outer[0, 0], glottis), (-30 - 4, glottis - 70), (-17, glottis - 70)]
    patches = [
        Patch(
            Region.JAW,
            0.5,
            _curve(np.array([(18, -22), (48, -16), (56, -30), (55, -38), (44, -44), (14, -38)]) + down),
        ),
        Patch(
            Region.JAW,
            FAT,
            _curve(
                np.array([(46, -44), (56, -40), (57, -28), (54, -20), (50, -20), (51, -32), (44, -40)]) + down
            ),
        ),
        Patch(
            Region.JAW, BONE, _curve(np.array([(36, -16), (45, -17), (48, -34), (42, -39), (35, -35)]) + down)
        ),
        Patch(
            Region.JAW,
            MARROW,
            _curve(np.array([(38, -20), (43, -21), (45, -32), (41, -35), (38, -31)]) + down),
        ),
        Patch(
            Region.LARYNX,
            0.5,
            _curve(
                [
                    (inner[0, 0], glottis - 8),
                    (inner[0, 0] + 18, glottis - 10),
                    (inner[0, 0] + 16, glottis + 16),
                    (inner[3, 0], inner[3, 1]),
                ]
            ),
        ),
        Patch(
            Region.LARYNX,
            0.2,
            _curve(
                [
                    (inner[0, 0] + 9, glottis - 8),
                    (inner[0, 0] + 14, glottis - 8),
                    (inner[0, 0] + 12, glottis + 13),
                    (inner[0, 0] + 8, glottis + 10),
                ]
            ),
        ),
        Patch(Region.AIRWAY, AIR, np.array(trachea)),
        # The vocal folds: a thin bright bridge between trachea and pharynx.
        Patch(
            Region.LARYNX,
            0.6,
            np.array(
                [
                    (inner[0, 0] + 1, glottis + 1.2),
                    (outer[0, 0] - 1, glottis + 1.2),
                    (outer[0, 0] - 1, glottis - 1.2),
                    (inner[0, 0] + 1, glottis - 1.2),
                ]
            ),
        ),
    ]
    patches += _tongue(inner, body_end, larynx)
    patches.append(Patch(Region.VELUM, 0.6, _velum(outer)))
    airway = np.concatenate([outer[: lips + 3], inner[: lips + 3][::-1]])
    patches.append(Patch(Region.AIRWAY, AIR, airway))
    patches += _teeth(down)
    patches += _lips(inner[lips:], outer[lips:], down)
    return patches


def _tongue(inner: Points, body_end: int, larynx: float) -> list[Patch]:
    """Tongue between its surface and the floor: root, body, tip by the grid's three parts."""
    tip_start = body_end + 5
    base = np.array([(30.0, -34.0), (14.0, -40.0), (-4.0, -52.0 + 0.5 * larynx)])
    root = np.concatenate([inner[3:PHARYNX_LINES], [(6.0, CENTRE_Y)], [(2.0, -48.0)], base[2:]])
    body = np.concatenate(
        [
            inner[PHARYNX_LINES - 1 : tip_start + 1],
            [(inner[tip_start, 0], -30.0)],
            [(4.0, -46.0), (-2.0, -30.0)],
        ]
    )
    tip = np.concatenate(
        [inner[tip_start : body_end + FRONT_LINES - 1], [(34.0, -30.0), (inner[tip_start, 0] - 2, -34.0)]]
    )
    septum = [(10.0, -34.0), (20.0, -36.0), (2.0, -8.0), (-6.0, -12.0), (-8.0, -24.0)]
    return [
        Patch(Region.TONGUE_ROOT, 0.66, root),
        Patch(Region.TONGUE_BODY, 0.70, body),
        Patch(Region.TONGUE_TIP, 0.74, tip),
        Patch(Region.TONGUE_BODY, 0.62, _curve(septum)),
    ]


def _velum(outer: Points) -> Points:
    """The soft palate: its under-side is the airway's wall; thick in the middle, thin at the uvula."""
    stop = PHARYNX_LINES + POLAR_LINES
    under = outer[PHARYNX_LINES + 3 : stop + 1]
    step = np.gradient(under, axis=0)
    normal = np.stack([step[:, 1], -step[:, 0]], axis=-1)
    normal = -normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    share = np.linspace(0, 1, len(under))
    thick = 2.5 + 5.5 * np.sin(np.pi * np.clip(share * 0.85 + 0.1, 0, 1))
    upper = under + normal * thick[:, None]
    return np.concatenate([under, upper[::-1]])


def _teeth(down: Points) -> list[Patch]:
    upper = [(39.5, 8.0), (44.0, 8.5), (43.5, 0.0), (42.0, -2.5), (40.8, 0.0)]
    lower = np.array([(40.0, -18.0), (44.5, -18.0), (43.0, -6.0), (42.0, -3.5), (40.8, -7.0)]) + down * (
        1.0,
        1.0,
    )
    return [
        Patch(Region.PALATE, BONE, _curve(upper, rounds=2)),
        Patch(Region.JAW, BONE, _curve(lower, rounds=2)),
    ]


def _lips(lower: Points, upper: Points, down: Points) -> list[Patch]:
    edge = lower[-1, 0]
    top, bottom = upper[-1, 1], lower[-1, 1]
    back = INCISOR_X + 3.0
    above = [
        (back, top),
        (edge - 1.0, top),
        (edge + 1.5, top + 2.0),
        (edge + 0.5, top + 6.5),
        (edge - 4, 11.0),
        (56, 17),
        (47, 22),
        (back, 12),
    ]
    chin = np.array([52.0, -22.0]) + down
    below = [
        (back, bottom),
        (edge - 1.0, bottom),
        (edge + 1.5, bottom - 2.5),
        (edge, bottom - 8.0),
        (chin[0], chin[1]),
        (chin[0] - 3, chin[1] - 8),
        (back, bottom - 14),
    ]
    return [
        Patch(Region.LIPS, 0.80, _curve(above, rounds=2)),
        Patch(Region.LIPS, 0.80, _curve(below, rounds=2)),
    ]


def _shrunk(points: Points, distance: float) -> Points:
    """A polygon moved inwards (outwards if negative) along the normals of its corners."""
    step = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    normal = np.stack([step[:, 1], -step[:, 0]], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    inside = points + normal
    area = _signed_area(points)
    return points + distance * normal * (1.0 if abs(_signed_area(inside)) < abs(area) else -1.0)


def _signed_area(points: Points) -> float:
    x, y = points.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def _band(line: Points, low: float, high: float) -> Points:
    """The band between two heights above a line."""
    return np.concatenate([line + np.array([0.0, low]), (line + np.array([0.0, high]))[::-1]])
