"""Articulators to walls, distances along a grid, and the area function.

The tongue is Mermelstein's (1973): a circle for the body with tangents to the root and to a small circle for
the tip. Every outline is described by where it crosses a semi-polar grid (Heinz & Stevens, 1965; Maeda,
1990): horizontal lines in the pharynx, rays from one centre behind the palate, vertical lines to the
incisors, then the lips. The distances along the lines become areas by the rules of Mermelstein (1973) for
each region.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from mri2speech.phantom.anatomy import CENTRE_Y, Points, Speaker

ARTICULATORS: Final = (
    "jaw", "body_x", "body_y", "tip_x", "tip_y", "lip_aperture", "lip_protrusion", "velum", "larynx",
)  # fmt: skip
# Neutral values: all in reference millimetres but the velum, 0 raised to 1 lowered.
NEUTRAL: Final = (4.0, -1.0, -12.0, 29.0, -9.0, 9.0, 2.0, 0.0, 0.0)
LOWEST: Final = (0.0, -18.0, -26.0, 20.0, -20.0, -3.0, 0.0, 0.0, -10.0)
HIGHEST: Final = (18.0, 16.0, 8.0, 38.0, 12.0, 22.0, 12.0, 1.0, 10.0)

BODY_RADIUS = 20.0
TIP_RADIUS = 4.0
ROOT = (-12.0, -58.0, 13.0)  # centre and radius of the tongue root
PHARYNX_LINES, POLAR_LINES, FRONT_LINES, LIP_LINES = 13, 12, 10, 3
SECTIONS = PHARYNX_LINES + POLAR_LINES + FRONT_LINES + LIP_LINES - 1  # tubes between neighbouring lines
INCISOR_X = 42.0
FLANK = 3.0  # steepest slope of the tongue across the lines of the grid
SMOOTHING = 1.5  # mm, of the seams between root, body, tip and floor
LEAST_AREA = 1e-3  # cm2, of a closure


@dataclass(frozen=True)
class Outline:
    """The tract at T moments.

    Attributes:
        inner: Crossing of the grid with larynx, tongue, floor of the mouth and lower lip, reference mm,
            `[T, G, 2]`.
        outer: Crossing with the opposite wall, `[T, G, 2]`.
        articulators: What it was made from, `[T, 9]`.
        speaker: Whose tract it is.
        lateral: Area in cm2 that stays open at the sides of the tongue, `[T]`.
        groove: Distance in mm that tongue and lower lip keep from the opposite wall, `[T]`.
    """

    inner: Points
    outer: Points
    articulators: Points
    speaker: Speaker
    lateral: Points
    groove: Points

    @cached_property
    def lengths(self) -> Points:
        """Length of each tube along the middle of the tract in cm, `[T, S]`."""
        middle = (self.inner + self.outer) / 2
        along = np.linalg.norm(np.diff(middle, axis=1), axis=-1) * self.speaker.scale / 10
        return np.asarray(along + 1e-3)

    @cached_property
    def area(self) -> Points:
        """Area of each tube in cm2, from the glottis to the lips, `[T, S]`; a closure has `LEAST_AREA`."""
        distance = np.linalg.norm(self.outer - self.inner, axis=-1) / 10  # cm of the reference
        area = _areas(distance, self.articulators) * self.speaker.scale**2
        front = slice(PHARYNX_LINES + POLAR_LINES, PHARYNX_LINES + POLAR_LINES + FRONT_LINES)
        area[:, front] = np.maximum(area[:, front], self.lateral[:, None])
        # A tube between two lines: the mean of its ends by their logarithms, so that a closure closes it.
        area = np.sqrt(np.maximum(area[:, 1:], LEAST_AREA) * np.maximum(area[:, :-1], LEAST_AREA))
        return np.asarray(np.maximum(area, LEAST_AREA))

    @property
    def port(self) -> Points:
        """Area of the opening to the nose in cm2, `[T]`."""
        return 1.1 * np.clip(self.articulators[:, 7], 0, 1) * self.speaker.scale**2


def trace(
    speaker: Speaker,
    articulators: npt.ArrayLike,
    *,
    groove: npt.ArrayLike = 0.0,
    lateral: npt.ArrayLike = 0.0,
) -> Outline:
    """Outline of the tract for given articulators.

    Args:
        speaker: Whose.
        articulators: In the order of `ARTICULATORS`.
        groove: Distance in mm that tongue and lower lip keep from the opposite wall (the groove of /s/).
        lateral: Area in cm2 left open beside the tongue tip (/l/).

    Shape:
        - articulators: `[T, 9]` or `[9]`
        - groove, lateral: `[T]` or one number
    """
    values = np.atleast_2d(np.asarray(articulators, dtype=np.float64))
    count = len(values)
    keep = np.broadcast_to(np.asarray(groove, dtype=np.float64), (count,))
    origin, direction = _grid(speaker, values)
    outer = _outer(speaker, values, origin, direction)
    inner = np.minimum(_inner(speaker, values, origin, direction), outer - keep[:, None])
    inner_points = origin + inner[..., None] * direction
    outer_points = origin + outer[..., None] * direction
    lip_inner, lip_outer = _lips(values, keep)
    return Outline(
        inner=np.concatenate([inner_points, lip_inner], axis=1),
        outer=np.concatenate([outer_points, lip_outer], axis=1),
        articulators=values,
        speaker=speaker,
        lateral=np.broadcast_to(np.asarray(lateral, dtype=np.float64), (count,)),
        groove=keep,
    )


def _grid(speaker: Speaker, values: Points) -> tuple[Points, Points]:
    """Origins and unit directions of the lines up to the incisors, `[T, G, 2]` each."""
    count = len(values)
    glottis = speaker.glottis_y() + values[:, 8]
    along = np.linspace(0, 1, PHARYNX_LINES, endpoint=False)
    pharynx = np.zeros((count, PHARYNX_LINES, 2))
    pharynx[..., 1] = glottis[:, None] + along * (CENTRE_Y - glottis[:, None])
    angle = np.linspace(np.pi, np.pi / 2, POLAR_LINES, endpoint=False)
    x = np.linspace(0, INCISOR_X, FRONT_LINES)
    fixed = np.concatenate(
        [np.tile((0.0, CENTRE_Y), (POLAR_LINES, 1)), np.stack([x, np.full_like(x, CENTRE_Y)], axis=-1)]
    )
    origin = np.concatenate([pharynx, np.broadcast_to(fixed, (count, *fixed.shape))], axis=1)
    direction = np.concatenate(
        [
            np.tile((-1.0, 0.0), (PHARYNX_LINES, 1)),
            np.stack([np.cos(angle), np.sin(angle)], axis=-1),
            np.tile((0.0, 1.0), (FRONT_LINES, 1)),
        ]
    )
    return origin, np.broadcast_to(direction, origin.shape)


def _outer(speaker: Speaker, values: Points, origin: Points, direction: Points) -> Points:
    """Distance of the wall from the origins along the lines, `[T, G]`."""
    out = np.empty(origin.shape[:2])
    moved = _raised(speaker.wall(), speaker, values)
    out[:, :PHARYNX_LINES] = -_at_height(moved, origin[:, :PHARYNX_LINES, 1])
    fixed = slice(PHARYNX_LINES, None)
    high = _cross(speaker.wall(0.0), origin[0, fixed], direction[0, fixed])
    low = _cross(speaker.wall(1.0), origin[0, fixed], direction[0, fixed])
    velum = np.clip(values[:, 7], 0, 1)[:, None]
    out[:, fixed] = (1 - velum) * high + velum * low
    return out


def _raised(points: Points, speaker: Speaker, values: Points) -> Points:
    """What hangs on the larynx moved by its height: fully at the glottis, not at the grid's centre."""
    moved = np.broadcast_to(points, (len(values), *points.shape)).copy()
    rest = speaker.glottis_y()
    share = np.clip((CENTRE_Y - points[:, 1]) / (CENTRE_Y - rest), 0, 1)
    moved[..., 1] += share * values[:, 8:9]
    return moved


