"""Hybrid Demucs as torchaudio has it: the bundles HDEMUCS_HIGH_MUSDB and HDEMUCS_HIGH_MUSDB_PLUS.

`forward` is that of torchaudio. The mean and standard deviation that torchaudio's tutorial takes out of a
song before the model and puts back after it are not part of it; `separate` does this, as for demucs.

Reference:
    https://docs.pytorch.org/audio/stable/tutorials/hybrid_demucs_tutorial.html
"""

from pathlib import Path

from torchaudio import pipelines
from torchaudio.models import hdemucs_high

from separation_coreml.checkpoints import WeightFile, fill, read_checkpoint
from separation_coreml.families.base import Separator
from separation_coreml.families.demucs import HybridSeparator
from separation_coreml.registry import ModelSpec

ROOT = "https://download.pytorch.org/torchaudio/"
# torchaudio publishes no hashes; this one was found alike in two independent lists of downloads.
_DIGESTS = {"HDEMUCS_HIGH_MUSDB_PLUS": "a004b2790d73ffeaa535db458a1a79b539dfdbafbccc31f275d07e632ebd7816"}


def build(spec: ModelSpec, segment: int) -> Separator:
    """The network of a model of this family, without trained weights."""
    model = hdemucs_high(sources=list(spec.stems))
    return HybridSeparator(model, sample_rate=spec.sample_rate, segment=segment, overlap=spec.overlap)


def load(separator: Separator, spec: ModelSpec, checkpoint: Path | None) -> None:
    """Put trained weights into a separator of this family.

    Args:
        separator: From `build`.
        spec: Its model.
        checkpoint: A state dict; None for the file of the bundle.

    Raises:
        FileError: If the file cannot be read or is of another model.
        WeightsNotFoundError: If the official file is not to be had.
    """
    assert isinstance(separator, HybridSeparator)
    path = checkpoint if checkpoint is not None else official_file(spec.options["bundle"]).fetch()
    fill(separator.model, read_checkpoint(path), path, title=spec.name)


def official_file(bundle: str) -> WeightFile:
    """The file of a bundle, where torchaudio itself keeps it."""
    url = ROOT + getattr(pipelines, bundle)._model_path
    return WeightFile(url, _DIGESTS.get(bundle), folder="torchaudio/models")
