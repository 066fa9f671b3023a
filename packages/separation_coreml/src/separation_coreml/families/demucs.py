"""Demucs 3 and 4: Hybrid Demucs and Hybrid Transformer Demucs, run through the classes of the package demucs.

Their network treats complex numbers as channels, so all that is complex is the STFT before it and the inverse
after it. `core` is the model's own `forward` with these two taken out.

A bag (htdemucs_ft) is four models of which each gives one stem: one graph of four networks. Each of the four
is a model of its own as well (htdemucs_ft_drums and so on), for devices that cannot hold all of them.

Reference:
    Rouard, Massa, Défossez, "Hybrid Transformers for Music Source Separation", ICASSP 2023; Défossez, "Hybrid
    Spectrogram and Waveform Source Separation", MDX workshop 2021; https://github.com/adefossez/demucs
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from demucs.pretrained import REMOTE_ROOT, _parse_remote_files
from demucs.states import load_model
from torch import Tensor, nn
from torch.nn import functional

from audio_io.errors import ConfigError
from separation_coreml.checkpoints import (
    CheckpointError,
    WeightFile,
    check_fit,
    fill,
    only_file,
    read_checkpoint,
)
from separation_coreml.families.base import Separator, StftSettings
from separation_coreml.registry import ModelSpec

STFT_NOTE = (
    "the waveform, padded at its end to a whole number of hops, is first reflected by 1536 samples at both "
    "ends; the highest bin and the first and last two frames are left out"
)


class HybridSeparator(Separator):
    """Hybrid Demucs in the form that demucs and torchaudio share.

    Args:
        model: An `HDemucs` or `HTDemucs` of demucs, or an `HDemucs` of torchaudio.
        sample_rate: In Hz.
        segment: In samples. A Transformer model computes with exactly this length (a shorter waveform is
            padded with zeros at its end); the others with the length of the waveform.
        overlap: See `Separator`.
        stems: The stems to give, of those that the model has; all by default.

    Shape:
        - core inputs: spectrogram `[B, 2 · channels, F, frames]` (real and imaginary part of each channel in
            turn) and waveform `[B, channels, T]`
        - core outputs: spectrograms `[B, stems, 2 · channels, F, frames]` and waveforms
            `[B, stems, channels, T]`, whose sum after the inverse STFT is the result
    """

    normalize = True
    core_inputs = ("spectrogram", "waveform")
    core_outputs = ("spectrograms", "waveforms")

    def __init__(
        self,
        model: nn.Module,
        *,
        sample_rate: int,
        segment: int,
        overlap: float,
        stems: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        sources = list(model.sources)  # type: ignore[arg-type]  # nn.Module types every attribute as a tensor
        self.sample_rate, self.channels = sample_rate, int(model.audio_channels)  # type: ignore[arg-type]
        self.stems = tuple(sources if stems is None else stems)
        self._picked = [sources.index(stem) for stem in self.stems]
        self.segment, self.overlap = segment, overlap
        self._has_fixed_length = isinstance(model, HTDemucs) and model.use_train_segment
        n_fft = int(model.nfft)  # type: ignore[arg-type]  # as above
        self.stft = StftSettings(n_fft, n_fft // 4, n_fft, normalized=True, note=STFT_NOTE)
        self.adopt(model)

    def adopt(self, model: nn.Module) -> None:
        """Use another network of the same configuration."""
        if isinstance(model, HTDemucs):
            model.segment = Fraction(self.segment, self.sample_rate)
        self.model = model

    def forward(self, waveform: Tensor) -> Tensor:
        """The model's own `forward`; see `Separator`."""
        self._check_length(waveform)
        return self._pick(self.model(waveform))

    def analysis(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """The spectrogram of the waveform, and the waveform."""
        self._check_length(waveform)
        if self._has_fixed_length:
            waveform = functional.pad(waveform, (0, self.segment - waveform.shape[-1]))
        model: Any = self.model
        return model._magnitude(model._spec(waveform)), waveform

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Both branches of the network."""
        spectrogram, waveform = inputs
        view = _WithoutStft(self.model, spectrogram)
        waveforms = type(self.model).forward(view, waveform)
        assert view.spectrograms is not None
        return self._pick(view.spectrograms), self._pick(waveforms)

    def synthesis(self, outputs: tuple[Tensor, ...], length: int) -> Tensor:
        """The sum of both branches."""
        spectrograms, waveforms = outputs
        model: Any = self.model
        # The first argument of demucs's `_mask` is the mixture, which this kind of model ignores.
        mask = model._mask if not isinstance(model, HDemucs | HTDemucs) else _second(model._mask)
        summed: Tensor = waveforms + model._ispec(mask(spectrograms), waveforms.shape[-1])
        return summed[..., :length]

    def _pick(self, stems: Tensor) -> Tensor:
        return stems if self._picked == list(range(stems.shape[1])) else stems[:, self._picked]

    def _check_length(self, waveform: Tensor) -> None:
        if self._has_fixed_length and waveform.shape[-1] > self.segment:
            found = f"{waveform.shape[-1]} samples"
            raise ConfigError("waveform", found, f"at most the segment of the model, {self.segment} samples")


class Bag(Separator):
    """Several models of one kind whose stems are put together; see the module.

    Args:
        members: One separator for each stem, or for some of them, in the order of the stems.
    """

    normalize = True
    core_inputs = HybridSeparator.core_inputs
    core_outputs = HybridSeparator.core_outputs

    def __init__(self, members: Sequence[HybridSeparator]) -> None:
        super().__init__()
        first = members[0]
        self.members = nn.ModuleList(members)
        self.sample_rate, self.channels, self.stft = first.sample_rate, first.channels, first.stft
        self.segment, self.overlap = first.segment, first.overlap
        self.stems = tuple(stem for member in members for stem in member.stems)

    def forward(self, waveform: Tensor) -> Tensor:
        """The stems of all members."""
        return torch.cat([member(waveform) for member in self.members], dim=1)

    def analysis(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """As for each of the members: their STFT is the same."""
        return self._first.analysis(waveform)

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The networks of all members."""
        outputs = [member.core(*inputs) for member in self.members]  # type: ignore[operator]  # as above
        return tuple(torch.cat(parts, dim=1) for parts in zip(*outputs, strict=True))

    def synthesis(self, outputs: tuple[Tensor, ...], length: int) -> Tensor:
        """As for each of the members."""
        return self._first.synthesis(outputs, length)

    @property
    def _first(self) -> HybridSeparator:
        member = self.members[0]
        assert isinstance(member, HybridSeparator)
        return member


class _WithoutStft:
    """Stands for a model whose STFT has been done, and whose inverse is left to the caller.

    Attributes:
        spectrograms: What the model would have inverted.
    """

    def __init__(self, model: nn.Module, spectrogram: Tensor) -> None:
        self._model, self._spectrogram = model, spectrogram
        self.spectrograms: Tensor | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the model has
        return getattr(self._model, name)

    def _spec(self, _waveform: Tensor) -> Tensor:
        return self._spectrogram

    def _magnitude(self, spectrogram: Tensor) -> Tensor:
        return spectrogram

    def _mask(self, *spectrograms: Tensor) -> Tensor:
        return spectrograms[-1]

    def _ispec(self, spectrograms: Tensor, _length: int) -> float:
        self.spectrograms = spectrograms
        return 0.0


def _second(mask: Callable[[None, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda spectrograms: mask(None, spectrograms)


def build(spec: ModelSpec, segment: int) -> Separator:
    """The network of a model of this family, without trained weights."""
    sources: list[str] = spec.options["sources"]
    classes = {"htdemucs": HTDemucs, "hdemucs": HDemucs}
    bag: list[str] | None = spec.options.get("bag")
    models = [
        classes[spec.options["class"]](sources, **spec.options["arguments"])
        for _ in range(1 if bag is None else len(bag))
    ]
    picks = [list(spec.stems)] if bag is None else [[stem] for stem in bag]
    members = [
        HybridSeparator(
            model, sample_rate=spec.sample_rate, segment=segment, overlap=spec.overlap, stems=stems
        )
        for model, stems in zip(models, picks, strict=True)
    ]
    return members[0] if bag is None else Bag(members)


def load(separator: Separator, spec: ModelSpec, checkpoint: Path | None) -> None:
    """Put trained weights into a separator of this family.

    Args:
        separator: From `build`.
        spec: Its model.
        checkpoint: A file as demucs publishes it (`.th`, `.safetensors`) or a plain state dict; for a bag, a
            folder with the files of all its members under their published names. None for the official
            files.

    Raises:
        FileError: If a file cannot be read or is of another model.
        WeightsNotFoundError: If the official files are not to be had.
    """
    members = separator.members if isinstance(separator, Bag) else [separator]
    for member, signature in zip(members, spec.options["signatures"], strict=True):
        assert isinstance(member, HybridSeparator)
        member.adopt(_read_model(member.model, signature, checkpoint, spec))


def official_file(signature: str) -> WeightFile:
    """The file of a signature, from the list that comes with the package demucs."""
    url = _parse_remote_files(REMOTE_ROOT / "files.txt")[signature]
    return WeightFile(url, digest=url.rsplit("-", 1)[-1].removesuffix(".th"))


def _read_model(model: nn.Module, signature: str, checkpoint: Path | None, spec: ModelSpec) -> nn.Module:
    if checkpoint is None:
        path = official_file(signature).fetch()
    else:
        path = only_file(checkpoint, f"{signature}*") if checkpoint.is_dir() else checkpoint
    package = read_checkpoint(path, classes=(HTDemucs, HDemucs, Fraction))
    if "klass" not in package:
        fill(model, package, path, title=spec.name)
        return model
    if package["klass"] is not type(model):
        raise CheckpointError(
            path, f"a {package['klass'].__name__}", f"a {type(model).__name__} ({spec.name})"
        )
    check_fit(model, package["state"], path, title=spec.name)
    # Settings that leave no trace in the shapes, such as the number of heads, are those of the file.
    loaded: nn.Module = load_model(package)  # type: ignore[no-untyped-call]  # demucs has no types
    return loaded
