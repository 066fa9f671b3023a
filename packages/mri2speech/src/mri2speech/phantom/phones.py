"""Targets of the phones, in the coordinates of `outline`, for the reference speaker.

The vowels' targets were found by least squares from a posture that the textbooks give (jaw, place of the
tongue, lips), so that the tube's resonances are the men's mean formants of Peterson & Barney, "Control
methods used in a study of the vowels", JASA 24 (1952), Table II; /e/ and /ə/, which are not there, lie
between their neighbours. `FORMANTS` holds the figures; a test compares. A consonant gives only what it needs
(the lips for /b/, the tip for /d/), the rest goes on from vowel to vowel (Öhman, JASA 41, 1967).
"""

from dataclasses import dataclass, field
from typing import Final

from mri2speech.phantom.outline import ARTICULATORS

FORMANTS: Final = {
    "i": (270, 2290, 3010),
    "ɪ": (390, 1990, 2550),
    "e": (460, 2050, 2600),
    "ɛ": (530, 1840, 2480),
    "æ": (660, 1720, 2410),
    "ɑ": (730, 1090, 2440),
    "ɔ": (570, 840, 2410),
    "u": (300, 870, 2240),
    "ʌ": (640, 1190, 2390),
    "ə": (500, 1450, 2450),
}


@dataclass(frozen=True)
class Phone:
    """What the vocal tract and the voice do for one phone.

    Attributes:
        targets: Values of the articulators that it needs.
        voiced: Whether the vocal folds vibrate.
        aspirated: Whether they stay open for a while after its end.
        groove: Gap in mm that the tongue leaves open where it would touch.
        lateral: Area in cm2 that stays open beside the tongue.
        breath: Pressure of the lungs, relative.
    """

    targets: dict[str, float] = field(hash=False)
    voiced: bool = True
    aspirated: bool = False
    groove: float = 0.0
    lateral: float = 0.0
    breath: float = 1.0


def _posture(*values: float) -> dict[str, float]:
    return dict(zip(ARTICULATORS, values, strict=True))


_LIPS = {"lip_aperture": -3.0, "jaw": 4.0}
_TIP = {"tip_x": 33.5, "tip_y": 7.0, "jaw": 3.0, "body_y": -9.0}
_BACK = {"body_y": 4.0, "jaw": 5.0}

PHONES: Final = {
    "i": Phone(_posture(0.9, 11.6, -0.9, 34.1, -5.3, 6.7, 0.6, 0.0, -2.1), groove=2.5),
    "ɪ": Phone(_posture(1.7, 9.7, -6.2, 30.4, -6.1, 8.1, 1.0, 0.0, 4.8)),
    "e": Phone(_posture(4.1, 7.6, -10.1, 30.5, -5.8, 11.1, 1.0, 0.0, 2.3)),
    "ɛ": Phone(_posture(7.7, 3.6, -11.8, 29.9, -10.7, 12.5, 0.5, 0.0, 0.3)),
    "æ": Phone(_posture(14.0, -1.8, -18.6, 27.3, -14.8, 18.7, 0.0, 0.0, 0.3)),
    "ɑ": Phone(_posture(11.7, -18.0, -18.4, 26.0, -17.1, 13.6, 2.6, 0.0, -1.3)),
    "ɔ": Phone(_posture(13.0, -18.0, -9.7, 24.0, -14.2, 7.1, 6.6, 0.0, -4.2)),
    "u": Phone(_posture(2.2, -6.5, -4.6, 25.1, -11.7, 1.8, 9.2, 0.0, -3.2)),
    "ʌ": Phone(_posture(7.0, -14.1, -11.5, 27.4, -13.7, 8.1, 2.5, 0.0, -0.5)),
    "ə": Phone(_posture(3.1, -2.1, -11.0, 27.5, -10.4, 7.7, 3.3, 0.0, 2.8)),
    "b": Phone(_LIPS),
    "d": Phone(_TIP),
    "g": Phone(_BACK),
    "p": Phone(_LIPS, voiced=False, aspirated=True),
    "t": Phone(_TIP, voiced=False, aspirated=True),
    "k": Phone(_BACK, voiced=False, aspirated=True),
    "m": Phone({**_LIPS, "velum": 1.0}),
    "n": Phone({**_TIP, "velum": 1.0}),
    "s": Phone(_TIP, voiced=False, groove=1.2),
    "z": Phone(_TIP, groove=1.2),
    "ʃ": Phone(
        {"tip_x": 28.0, "tip_y": 6.0, "jaw": 3.0, "body_x": 8.0, "body_y": -5.0, "lip_protrusion": 6.0},
        voiced=False,
        groove=1.8,
    ),
    "l": Phone({**_TIP, "body_x": -4.0, "body_y": -12.0}, lateral=0.4),
    "j": Phone({"body_x": 12.0, "body_y": -0.5, "jaw": 2.0, "tip_x": 33.0, "tip_y": -5.0}, groove=2.0),
    "w": Phone({"body_x": -8.0, "body_y": -3.5, "lip_aperture": 1.6, "lip_protrusion": 9.0, "jaw": 3.0}),
    # Between utterances: lips closed, breathing through the nose.
    "_": Phone(_posture(3.0, 0.0, -11.0, 30.0, -8.0, -1.0, 1.0, 0.8, 0.0), voiced=False, breath=0.0),
}
VOWELS: Final = tuple(FORMANTS)
CONSONANTS: Final = tuple("bdgptkmnszʃljw")
