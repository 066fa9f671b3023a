"""Open-Unmix: a bidirectional LSTM on magnitudes for each of four stems, run through the package openunmix.

With the Wiener filter (`umxhq`, `umxl`: one step of expectation maximisation, the default of the authors) or
without (`umxhq_nowiener`, `umxl_nowiener`: magnitudes with the phase of the mixture). The authors filter 300
frames at a time; the segment is as long.

Reference:
    Stöter, Uhlich, Liutkus, Mitsufuji, "Open-Unmix - A Reference Implementation for Music Source Separation",
    Journal of Open Source Software 4(41), 2019; https://github.com/sigsep/open-unmix-pytorch
"""

from pathlib import Path
from typing import Any

import openunmix
import torch
from openunmix.model import Separator as OpenUnmixSeparator
from torch import Tensor

from separation_coreml.checkpoints import WeightFile, fill, only_file, read_checkpoint
from separation_coreml.families.base import Separator, StftSettings
from separation_coreml.registry import ModelSpec

# Reference: openunmix/__init__.py, whose addresses are inside of its functions.
_FILES = {
    "umxhq": (
        "https://zenodo.org/records/3370489/files/",
        {"bass": "8d85a5bd", "drums": "9619578f", "other": "b52fbbf7", "vocals": "b62c91ce"},
    ),
    "umxl": (
        "https://zenodo.org/records/5069601/files/",
        {"bass": "2ca1ce51", "drums": "69e0ebd4", "other": "c8c5b3e6", "vocals": "bccbd9aa"},
    ),
}
# The published files hold these besides the network; it has no use for them.
_SPARE = ("sample_rate", "stft.window", "transform.0.window")


class UnmixSeparator(Separator):
    """Open-Unmix.

    Args:
        model: openunmix's own separator, with one network for each stem.
        sample_rate: In Hz.
        segment: In samples.
        overlap: See `Separator`.
        n_fft: Of its STFT.
        hop_length: Of its STFT.

    Shape:
        - core input: spectrogram `[B, 2 · channels, F, frames]` (real and imaginary part of each channel in
            turn)
        - core output: spectrograms `[B, stems, 2 · channels, F, frames]`
    """

    core_inputs = ("spectrogram",)
    core_outputs = ("spectrograms",)

    def __init__(
        self,
        model: OpenUnmixSeparator,
        *,
        sample_rate: int,
        segment: int,
        overlap: float,
        n_fft: int = 4096,
        hop_length: int = 1024,
    ) -> None:
        super().__init__()
        self.model = model
        self.sample_rate, self.channels = sample_rate, 2
        self.stems: tuple[str, ...] = tuple(model.target_models)
        self.segment, self.overlap = segment, overlap
        self.stft, self.least_segment = StftSettings(n_fft, hop_length, n_fft), n_fft // 2 + 1

    def forward(self, waveform: Tensor) -> Tensor:
        """The model's own `forward`; see `Separator`."""
        stems: Tensor = self.model(waveform)
        return stems

    def analysis(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """The spectrogram of the waveform."""
        spectrum: Tensor = self.model.stft(waveform)  # [B, C, F, frames, 2]
        return (spectrum.permute(0, 1, 4, 2, 3).flatten(1, 2),)

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The networks and, where the model has it, the Wiener filter."""
        (spectrogram,) = inputs
        pairs = torch.unflatten(spectrogram, 1, (self.channels, 2)).permute(0, 1, 3, 4, 2).contiguous()
        view = _WithoutStft(self.model)
        # What stands for the waveform is asked for its batch size and its type.
        stems: Tensor = OpenUnmixSeparator.forward(view, pairs)  # [B, stems, C, F, frames, 2]
        return (stems.permute(0, 1, 2, 5, 3, 4).flatten(2, 3),)

    def synthesis(self, outputs: tuple[Tensor, ...], length: int) -> Tensor:
        """The inverse STFT of each stem."""
        (spectrograms,) = outputs
        pairs = torch.unflatten(spectrograms, 2, (self.channels, 2)).permute(0, 1, 2, 4, 5, 3)
        stems: Tensor = self.model.istft(pairs.contiguous(), length=length)
        return stems


class _WithoutStft:
    """Stands for a model whose STFT has been done, and whose inverse is left to the caller."""

    def __init__(self, model: OpenUnmixSeparator) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the model has
        return getattr(self._model, name)

    def stft(self, spectrogram: Tensor) -> Tensor:
        return spectrogram

    def istft(self, spectrograms: Tensor, length: int) -> Tensor:  # noqa: ARG002 - the caller knows it
        return spectrograms


def build(spec: ModelSpec, segment: int) -> Separator:
    """The network of a model of this family, without trained weights."""
    builder = getattr(openunmix, spec.options["model"])
    model = builder(
        targets=list(spec.stems),
        niter=spec.options["iterations"],
        device=torch.get_default_device(),
        pretrained=False,
    )
    return UnmixSeparator(model, sample_rate=spec.sample_rate, segment=segment, overlap=spec.overlap)


def load(separator: Separator, spec: ModelSpec, checkpoint: Path | None) -> None:
    """Put trained weights into a separator of this family.

    Args:
        separator: From `build`.
        spec: Its model.
        checkpoint: A folder with one `.pth` for each stem under its published name (`vocals-….pth`); None
            for the official files.

    Raises:
        FileError: If a file cannot be read or is of another model.
        WeightsNotFoundError: If the official files are not to be had.
    """
    assert isinstance(separator, UnmixSeparator)
    for stem in separator.stems:
        file = official_file(spec.options["model"], stem)
        path = file.fetch() if checkpoint is None else only_file(checkpoint, f"{stem}*.pth")
        network = separator.model.target_models[stem]
        fill(
            network,
            read_checkpoint(path),
            path,
            title=f"{spec.name} ({stem})",
            spare=_SPARE + _unused(network),
        )


def official_file(model: str, stem: str) -> WeightFile:
    """The file of one stem."""
    root, digests = _FILES[model]
    return WeightFile(f"{root}{stem}-{digests[stem]}.pth", digests[stem])


def _unused(network: Any) -> tuple[str, ...]:  # noqa: ANN401 - openunmix has no types
    # Counters of batches, which only training reads, are missing in files of old versions of torch.
    return tuple(key for key in network.state_dict() if key.endswith("num_batches_tracked"))
