"""Measures of speech against a reference, as functions of arrays.

Each checks its input first and raises `ConfigError` naming the argument.

References:
    MCD: R. Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", 1993.
    STOI, ESTOI: C. Taal et al., IEEE TASLP 19 (2011); J. Jensen, C. Taal, IEEE TASLP 24 (2016); by pystoi.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

from audio_io.errors import ConfigError
from mri2speech.acoustic.config import BANDS

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CEPSTRA = 13  # coefficients of the distance, the level left out
# 10 / ln 10 sqrt 2 turns the distance of natural cepstra into dB.
_TO_DB = 10.0 / np.log(10.0) * np.sqrt(2.0)
_DB_TO_NEPER = np.log(10.0) / 20.0


def validate(
    name: str, found: npt.ArrayLike, reference: npt.ArrayLike, *, same: bool = True
) -> tuple[Floats, Floats]:
    """Both as float64.

    Args:
        name: Of the argument, for the sentence.
        found: What is measured.
        reference: What it is held against.
        same: Whether they must have the same shape; else all but the last dimension.

    Raises:
        ConfigError: If they are empty, not finite, or of shapes that do not fit.
    """
    x, y = np.asarray(found, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    for array in (x, y):
        if array.size == 0 or not np.isfinite(array).all():
            raise ConfigError(name, "nothing, NaN or infinity", "finite numbers")
    if (x.shape != y.shape) if same else (x.shape[:-1] != y.shape[:-1]):
        raise ConfigError(name, f"shape {list(x.shape)}", f"{list(y.shape)}, as the reference")
    return x, y


def cepstra(mel_db: npt.ArrayLike) -> Floats:
    """Mel cepstra 1 to 13 in nepers: the orthogonal cosine transform of the logarithms of the amplitudes.

    The transform is scaled so that the distance of two spectra whose logarithms differ by a cosine of
    amplitude a (in nepers) is that of coefficients that differ by a.

    Shape:
        - mel_db: `[n_mels, T]`
        - output: `[13, T]`
    """
    log = np.asarray(mel_db, dtype=np.float64) * _DB_TO_NEPER
    return np.asarray(scipy.fft.dct(log, axis=0)[1 : CEPSTRA + 1] / log.shape[0])


def mel_cepstral_distortion(
    mel_db: npt.ArrayLike, reference_db: npt.ArrayLike, *, warp: bool = False
) -> float:
    """Mel-cepstral distortion in dB: the mean over frames of `10 / ln 10 sqrt(2 sum (c - c')^2)`.

    Args:
        mel_db: Mels in dB.
        reference_db: Of the reference.
        warp: Whether time may be warped (DTW); then the mean goes over the path, and lengths may differ.

    Shape:
        - mel_db: `[n_mels, T]`
        - reference_db: `[n_mels, T']`
    """
    x, y = validate("mel_db", mel_db, reference_db, same=not warp) if not warp else _two(mel_db, reference_db)
    a, b = cepstra(x), cepstra(y)
    if not warp:
        # A coefficient c of the cosine series counts twice in the spectrum, once for each side.
        return float((_TO_DB * np.sqrt(((a - b) ** 2).sum(axis=0))).mean())
    import librosa

    cost = _TO_DB * np.sqrt(np.maximum(((a[:, :, None] - b[:, None, :]) ** 2).sum(axis=0), 0))
    _, path = librosa.sequence.dtw(C=cost)
    return float(cost[path[:, 0], path[:, 1]].mean())


def _two(mel_db: npt.ArrayLike, reference_db: npt.ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(mel_db, dtype=np.float64), np.asarray(reference_db, dtype=np.float64)
    for array in (x, y):
        if array.ndim != 2 or array.size == 0 or not np.isfinite(array).all():
            raise ConfigError("mel_db", f"shape {list(array.shape)}", "finite mels [n_mels, T]")
    if x.shape[0] != y.shape[0]:
        raise ConfigError("mel_db", f"{x.shape[0]} bands", f"{y.shape[0]}, as the reference")
    return x, y


def band_errors(mel_db: npt.ArrayLike, reference_db: npt.ArrayLike) -> dict[str, float]:
    """Mean absolute error in dB of all mels and of each band group of the brief (F0, F1, F2, F3, top).

    Shape:
        - mel_db, reference_db: `[64, T]`
    """
    x, y = validate("mel_db", mel_db, reference_db)
    error = np.abs(x - y)
    return {"all": float(error.mean()), **{name: float(error[low:high].mean()) for name, low, high in BANDS}}


@dataclass(frozen=True)
class Errors:
    """Root mean square, median and mean of absolute errors, and how many values they are of."""

    rmse: float
    median: float
    mean: float
    count: int


def errors(found: npt.ArrayLike, reference: npt.ArrayLike, use: Mask | None = None) -> Errors:
    """Errors of values where both are known; NaN counts as not known.

    Args:
        found: Values, such as a formant in Hz.
        reference: True values.
        use: Where to look; everywhere if None.

    Raises:
        ConfigError: If the shapes differ.
    """
    x, y = np.asarray(found, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if x.shape != y.shape:
        raise ConfigError("found", f"shape {list(x.shape)}", f"{list(y.shape)}, as the reference")
    known = np.isfinite(x) & np.isfinite(y)
    if use is not None:
        known &= use
    difference = np.abs(x[known] - y[known])
    if not difference.size:
        return Errors(float("nan"), float("nan"), float("nan"), 0)
    return Errors(
        float(np.sqrt((difference**2).mean())),
        float(np.median(difference)),
        float(difference.mean()),
        int(difference.size),
    )


@dataclass(frozen=True)
class PitchErrors:
    """RMSE in Hz and in cents where both have a voice, and the share of frames that disagree on voice."""

    rmse_hz: float
    rmse_cents: float
    voicing_error: float


def pitch_errors(f0: npt.ArrayLike, reference: npt.ArrayLike) -> PitchErrors:
    """Errors of a pitch track in Hz whose unvoiced frames are 0.

    Shape:
        - f0, reference: `[T]`
    """
    x, y = validate("f0", f0, reference)
    both = (x > 0) & (y > 0)
    voicing = float(((x > 0) != (y > 0)).mean())
    if not both.any():
        return PitchErrors(float("nan"), float("nan"), voicing)
    cents = 1200 * np.log2(x[both] / y[both])
    return PitchErrors(
        float(np.sqrt(((x[both] - y[both]) ** 2).mean())), float(np.sqrt((cents**2).mean())), voicing
    )


def intelligibility(
    waveform: npt.ArrayLike, reference: npt.ArrayLike, sample_rate: int, *, extended: bool = False
) -> float:
    """STOI, or ESTOI, from about 0 to 1; NaN if too little of the reference is loud enough to be measured.

    Shape:
        - waveform, reference: `[N]`
    """
    from pystoi import stoi

    x, y = validate("waveform", waveform, reference)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(stoi(y, x, sample_rate, extended=extended))
        except RuntimeWarning:
            return float("nan")


def pesq(waveform: npt.ArrayLike, reference: npt.ArrayLike, sample_rate: int) -> float | None:
    """PESQ (ITU-T P.862.2, wide band at 16 kHz), or None where the package `pesq` is not installed.

    It is not installed with this package: its reference code may be used for evaluation, not in products.

    Shape:
        - waveform, reference: `[N]`
    """
    try:
        from pesq import pesq as measure  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    import torch

    from audio_io import resample

    x, y = validate("waveform", waveform, reference)
    pair = resample(torch.from_numpy(np.stack([x, y])), sample_rate, 16000).numpy()
    return float(measure(16000, pair[1], pair[0], "wb"))