def _at_height(lines: Points, heights: Points) -> Points:
    """Places along x of polylines `[T, P, 2]` that rise in y, at heights `[T, G]`."""
    return np.stack([np.interp(y, line[:, 1], line[:, 0]) for line, y in zip(lines, heights, strict=True)])


def _cross(line: Points, origin: Points, direction: Points) -> Points:
    """Distance along rays `[G, 2]` to the first crossing of a polyline `[P, 2]`; it must be crossed."""
    start, step = line[:-1], np.diff(line, axis=0)
    offset = start[None] - origin[:, None]
    determinant = direction[:, None, 0] * step[None, :, 1] - direction[:, None, 1] * step[None, :, 0]
    determinant = np.where(np.abs(determinant) < 1e-9, np.nan, determinant)
    along = (offset[..., 0] * step[None, :, 1] - offset[..., 1] * step[None, :, 0]) / determinant
    share = (offset[..., 0] * direction[:, None, 1] - offset[..., 1] * direction[:, None, 0]) / determinant
    valid = (share >= -1e-6) & (share <= 1 + 1e-6) & (along > 0)
    return np.asarray(np.min(np.where(valid, along, np.inf), axis=1))


def _inner(speaker: Speaker, values: Points, origin: Points, direction: Points) -> Points:
    """Distance of tongue, larynx and floor of the mouth from the origins along the lines, `[T, G]`."""
    reach = _tongue(speaker, values, origin, direction)
    larynx = _raised(speaker.larynx(), speaker, values)
    pharynx = slice(0, PHARYNX_LINES)
    base = np.full(reach.shape, -40.0)
    base[:, pharynx] = -_at_height(larynx, origin[:, pharynx, 1])
    front = slice(PHARYNX_LINES + POLAR_LINES, None)
    x = origin[0, front, 0]
    base[:, front] = floor_of_mouth(values, x) - CENTRE_Y
    return _smooth_maximum(reach, base)


