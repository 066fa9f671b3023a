"""Speakers: the parts of the head that do not move, and how they differ from one person to the next.

Coordinates are in millimetres of the reference speaker, x to the front and y up, with the occlusal plane at y
= 0; a speaker's `scale` turns them into real millimetres. The shapes are our own drawing of an adult head;
its proportions (pharynx, palate, incisors, tongue circle of radius 20 mm) are those of Mermelstein,
"Articulatory model for the study of speech production", JASA 53 (1973).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]

CENTRE_Y = -22.0  # height of the polar grid's centre; the pharynx grid ends there
GLOTTIS_Y = -80.0

# The rear and upper wall from the glottis to the edge of the upper incisors, the velum raised.
WALL = np.array(
    [
        (-33.0, -80.0), (-35.5, -70.0), (-37.5, -60.0), (-39.0, -42.0), (-40.0, -22.0), (-40.0, -5.0),
        (-38.0, 5.0), (-33.0, 13.0), (-24.0, 19.0), (-12.0, 21.5), (0.0, 22.0), (10.0, 21.5), (18.0, 19.5),
        (25.0, 16.0), (31.0, 11.0), (35.0, 6.5), (38.0, 2.0), (41.5, -1.5), (46.0, -2.0),
    ]
)  # fmt: skip
# The under-side of the lowered velum, from the rear wall over the uvula to the hard palate.
VELUM_LOW = np.array(
    [(-40.0, -22.0), (-40.0, -9.0), (-31.0, -8.0), (-29.0, -2.0), (-24.0, 7.0), (-15.0, 15.5), (0.0, 22.0)]
)
# The front wall of the larynx and the base of the epiglottis.
LARYNX = np.array(
    [(-27.5, -80.0), (-29.0, -70.0), (-25.0, -62.0), (-14.0, -52.0), (0.0, -45.0), (0.0, -22.0)]
)


@dataclass(frozen=True)
class Speaker:
    """One person.

    Attributes:
        id: Name, such as `s0`.
        kind: `male`, `female` or `child`: whose pitch and proportions it has.
        scale: Size relative to the reference drawing.
        pharynx: Length of the pharynx relative to the rest.
        palate: Height added to the vault of the palate, in mm.
        f0: Middle of the pitch range in Hz.
        tilt: Angle of the head in the image, in degrees.
        centre: Where the origin of the drawing lies in an image of 256 pixels, (column, row).
        gain: Brightness of soft tissue, 1 is full scale.
        noise: Standard deviation of each of the two channels of the Rician noise, 1 is full scale.
        seed: Of the coil's bias field and of the small differences of anatomy.
    """

    id: str
    kind: str
    scale: float
    pharynx: float
    palate: float
    f0: float
    tilt: float
    centre: tuple[float, float]
    gain: float
    noise: float
    seed: int

    def wall(self, velum: float = 0.0) -> Points:
        """Rear and upper wall, in reference millimetres.

        Args:
            velum: 0 for the raised velum, 1 for the lowered.

        Shape:
            - output: `[P, 2]`, from the glottis to the upper incisors
        """
        wall = WALL.copy()
        if velum:
            low = VELUM_LOW
            wall = np.concatenate([wall[:4], low, wall[11:]])
        return self._own(wall)

    def larynx(self) -> Points:
        """Front wall of the larynx, in reference millimetres."""
        return self._own(LARYNX)

    def glottis_y(self) -> float:
        """Height of the glottis at rest, in reference millimetres."""
        return float(CENTRE_Y + (GLOTTIS_Y - CENTRE_Y) * self.pharynx)

    def _own(self, points: Points) -> Points:
        own = points.copy()
        below = own[:, 1] < CENTRE_Y
        own[below, 1] = CENTRE_Y + (own[below, 1] - CENTRE_Y) * self.pharynx
        x = own[:, 0]
        vault = np.clip(1 - ((x - 8) / 24) ** 2, 0, 1) * (own[:, 1] > 0)
        own[:, 1] += self.palate * vault
        return own


def reference_speaker() -> Speaker:
    """The adult male to whom the targets of the phones were fitted; without noise, upright."""
    return Speaker("reference", "male", 0.96, 1.0, 0.0, 115.0, 0.0, (121.0, 128.0), 0.75, 0.0, 0)


# Size, pharynx and pitch: tract lengths of about 16.5-18 cm (men), 14-15 cm (women), 12.5-13.5 cm (children)
# after Fitch & Giedd, JASA 106 (1999); pitch after Hillenbrand et al., JASA 97 (1995).
_KINDS = {
    "male": ((0.93, 1.01), (0.98, 1.08), (98.0, 140.0)),
    "female": ((0.83, 0.89), (0.86, 0.94), (180.0, 235.0)),
    "child": ((0.75, 0.81), (0.82, 0.92), (220.0, 270.0)),
}


def speaker(index: int, seed: int = 0) -> Speaker:
    """The speaker of a number: men and women in turn, every sixth a child."""
    rng = np.random.default_rng([seed, index, 1])
    kind = "child" if index % 6 == 5 else ("male", "female")[index % 2]
    scale, pharynx, f0 = (float(rng.uniform(*bounds)) for bounds in _KINDS[kind])
    return Speaker(
        id=f"s{index}",
        kind=kind,
        scale=scale,
        pharynx=pharynx,
        palate=float(rng.uniform(-1.5, 1.5)),
        f0=f0,
        tilt=float(rng.uniform(-7, 7)),
        centre=(float(rng.uniform(115, 127)), float(rng.uniform(122, 134))),
        gain=float(rng.uniform(0.62, 0.82)),
        noise=float(rng.uniform(0.012, 0.03)),
        seed=int(rng.integers(2**31)),
    )
