"""What has to be different while `torch.jit.trace` captures a graph."""

import warnings

import torch
from torch import Tensor


def sizes(x: Tensor) -> tuple[int, ...]:
    """The shape of a tensor, as plain numbers under `torch.jit.trace` too.

    There `x.shape` consists of traced scalars, and arithmetic on them becomes operations in the graph, which
    coremltools refuses. A graph traced for Core ML has a fixed shape anyway. The symbolic sizes of
    `torch.export` pass through unchanged, so that exports with a dynamic length stay dynamic.
    """
    if not torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return tuple(x.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        return tuple(int(size) for size in x.shape)