def floor_of_mouth(values: Points, x: npt.ArrayLike) -> Points:
    """Height of the floor of the mouth and, at the front, of the lower incisors, `[T, X]`."""
    place = np.asarray(x, dtype=np.float64)
    tooth = np.clip((place - 38.0) / 3.5, 0, 1)
    jaw = values[:, 0:1]
    return -17.0 - 0.7 * jaw + tooth**2 * (13.5 - 0.3 * jaw)


def tongue_discs(speaker: Speaker, values: Points, count: int = 12) -> tuple[Points, Points]:
    """Circles whose union is the tongue: centres `[T, K, 2]` and radii `[T, K]`, from root to tip."""
    share = np.linspace(0, 1, count)[None, :, None]
    body, tip = values[:, None, 1:3], values[:, None, 3:5]
    root = np.empty_like(body)
    # The root follows the body at some distance: the volume of the tongue stays about the same.
    root[..., 0] = ROOT[0] + 0.45 * (body[..., 0] + 1.0)
    root[..., 1] = CENTRE_Y + (ROOT[1] - CENTRE_Y) * speaker.pharynx + 0.5 * values[:, 8:9]
    centres = np.concatenate([root + share * (body - root), body + share[:, 1:] * (tip - body)], axis=1)
    rear = ROOT[2] + share[..., 0] * (BODY_RADIUS - ROOT[2])
    ahead = BODY_RADIUS + share[:, 1:, 0] * (TIP_RADIUS - BODY_RADIUS)
    return centres, np.broadcast_to(np.concatenate([rear, ahead], axis=1), centres.shape[:2])


