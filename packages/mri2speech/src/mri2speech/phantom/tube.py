"""Resonances of an area function, by the chain matrices of its tubes.

Losses and walls are those of Sondhi & Schroeter, "A hybrid time-frequency domain articulatory speech
synthesizer", IEEE ASSP 35 (1987): yielding walls of a mass, a resistance and a stiffness, and a viscous and a
thermal loss. The two latter grow with the root of the frequency there; here they have their value at 1 kHz,
so that the line in the time domain (`line`) is of the same tract. The mouth radiates as a piston in an
infinite wall: a resistance and a mass in parallel (Flanagan, "Speech Analysis, Synthesis and Perception",
1972).
"""

import math

import numba
import numpy as np
import numpy.typing as npt

Areas = npt.NDArray[np.float64]
Poles = npt.NDArray[np.complex128]

DENSITY = 1.14e-3  # g/cm3, moist air at body temperature
SOUND_SPEED = 3.5e4  # cm/s
WALL_DAMPING = 130 * math.pi  # rad/s, resistance over mass of the walls
WALL_STIFFNESS = (30 * math.pi) ** 2  # (rad/s)2, their resonance
WALL_COUPLING = (406 * math.pi) ** 2  # (rad/s)2, the resonance of a closed tract
# The root of 4 rad/s times 2 pi 1000 rad/s, its real part.
LOSS = math.sqrt(4 * 2 * math.pi * 1000 / 2)  # rad/s
RESONANCES = 3
_HIGHEST_HZ = 20000.0


def resonances(
    area: npt.ArrayLike, lengths: npt.ArrayLike, *, losses: bool = True, radiation: bool = True
) -> Areas:
    """The three lowest resonances of the tube from a closed glottis to the lips.

    They are the imaginary parts of the poles of the flow at the lips over the flow at the glottis.

    Args:
        area: In cm2, from the glottis to the lips.
        lengths: Of the tubes in cm.
        losses: Walls that yield, viscosity and heat; without them the tube is rigid and lossless.
        radiation: The air in front of the lips; without it the pressure there is zero.

    Shape:
        - area, lengths: `[T, S]`
        - output: `[T, 3]`, in Hz
    """
    areas = np.ascontiguousarray(np.atleast_2d(area), dtype=np.float64)
    sizes = np.ascontiguousarray(np.broadcast_to(np.atleast_2d(lengths), areas.shape), dtype=np.float64)
    return np.asarray(_resonances(areas, sizes, float(losses), radiation))


@numba.njit(cache=True)
def _denominator(s: complex, area: Areas, lengths: Areas, radiation: bool) -> complex:
    """Flow at the glottis per flow at the lips: zero at the poles of the tract."""
    wall = s * WALL_COUPLING / (s * s + WALL_DAMPING * s + WALL_STIFFNESS)
    series = s + LOSS
    shunt = s + wall + LOSS
    root = np.sqrt(series * shunt)
    rate, ratio = root / SOUND_SPEED, series / root  # from one root, so that their signs agree
    pressure, flow = 0.0 + 0.0j, 1.0 + 0.0j
    if radiation:
        mouth = area[-1]
        mass = s * 8 * DENSITY / (3 * np.pi * np.sqrt(np.pi * mouth))
        resistance = 128 * DENSITY * SOUND_SPEED / (9 * np.pi**2 * mouth)
        pressure = mass * resistance / (mass + resistance)
    for i in range(len(area) - 1, -1, -1):
        impedance = DENSITY * SOUND_SPEED / area[i] * ratio
        x = rate * lengths[i]
        c, h = np.cosh(x), np.sinh(x)
        pressure, flow = c * pressure + impedance * h * flow, h / impedance * pressure + c * flow
    return flow


@numba.njit(cache=True)
def _angle(hz: float, area: Areas, lengths: Areas, walls: float, radiation: bool) -> float:
    """Angle by which pressure and flow of the lossless tube turn against each other from lips to glottis.

    It grows with the frequency (Prüfer's angle) and is (n - 1/2) pi at resonance n: none can be missed.
    """
    radians = 2 * np.pi * hz
    square = radians**2 - walls * WALL_COUPLING
    if square <= 0:
        return 0.0
    wavenumber = np.sqrt(square) / SOUND_SPEED
    end = 8 * area[-1] / (3 * np.pi * np.sqrt(np.pi * area[-1])) if radiation else 0.0
    angle = np.arctan(wavenumber * end)
    for i in range(len(area) - 1, -1, -1):
        angle += wavenumber * lengths[i]
        if i > 0:
            half_turns = np.round(angle / np.pi) * np.pi
            angle = half_turns + np.arctan(np.tan(angle - half_turns) * area[i - 1] / area[i])
    return float(angle)


@numba.njit(cache=True)
def _resonances(area: Areas, lengths: Areas, losses: float, radiation: bool) -> Areas:
    found = np.empty((len(area), RESONANCES))
    poles = np.zeros(RESONANCES, dtype=np.complex128)
    for t in range(len(area)):
        for n in range(RESONANCES):
            low, high = 0.0, _HIGHEST_HZ
            for _ in range(48):
                middle = (low + high) / 2
                if _angle(middle, area[t], lengths[t], losses, radiation) < (n + 0.5) * np.pi:
                    low = middle
                else:
                    high = middle
            poles[n] = complex(-losses * LOSS, 2 * np.pi * low)
        if losses > 0:
            _refine(poles, area[t], lengths[t], radiation)
        found[t] = np.sort(poles.imag) / (2 * np.pi)
    return found


@numba.njit(cache=True)
def _refine(poles: Poles, area: Areas, lengths: Areas, radiation: bool) -> None:
    """Newton steps from the poles of a tract with walls of pure mass to those of the damped one."""
    for k in range(len(poles)):
        s = poles[k]
        for _ in range(8):
            value = _denominator(s, area, lengths, radiation)
            step = 5.0 * value / (_denominator(s + 5.0, area, lengths, radiation) - value)
            s -= step
            if abs(step) < 0.05:
                break
        poles[k] = s
