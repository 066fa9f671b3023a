"""Formants of a recording by linear prediction, followed from frame to frame.

Each frame's all-pole model (Burg's method) has resonances at the angles of its poles. Which of them are F1,
F2 and F3 is decided for a whole stretch of voice at once: the path of least cost through the candidates,
where poles with a wide band, positions far from a neutral tract, poles left out and jumps cost.

Reference: B. Atal, S. Hanauer, "Speech analysis and synthesis by linear prediction", JASA 50 (1971); D.
Talkin, "Speech formant trajectory estimation using dynamic programming with modulated transition costs",
JASA 82 (1987), S55; J. Makhoul, Proc. IEEE 63 (1975), equation 52 (bandwidth of a pole).
"""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.signal

from audio_io.errors import ConfigError
from audio_io.settings import check, setting

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

COUNT = 3  # formants that are followed
_CANDIDATES = 5  # lowest poles of a frame that are looked at
_NEUTRAL = np.array([500.0, 1500.0, 2500.0])  # Hz, a tube of 17.5 cm closed at one end
_LOWEST, _HIGHEST = np.array([180.0, 500.0, 1300.0]), np.array([1200.0, 3300.0, 4500.0])
_WIDE = 250.0  # Hz of bandwidth that cost 1
_FAR = 0.6  # cost of a factor e from the neutral position
_LEFT_OUT = 1.0  # cost of a narrow pole between formants that is taken for none
_JUMP = 2.5  # cost of a factor e from one frame to the next


@dataclass(frozen=True)
class FormantConfig:
    """How formants are found.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    window: float = setting(0.040, "length of the window", unit="s", minimum=0.005)
    order: int = setting(0, "poles of the model; 0 is one per kHz of the sample rate, and 2", minimum=0)
    preemphasis: float = setting(0.97, "coefficient of the pre-emphasis", minimum=0.0, maximum=0.999)
    widest: float = setting(600.0, "widest band of a formant", unit="Hz", minimum=10.0)

    def __post_init__(self) -> None:
        check(self)


def formants(
    waveform: npt.ArrayLike,
    sample_rate: int,
    times: npt.ArrayLike,
    voiced: Mask | None = None,
    config: FormantConfig | None = None,
) -> Floats:
    """F1 to F3 in Hz at given times; NaN where there is no voice or nothing is found.

    Args:
        waveform: The recording.
        sample_rate: In Hz.
        times: Middles of the frames in s.
        voiced: Where there is voice; everywhere that is not silent if None.
        config: How they are found.

    Raises:
        ConfigError: If the waveform is no row of finite numbers.

    Shape:
        - waveform: `[N]`
        - times, voiced: `[T]`
        - output: `[T, 3]`
    """
    import librosa

    config = config or FormantConfig()
    x = np.asarray(waveform, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise ConfigError(
            "waveform", f"shape {list(x.shape)}, NaN or infinity", "finite samples, one channel"
        )
    middles = np.round(np.asarray(times, dtype=np.float64) * sample_rate).astype(int)
    size = round(config.window * sample_rate)
    order = config.order or 2 + round(sample_rate / 1000)
    emphasised = scipy.signal.lfilter([1.0, -config.preemphasis], [1.0], x)
    padded = np.pad(emphasised, (size, 2 * size))
    starts = np.clip(middles + size - size // 2, 0, len(padded) - size)
    frames = padded[starts[:, None] + np.arange(size)] * np.hamming(size)  # [T, size]
    power = (frames**2).mean(axis=1)
    heard = power > 1e-6 * max(float(power.max(initial=0.0)), 1e-12)
    used = heard if voiced is None else heard & np.asarray(voiced, dtype=bool)
    result = np.full((len(middles), COUNT), np.nan)
    if not used.any():
        return result
    models = librosa.lpc(frames[used], order=order, axis=-1)
    candidates = [_poles(model, sample_rate, config.widest) for model in models]
    rows = np.flatnonzero(used)
    for stretch in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) > 1) + 1):
        result[rows[stretch]] = _follow([candidates[k] for k in stretch])
    return result


def _poles(model: Floats, sample_rate: int, widest: float) -> Floats:
    """Frequencies and bandwidths in Hz of the poles that may be formants, `[K, 2]`, from low to high."""
    roots = np.roots(model)
    roots = roots[roots.imag > 0]
    hz = np.angle(roots) * sample_rate / (2 * np.pi)
    width = -np.log(np.abs(roots)) * sample_rate / np.pi
    good = (hz > _LOWEST[0]) & (hz < sample_rate / 2 - 100) & (width < widest)
    order = np.argsort(hz[good])
    return np.stack([hz[good][order], width[good][order]], axis=1)[: _CANDIDATES + 1]


def _choices(poles: Floats) -> tuple[Floats, Floats]:
    """Every way to take three of the poles for the formants `[C, 3]`, and what it costs by itself `[C]`."""
    chosen, costs = [], []
    for picked in itertools.combinations(range(len(poles)), COUNT):
        hz, width = poles[list(picked)].T
        if (hz < _LOWEST).any() or (hz > _HIGHEST).any():
            continue
        skipped = [k for k in range(picked[-1]) if k not in picked]
        cost = width.sum() / _WIDE + _FAR * np.abs(np.log(hz / _NEUTRAL)).sum()
        cost += _LEFT_OUT * np.exp(-poles[skipped, 1] / _WIDE).sum()
        chosen.append(hz)
        costs.append(cost)
    return np.array(chosen).reshape(-1, COUNT), np.array(costs)


def _follow(candidates: list[Floats]) -> Floats:
    """The path of least cost through the frames of one stretch, `[T, 3]`; NaN in frames without a choice."""
    path = np.full((len(candidates), COUNT), np.nan)
    known = [(row, *_choices(poles)) for row, poles in enumerate(candidates)]
    known = [entry for entry in known if len(entry[1])]
    if not known:
        return path
    total = known[0][2]
    back: list[npt.NDArray[np.intp]] = []
    for (_, before, _), (_, now, own) in itertools.pairwise(known):
        step = _JUMP * np.abs(np.log(now[:, None] / before[None])).sum(-1) + total[None]  # [now, before]
        back.append(step.argmin(axis=1))
        total = own + step.min(axis=1)
    at = int(total.argmin())
    for index in range(len(known) - 1, -1, -1):
        row, now, _ = known[index]
        path[row] = now[at]
        if index:
            at = int(back[index - 1][at])
    return path