def _tongue(speaker: Speaker, values: Points, origin: Points, direction: Points) -> Points:
    centres, radii = tongue_discs(speaker, values)
    reach = np.full(origin.shape[:2], -40.0)
    for k in range(centres.shape[1]):
        offset = centres[:, None, k] - origin
        along = (offset * direction).sum(-1)
        beside = np.sqrt(np.maximum((offset**2).sum(-1) - along**2, 0))
        radius = radii[:, k, None]
        # Where the circle would be steeper than a flank, its tangent goes on: else a line of the grid that
        # it leaves would fall to the floor of the mouth at once, and a formant with it.
        touch = radius * FLANK / np.hypot(1, FLANK)
        circle = np.sqrt(radius**2 - np.minimum(beside, touch) ** 2)
        reach = np.maximum(reach, along + circle - FLANK * np.maximum(beside - touch, 0))
    return reach


def _smooth_maximum(a: Points, b: Points) -> Points:
    """Maximum whose corner is rounded over `SMOOTHING`; equal to it elsewhere within a hundredth of a mm."""
    return (a + b + np.sqrt((a - b) ** 2 + SMOOTHING**2)) / 2


def _lips(values: Points, groove: Points) -> tuple[Points, Points]:
    """Lower and upper lip along vertical lines in front of the incisors, `[T, LIP_LINES, 2]` each."""
    aperture, protrusion = np.maximum(values[:, 5], groove), values[:, 6]
    share = np.linspace(0.3, 1, LIP_LINES)
    x = INCISOR_X + 3.0 + share * (6.0 + protrusion[:, None])
    middle = (-4.0 - 0.15 * values[:, 0])[:, None]
    upper = np.stack([x, np.broadcast_to(middle + aperture[:, None] * 0.4, x.shape)], axis=-1)
    lower = np.stack([x, np.broadcast_to(middle - aperture[:, None] * 0.6, x.shape)], axis=-1)
    return lower, upper


def _areas(distance: Points, values: Points) -> Points:
    """Areas in cm2 of distances in cm, at the lines, by Mermelstein's rules (1973, section II)."""
    area = np.empty_like(distance)
    pharynx, polar = slice(0, PHARYNX_LINES), slice(PHARYNX_LINES, PHARYNX_LINES + POLAR_LINES)
    front = slice(polar.stop, polar.stop + FRONT_LINES)
    # Pharynx: ellipses, whose width grows from 1.5 cm above the larynx to 3 cm.
    width = 1.5 + 1.5 * np.clip((np.arange(PHARYNX_LINES) - 2) / (PHARYNX_LINES - 3), 0, 1)
    area[:, pharynx] = np.pi / 4 * width * distance[:, pharynx]
    # Soft palate 2 d^1.5 to hard palate 1.6 d^1.5, after the pharynx's ellipse has faded out.
    step = np.arange(POLAR_LINES)
    ellipse = np.clip(1 - (step + 1) / 4, 0, 1)
    factor = np.interp(step, [5, 9], [2.0, 1.6])
    power = factor * distance[:, polar] ** 1.5
    area[:, polar] = ellipse * (np.pi / 4 * 3.0 * distance[:, polar]) + (1 - ellipse) * power
    d = distance[:, front]
    hard = 1.6 * d**1.5
    ridge = np.where(d < 0.5, 1.5 * d, np.where(d < 2, 0.75 + 3 * (d - 0.5), 5.25 + 5 * (d - 2)))
    share = np.clip((np.linspace(0, INCISOR_X, FRONT_LINES) - 24) / 8, 0, 1)
    area[:, front] = (1 - share) * hard + share * ridge
    # Lips: ellipses of the width 2 + 1.5 (opening - protrusion) cm.
    lips = slice(front.stop, None)
    aperture, protrusion = values[:, 5] / 10, values[:, 6] / 10
    width_of_lips = np.clip(2 + 1.5 * (aperture - protrusion), 0.5, 4.5)
    area[:, lips] = np.pi / 4 * width_of_lips[:, None] * distance[:, lips]
    return area
