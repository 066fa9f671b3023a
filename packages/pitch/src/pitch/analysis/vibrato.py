"""Vibrato of one note: rate, extent, regularity and onset.

The rate is first the peak of the note's least-squares spectrum between 3.5 and 9 Hz, which needs no even
sampling, so gaps do no harm. Around it the contour is demodulated: at each frame a sinusoid over a linear
trend is fitted by weighted least squares under a Hann window of two periods. Its amplitude is the extent
there, the slope of its phase corrects the rate, and both may vary within the note, as they do in real
voices. The onset is that of a sinusoid whose amplitude is zero up to it, grows linearly and stays, fitted to
the beginning of the note.

Extent is half the distance from peak to peak, as in Prame's measurements: "±45 cents" is an extent of 45.

Reference:
    Prame, "Measurements of the vibrato rate of ten singers", J. Acoust. Soc. Am. 96(4), 1994, and "Vibrato
    extent and intonation in professional Western lyric singing", J. Acoust. Soc. Am. 102(1), 1997 (the
    quantities); Lomb, "Least-squares frequency analysis of unequally spaced data", Astrophys. Space Sci. 39,
    1976 (the spectrum).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LOWEST_HZ, HIGHEST_HZ = 3.5, 9.0
MIN_CYCLES = 2.0  # that a note has to hold for its vibrato to be measured
MIN_EXTENT = 10.0  # cents; less is not heard as vibrato
MIN_SHARE = 0.4  # of the detrended contour's variance that the spectral peak has to explain
ONSET_STEP = 0.01  # s between the onsets that are tried
GROWTHS = (0.02, 0.1, 0.2, 0.3, 0.4)  # s from the onset to the full extent that are tried
ONSET_CYCLES = 3.0  # of full vibrato that the onset's fit sees


@dataclass(frozen=True)
class Vibrato:
    """Vibrato of one note.

    Attributes:
        rate: Mean rate in Hz.
        extent: Mean of half the distance from peak to peak, in cents, once the vibrato is full.
        rate_deviation: Standard deviation of the rate within the note, in Hz.
        extent_deviation: Standard deviation of the extent within the note, in cents.
        onset: Where it begins, in s after the first of the times.
        share: Share of the detrended contour's variance that sinusoids of one rate explain, from 0 to 1.
    """

    rate: float
    extent: float
    rate_deviation: float
    extent_deviation: float
    onset: float
    share: float

    @property
    def regularity(self) -> float:
        """1 less the rate's coefficient of variation, at least 0; 1 is a clockwork."""
        return max(0.0, 1.0 - self.rate_deviation / self.rate)


def measure_vibrato(times: Floats, cents: Floats) -> tuple[Vibrato | None, Floats]:
    """The vibrato of a contour, and the contour without it.

    Args:
        times: Times of the voiced frames in s, rising; gaps may be between them.
        cents: Pitch in cents, from any reference.

    Returns:
        The vibrato, None if there is none or the note is too short to tell; and `cents` less the vibrato.

    Shape:
        - times, cents and the second output: `[K]`
    """
    times = times - times[0] if len(times) else times
    if len(times) < 8 or times[-1] * LOWEST_HZ < MIN_CYCLES:
        return None, cents
    # The half of the note that is surest to have vibrato, but no less than the cycles asked for.
    late = times >= min(0.5 * times[-1], max(0.0, times[-1] - MIN_CYCLES / LOWEST_HZ))
    rate, share = _spectral_peak(times[late], cents[late])
    if share < MIN_SHARE:
        return None, cents
    for _ in range(2):
        local = _demodulate(times, cents, rate)
        settled = late & _inner(times, 0.5 / rate)
        if settled.sum() < 4:
            return None, cents
        phase = np.unwrap(np.angle(local[settled]))
        rate += float(np.polyfit(times[settled], phase, 1)[0]) / (2 * np.pi)
        if not LOWEST_HZ * 0.9 <= rate <= HIGHEST_HZ * 1.1:
            return None, cents
    local = _demodulate(times, cents, rate)
    extent = float(np.median(np.abs(local[settled])))
    onset, growth = _onset(times, cents, rate, extent, np.abs(local))
    if extent < MIN_EXTENT or (times[-1] - onset) * rate < MIN_CYCLES:
        return None, cents
    full = (times >= onset + growth) & _inner(times, 0.5 / rate)
    if full.sum() < 4:
        full = settled
    amplitude = np.abs(local[full])
    rates = rate + np.gradient(np.unwrap(np.angle(local[full])), times[full]) / (2 * np.pi)
    vibrato = Vibrato(
        rate=rate,
        extent=float(np.mean(amplitude)),
        rate_deviation=float(np.std(rates)),
        extent_deviation=float(np.std(amplitude)),
        onset=onset,
        share=share,
    )
    wave = np.real(local * np.exp(2j * np.pi * rate * times))
    return vibrato, cents - np.where(times >= onset, wave, 0.0)


