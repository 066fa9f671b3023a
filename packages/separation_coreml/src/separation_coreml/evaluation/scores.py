"""Ratios of signal to distortion.

References:
    SDR of whole songs: Mitsufuji, Fabbro, Uhlich, Stöter, Défossez, Kim, Choi, Yu, Cheuk, "Music Demixing
    Challenge 2021", Frontiers in Signal Processing 1, 2022, equation 1.
    BSS Eval: Vincent, Gribonval, Févotte, "Performance Measurement in Blind Audio Source Separation", IEEE
    Transactions on Audio, Speech, and Language Processing 14(4), 2006. Version 4 and the median over windows
    of 1 s: Stöter, Liutkus, Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018.
"""

import math

from torch import Tensor


def sdr(reference: Tensor, estimate: Tensor) -> float:
    """Energy of a stem over that of its error, over all samples and channels, in dB.

    Returns:
        NaN if the reference is silent throughout, for which there is no ratio; infinity for no error at all.

    Shape:
        - reference, estimate: `[..., T]`
    """
    energy = float(reference.double().square().sum())
    if energy == 0:
        return math.nan
    error = float((reference.double() - estimate.double()).square().sum())
    return 10 * math.log10(energy / error) if error else math.inf
