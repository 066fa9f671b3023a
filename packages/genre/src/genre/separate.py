"""From a recording to four mono stems at the rate of the features: Demucs, ready-made stems, or neither.

Demucs runs as in `demucs.api.Separator(shifts=0)`: the mixture is normalised by the mean and the standard
deviation of its mono mix, cut into segments that overlap, and the results are summed with triangular weights.
Two things differ. Segments are spread evenly, the fewest that overlap as asked, where demucs starts one every
stride up to the end, so that its last one is mostly padding. And PyTorch's fused path of attention is off,
which is slower on a CPU than the plain one. Where segments coincide the stems are the same up to float32
rounding; elsewhere they differ as those of two settings of `shifts` do.

A recording of one channel is doubled for a stereo model; of more than two, the mean of all is doubled, since
files do not agree on which channel is which.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

import audio_io
from audio_io.cli import pick_device
from audio_io.errors import AudioError, AudioNotFoundError, ConfigError
from genre.config import STEMS, FeatureConfig, SeparationConfig
from genre.layouts import MIXTURE, stem_file

LEAST_SECONDS = 0.5  # of a recording that can be classified
_GREATEST_PEAK = 1e10  # above that of 32-bit integers as they are; the power of more overflows
_GREATEST_MISMATCH = 0.1  # s, by which ready-made stems may differ in length
_LEAST_DEVIATION = 1e-8  # what demucs adds to the standard deviation
_GPU_BATCH = 4

Tick = Callable[[], None]


class Separator(Protocol):
    """Makes the stems of one recording."""

    def __call__(self, path: Path, tick: Tick = ...) -> Tensor:
        """Stems in the order of `STEMS`, mono, at the rate of the features.

        Args:
            path: A sound file or a folder of stems.
            tick: Called after every step of the work.

        Raises:
            AudioError: If the recording cannot be used.

        Shape:
            - output: `[4, N]`, float32
        """
        ...


def open_separator(
    config: SeparationConfig, features: FeatureConfig, *, device: str = "auto", batch_size: int = 0
) -> Separator:
    """The separator of a configuration, ready for work.

    Args:
        config: Which one.
        features: For the rate of the stems.
        device: Where Demucs runs; see `audio_io.cli.pick_device`.
        batch_size: Segments that Demucs takes at once; 0 for 4 on a GPU and 1 on a CPU, where more are
            slower.

    Raises:
        ConfigError: If a setting cannot be used; it names the field.
        WeightsNotFoundError: If weights are not here and cannot be downloaded.
        FileError: If a file of weights cannot be used.
    """
    if config.separator == "stems":
        return ReadyStems(features.sample_rate)
    if config.separator == "none":
        return MixtureOnly(features.sample_rate)
    from genre.demucs_models import load_demucs

    return DemucsSeparator(
        load_demucs(config),
        features.sample_rate,
        overlap=config.overlap,
        device=pick_device(device),
        batch_size=batch_size,
    )


def separator_identity(config: SeparationConfig) -> str:
    """What the stems of a configuration depend on besides the recording and the rate.

    Of Demucs, the files of its weights are named, so that the same name with other weights is another model;
    they need not be there.

    Raises:
        ConfigError: If there is no such model.
    """
    if config.separator != "demucs":
        return config.separator
    from genre.demucs_models import model_files

    files = "+".join(file.identity for file in model_files(config))
    return f"demucs {config.separation_model} {files} overlap {config.overlap:g}"


class ReadyStems:
    """Stems that somebody else has made: a folder with one file for each.

    Args:
        sample_rate: Of the stems, in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate

    def __call__(self, path: Path, tick: Tick = lambda: None) -> Tensor:
        """See `Separator`; stems that differ by up to 0.1 s in length are cut to the shortest."""
        expected = "a folder with " + ", ".join(STEMS)
        if not path.is_dir():
            raise AudioNotFoundError(path, "a file" if path.exists() else "nothing", expected)
        stems = []
        for stem in STEMS:
            file = stem_file(path, stem)
            if file is None:
                raise AudioNotFoundError(path, f"no file {stem}", expected)
            stems.append(audio_io.load(file, sample_rate=self.sample_rate, channels="mono")[0][0])
            tick()
        shortest = min(map(len, stems))
        if max(map(len, stems)) - shortest > _GREATEST_MISMATCH * self.sample_rate:
            lengths = (
                f"{stem} {len(x) / self.sample_rate:.2f} s" for stem, x in zip(STEMS, stems, strict=True)
            )
            raise AudioError(path, "stems of different length, " + ", ".join(lengths), "equal lengths")
        joined = torch.stack([stem[:shortest] for stem in stems])
        _check(path, joined, self.sample_rate)
        return joined


