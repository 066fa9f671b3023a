"""What excites the tract: the voice, and the noise of air that is pressed through a narrow place."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import signal

from mri2speech.phantom.gestures import Score
from mri2speech.phantom.tube import DENSITY

Samples = npt.NDArray[np.float64]

VOICE_AREA = 0.05  # cm2, mean opening of the vibrating glottis
OPEN_QUOTIENT = 0.6
PEAK_FLOW = 450.0  # cm3/s at 8,000 dyn/cm2
TILT_HZ = 2500.0  # the closing of the folds is not abrupt
JITTER = 0.006  # standard deviation of a period, relative
BREATHINESS = 0.012  # noise of the voiced glottis, relative to its flow
VISCOSITY = 0.17  # cm2/s, kinematic, of the breath
CRITICAL_REYNOLDS = 1800.0
# Pressure per square of the Reynolds number; Sondhi & Schroeter (1987) give the order, 2e-6 in flow.
FRICATION_GAIN = 2e-5
ASPIRATION_GAIN = 25.0
LEAST_VOICE = 0.12  # share of the voice that goes on behind a closure, while the cheeks give way
LARYNX_TUBES = 5  # the narrow larynx makes no frication


@dataclass(frozen=True)
class Excitation:
    """Flow at the glottis in cm3/s and turbulence in dyn/cm2, `[N]`; tube of the turbulence `[K]`."""

    flow: Samples
    noise: Samples
    place: npt.NDArray[np.int64]


def voice_strength(score: Score, area: Samples, port: Samples) -> Samples:
    """Strength of the voice from 0 to about 1: what the pressure above the glottis leaves of it.

    The same air flows through glottis and constriction, so the pressure divides as the inverse squares of
    their areas.

    Shape:
        - area: `[T, S]`
        - port: `[T]`
        - output: `[T]`
    """
    way = (area[:, LARYNX_TUBES:].min(axis=1) + port) ** 2
    share = np.maximum(way / (way + VOICE_AREA**2), LEAST_VOICE)
    return np.asarray(score.voicing * np.sqrt(np.maximum(score.pressure / 8000.0, 0)) * share)


def excite(score: Score, area: Samples, port: Samples, count: int, rate: float, seed: int) -> Excitation:
    """Excitation of the tract.

    The voice is the pulse of KLGLOTT88 (Klatt & Klatt, JASA 87, 1990), t^2 - t^3 of the open phase; the noise
    is that of Flanagan & Cherry (1968): it grows with the square of the Reynolds number above a critical one.

    Args:
        score: At K moments.
        area: Of the tract in cm2 at the same moments, `[K, S]`.
        port: Area of the opening to the nose in cm2, `[K]`.
        count: Samples wanted, N.
        rate: Samples a second.
        seed: Of jitter and noise.
    """
    rng = np.random.default_rng([seed, 3])
    moments = np.linspace(0, count - 1, len(area))
    at = np.arange(count)

    def spread(values: Samples) -> Samples:
        return np.interp(at, moments, values)

    f0 = spread(score.f0)
    strength = spread(voice_strength(score, area, port))
    # Jitter: one draw per period on average, passed smoothly from one to the next.
    draws = rng.normal(0, JITTER, int(f0.max() * count / rate) + 3)
    wander = np.interp(at, np.linspace(0, count, len(draws)), draws)
    phase = np.cumsum(f0 * (1 + wander)) / rate
    open_part = np.clip((phase % 1.0) / OPEN_QUOTIENT, 0, 1)
    pulse = 27 / 4 * (open_part**2 - open_part**3)
    pole = np.exp(-2 * np.pi * TILT_HZ / rate)
    voice = signal.lfilter([1 - pole], [1, -pole], PEAK_FLOW * strength * pulse)

    white = rng.standard_normal(count)
    abduction = spread(score.abduction)
    breath = spread(np.sqrt(np.maximum(score.pressure / 8000.0, 0)))
    hiss = ASPIRATION_GAIN * abduction / 0.18 * breath + BREATHINESS * voice
    flow = voice + hiss * white

    mouth = area[:, LARYNX_TUBES:]
    place = mouth.argmin(axis=1) + LARYNX_TUBES
    narrow = mouth.min(axis=1)
    glottis = VOICE_AREA + score.abduction
    speed = np.sqrt(2 * score.pressure / DENSITY)
    through = speed / np.sqrt(1 / glottis**2 + 1 / (narrow + port) ** 2) * narrow / (narrow + port)
    reynolds = 4 * through**2 / (np.pi * narrow * VISCOSITY**2)  # squared
    strength_of_noise = FRICATION_GAIN * np.maximum(reynolds - CRITICAL_REYNOLDS**2, 0)
    noise = spread(strength_of_noise) * rng.standard_normal(count)
    return Excitation(flow=flow, noise=noise, place=place.astype(np.int64))