def _inner(times: Floats, margin: float) -> npt.NDArray[np.bool_]:
    """Frames with more than half a window on either side."""
    inner: npt.NDArray[np.bool_] = (times >= margin) & (times <= times[-1] - margin)
    return inner


def _spectral_peak(times: Floats, cents: Floats) -> tuple[float, float]:
    """The rate in Hz whose sinusoids explain most of what parabolas leave, and the share they explain.

    Each second has a sinusoid of its own, so that a rate that wanders over a long note keeps its peak.
    """
    count = max(1, int(times[-1] - times[0]))
    windows = np.minimum(((times - times[0]) / (times[-1] - times[0]) * count).astype(int), count - 1)
    pieces = []
    for number in range(count):
        time, values = times[windows == number], cents[windows == number]
        centred = time - time.mean() if len(time) else time
        pieces.append((time, values, np.stack([np.ones_like(centred), centred, centred**2], axis=1)))
    left = sum(_residual(trend, values) for _, values, trend in pieces)
    if left < 1e-9:
        return LOWEST_HZ, 0.0

    def share(rate: float) -> float:
        angle = 2 * np.pi * rate
        waves = [np.column_stack([np.cos(angle * time), np.sin(angle * time)]) for time, _, _ in pieces]
        rest = sum(
            _residual(np.hstack([trend, wave]), values)
            for (_, values, trend), wave in zip(pieces, waves, strict=True)
        )
        return 1 - rest / left

    coarse = np.arange(LOWEST_HZ, HIGHEST_HZ + 0.01, 0.1)
    best = float(coarse[int(np.argmax([share(rate) for rate in coarse]))])
    fine = np.linspace(best - 0.1, best + 0.1, 21)
    shares = [share(rate) for rate in fine]
    return float(fine[int(np.argmax(shares))]), max(shares)


def _residual(basis: Floats, values: Floats) -> float:
    """Sum of squares that the best combination of the basis leaves."""
    solution = np.linalg.lstsq(basis, values, rcond=None)[0]
    return float(np.sum((values - basis @ solution) ** 2))


def _demodulate(times: Floats, cents: Floats, rate: float) -> npt.NDArray[np.complex128]:
    """Complex amplitude of the sinusoid of a rate around each frame; the contour has its real part."""
    angle = 2 * np.pi * rate * times
    local = np.empty(len(times), dtype=np.complex128)
    for k, centre in enumerate(times):
        first, last = np.searchsorted(times, [centre - 1 / rate, centre + 1 / rate])
        window = slice(int(first), int(last))
        away = times[window] - centre
        weight = np.cos(0.5 * np.pi * rate * away)  # the square root of a Hann window
        basis = np.stack(
            [np.ones_like(away), away * rate, np.cos(angle[window]), np.sin(angle[window])], axis=1
        )
        solution = np.linalg.lstsq(basis * weight[:, None], cents[window] * weight, rcond=None)[0]
        local[k] = solution[2] - 1j * solution[3]
    return local


def _onset(times: Floats, cents: Floats, rate: float, extent: float, local: Floats) -> tuple[float, float]:
    """Where the vibrato begins and how long it grows, in s; see the module."""
    reached = times[int(np.argmax(local >= 0.7 * extent))]
    seen = times <= reached + ONSET_CYCLES / rate
    time, values = times[seen], cents[seen]
    angle = 2 * np.pi * rate * time
    waves = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # A note settles into its pitch at first; the exponential keeps that from being taken for vibrato.
    trend = np.stack([np.ones_like(time), time, time**2, np.exp(-time / 0.06)], axis=1)
    latest = max(0.0, time[-1] - 1 / rate)
    tries = [(onset, growth) for growth in GROWTHS for onset in np.arange(0.0, latest + 1e-9, ONSET_STEP)]

    def cost(attempt: tuple[float, float]) -> float:
        onset, growth = attempt
        grown = np.clip((time - onset) / growth, 0.0, 1.0)
        return _residual(np.column_stack([trend, waves * grown[:, None]]), values)

    onset, growth = min(tries, key=cost)
    return float(onset), growth