class MixtureOnly:
    """No separation: each of the four channels is the mixture.

    Args:
        sample_rate: Of the output, in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate

    def __call__(self, path: Path, tick: Tick = lambda: None) -> Tensor:
        """See `Separator`."""
        mixture = load_mixture(path, self.sample_rate, 1)
        tick()
        return mixture.expand(len(STEMS), -1)


class DemucsSeparator:
    """A Demucs model; see the module.

    Args:
        model: A `demucs.apply.BagOfModels`. Stems beyond the four (guitar, piano) count as `other`.
        sample_rate: Of the stems, in Hz.
        overlap: Share of a segment that the next one covers again at least, from 0 to below 1.
        device: Where it runs.
        batch_size: See `open_separator`.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - demucs has few types
        sample_rate: int,
        *,
        overlap: float = 0.25,
        device: torch.device | None = None,
        batch_size: int = 0,
    ) -> None:
        if batch_size < 0:
            raise ConfigError("batch_size", batch_size, "at least 0")
        self.device = torch.device("cpu") if device is None else device
        self.model = model.to(self.device).eval()
        self.sample_rate, self.overlap = sample_rate, overlap
        self.batch_size = batch_size or (1 if self.device.type == "cpu" else _GPU_BATCH)

    def __call__(self, path: Path, tick: Tick = lambda: None) -> Tensor:
        """See `Separator`."""
        rate = int(self.model.samplerate)
        mixture = load_mixture(path, rate, int(self.model.audio_channels))
        return audio_io.resample(self.separate(mixture, tick), rate, self.sample_rate)

    def separate(self, mixture: Tensor, tick: Tick = lambda: None) -> Tensor:
        """Mono stems of a mixture, both at the rate of the model, in the order of `STEMS`.

        Args:
            mixture: Full scale ±1.
            tick: Called after every pass.

        Shape:
            - mixture: `[C, T]` with the channels of the model
            - output: `[4, T]`, on the CPU
        """
        mono = mixture.mean(dim=0)
        mean, deviation = mono.mean(), mono.std(correction=1 if len(mono) > 1 else 0) + _LEAST_DEVIATION
        normalized = (mixture - mean) / deviation
        total = torch.zeros(len(self.model.sources), mixture.shape[-1])
        weights = torch.tensor(self.model.weights)  # [models, sources]
        with torch.inference_mode(), _plain_attention():
            for network, weight in zip(self.model.models, weights, strict=True):
                total += weight[:, None] * self._apply(network, normalized, tick)
        sources = total / weights.sum(dim=0)[:, None] * deviation + mean
        rows = [STEMS.index(source if source in STEMS else "other") for source in self.model.sources]
        stems = torch.zeros(len(STEMS), mixture.shape[-1])
        return stems.index_add(0, torch.tensor(rows), sources)

    def _apply(self, network: Any, mixture: Tensor, tick: Tick) -> Tensor:  # noqa: ANN401 - as above
        """Mono sources of one network, `[sources, T]`."""
        length = mixture.shape[-1]
        segment = int(network.samplerate * network.segment)
        used = min(segment, length)
        # Some networks want more samples than they give, others (HTDemucs) a fixed number.
        width = network.valid_length(used) if hasattr(network, "valid_length") else used
        left = (width - used) // 2
        starts = segment_starts(length, segment, self.overlap)
        weight = triangle(segment)[:used]
        total = torch.zeros(len(network.sources), length)
        weight_sum = torch.zeros(length)
        for first in range(0, len(starts), self.batch_size):
            batch = starts[first : first + self.batch_size]
            windows = torch.stack([_window(mixture, start - left, width) for start in batch])
            output = self._run(network, windows).mean(dim=2).cpu()[..., left : left + used]
            for start, sources in zip(batch, output, strict=True):
                total[:, start : start + used] += weight * sources
                weight_sum[start : start + used] += weight
            tick()
        return total / weight_sum

    def _run(self, network: Any, windows: Tensor) -> Tensor:  # noqa: ANN401 - as above
        try:
            output: Tensor = network(windows.to(self.device))
        except torch.OutOfMemoryError as error:
            found = f"{len(windows)} segments, more than the memory of {self.device} holds"
            raise ConfigError("batch_size", found, "fewer at once, or the CPU") from error
        return output


