"""Ratios of signal to distortion, in dB; NaN where there is none, because the stem is silent.

`sdr` is that of the Music Demixing Challenges. `frame_sdr` is what museval calls SDR: in its version 4 of BSS
Eval no filter stands between stem and estimate, so that the SDR of a window is the plain one, and the figure
of a song is the median over windows of 1 s. As in museval a window counts only if neither a stem nor an
estimate is silent in it. `bss_eval` allows for filters of 512 taps, and tells interference from artefacts.

References:
    SDR of whole songs: Mitsufuji, Fabbro, Uhlich, Stöter, Défossez, Kim, Choi, Yu, Cheuk, "Music Demixing
    Challenge 2021", Frontiers in Signal Processing 1, 2022, equation 1.
    BSS Eval: Vincent, Gribonval, Févotte, "Performance Measurement in Blind Audio Source Separation", IEEE
    Transactions on Audio, Speech, and Language Processing 14(4), 2006; its version 4: Stöter, Liutkus, Ito,
    "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018; fast-bss-eval: Scheibler, "SDR - Medium
    Rare with Fast Computations", ICASSP 2022.
"""

import math

import torch
from torch import Tensor

from audio_io.errors import UserError

_FILTER_LENGTH = 512
_LOADING = 1e-9  # on the diagonal of the normal equations, for signals without all frequencies


class MissingBssEvalError(UserError):
    """The optional dependency fast-bss-eval is not installed."""


def sdr(reference: Tensor, estimate: Tensor) -> float:
    """Energy of a stem over that of its error, over all samples and channels.

    Returns:
        NaN if the stem is silent throughout, infinity if there is no error at all.

    Shape:
        - reference, estimate: `[..., T]`
    """
    energy = float(reference.double().square().sum())
    if energy == 0:
        return math.nan
    error = float((reference.double() - estimate.double()).square().sum())
    return 10 * math.log10(energy / error) if error else math.inf


def frame_sdr(references: Tensor, estimates: Tensor, window: int) -> list[float]:
    """Median over windows of each stem's `sdr`.

    Args:
        references: The true stems.
        estimates: In the same order.
        window: Length and step of the windows in samples; a rest at the end is left out, unless the song is
            no longer than that.

    Shape:
        - references, estimates: `[stems, channels, T]`
    """
    pairs = _windows(references, estimates, window)
    scores = [[sdr(*pair) for pair in zip(*window_pair, strict=True)] for window_pair in pairs]
    return _medians(scores, len(references))


def bss_eval(references: Tensor, estimates: Tensor, window: int) -> dict[str, list[float]]:
    """Medians over windows of SDR, SIR and SAR, with filters of 512 taps, found anew in each window.

    Channels are scored alone and averaged, as the filters of fast-bss-eval know one channel.

    Args:
        references: The true stems.
        estimates: In the same order.
        window: As for `frame_sdr`.

    Returns:
        Of each stem, by `bss_sdr`, `bss_sir`, `bss_sar`.

    Raises:
        MissingBssEvalError: If fast-bss-eval is not installed.

    Shape:
        - references, estimates: `[stems, channels, T]`
    """
    try:
        import fast_bss_eval
    except ImportError as error:
        raise MissingBssEvalError(
            "bss_eval: fast-bss-eval is not installed; run: pip install 'separation-coreml[evaluate]'"
        ) from error
    found: list[Tensor] = []
    for reference, estimate in _windows(references, estimates, window):
        # Stems are the sources of one channel, `[channels, stems, window]`.
        ratios = fast_bss_eval.bss_eval_sources(
            reference.double().transpose(0, 1),
            estimate.double().transpose(0, 1),
            filter_length=min(_FILTER_LENGTH, reference.shape[-1]),
            compute_permutation=False,
            load_diag=_LOADING,
        )
        found.append(torch.stack(list(ratios)).mean(dim=1))  # [3, stems]
    names = ("bss_sdr", "bss_sir", "bss_sar")
    return {
        name: _medians([ratios[index].tolist() for ratios in found], len(references))
        for index, name in enumerate(names)
    }


def _windows(references: Tensor, estimates: Tensor, window: int) -> list[tuple[Tensor, Tensor]]:
    """Pairs of windows in which nothing is silent."""
    window = min(window, references.shape[-1])
    parts = zip(references.unfold(-1, window, window).unbind(2), _cut(estimates, window), strict=True)
    return [pair for pair in parts if all(bool(each.any(dim=-1).any(dim=-1).all()) for each in pair)]


def _cut(signal: Tensor, window: int) -> tuple[Tensor, ...]:
    return signal.unfold(-1, window, window).unbind(2)


def _medians(scores: list[list[float]], stems: int) -> list[float]:
    if not scores:
        return [math.nan] * stems
    # The middle of an even number is the mean of two; torch.median would take the lower.
    return [float(value) for value in torch.tensor(scores, dtype=torch.float64).quantile(0.5, dim=0)]