def load_mixture(path: Path, sample_rate: int, channels: int) -> Tensor:
    """The recording, with as many channels as wanted; see the module.

    Args:
        path: A sound file, or a folder of stems: its `mixture`, without one the sum of the stems.
        sample_rate: Wanted, in Hz.
        channels: Wanted, 1 or 2.

    Raises:
        AudioError: If it cannot be used, or is shorter than 0.5 s.

    Shape:
        - output: `[channels, T]`, float32
    """
    if path.is_dir():
        file = stem_file(path, MIXTURE)
        if file is None:
            return ReadyStems(sample_rate)(path).sum(dim=0, keepdim=True).expand(channels, -1)
        path = file
    mixture, _ = audio_io.load(path, sample_rate=sample_rate, channels="mono" if channels == 1 else "all")
    _check(path, mixture, sample_rate)
    if len(mixture) == channels:
        return mixture
    return mixture.mean(dim=0, keepdim=True).expand(channels, -1)


def segment_starts(length: int, segment: int, overlap: float) -> list[int]:
    """Where the fewest segments start that cover a recording and overlap at least as asked, spread evenly.

    Args:
        length: Of the recording, in samples.
        segment: In samples.
        overlap: Share of a segment, from 0 to below 1.

    Example:
        >>> segment_starts(100, 40, 0.25), segment_starts(30, 40, 0.25)
        ([0, 30, 60], [0])
    """
    if length <= segment:
        return [0]
    stride = max(1, int((1 - overlap) * segment))
    gaps = -(-(length - segment) // stride)
    return [round(index * (length - segment) / gaps) for index in range(gaps + 1)]


def triangle(length: int) -> Tensor:
    """Weights of a segment's samples, 1 at the middle; `[length]`. Reference: `demucs.apply.apply_model`."""
    half = length // 2
    weight = torch.cat([torch.arange(1, half + 1), torch.arange(length - half, 0, -1)])
    return weight / weight.max()


def _window(mixture: Tensor, start: int, width: int) -> Tensor:
    """Samples from `start` on, zeros where there are none; `[C, width]`."""
    length = mixture.shape[-1]
    inside = mixture[:, max(start, 0) : max(0, min(start + width, length))]
    return functional.pad(inside, (max(-start, 0), max(start + width - length, 0)))


def _check(path: Path, waveform: Tensor, sample_rate: int) -> None:
    seconds = waveform.shape[-1] / sample_rate
    if seconds < LEAST_SECONDS:
        raise AudioError(path, f"{seconds:.3f} s of sound", f"at least {LEAST_SECONDS:g} s")
    check_level(path, waveform)


def check_level(path: Path, waveform: Tensor) -> None:
    """Refuse samples whose power is no number any more.

    Raises:
        AudioError: If one is above 1e10.
    """
    if (peak := float(waveform.abs().max())) > _GREATEST_PEAK:
        raise AudioError(path, f"samples up to {peak:.2g}", "a full scale of 1")


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
