"""Spleeter: a U-Net on magnitudes for each stem, and masks from the ratio of their powers.

Written from the published configurations (`configs/*/base_config.json`): STFT of 4,096 samples with a hop of
1,024, 512 frames and the lowest 1,024 bins at a time. What is above (11 kHz) is in no stem. 2 stems: leaky
ReLU; 4 stems: ELU; 5 stems: ELU, and a softmax over the stems in place of a sigmoid for each.

The official weights are TensorFlow checkpoints; they are read as files, without TensorFlow.

Reference:
    Hennequin, Khlif, Voituret, Moussallam, "Spleeter: a fast and efficient music source separation tool with
    pre-trained models", Journal of Open Source Software 5(50), 2020; https://github.com/deezer/spleeter
    (spleeter/model/__init__.py, spleeter/model/functions/unet.py)
"""

import math
import tarfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from separation_coreml.checkpoints import CheckpointError, WeightFile, fill, read_checkpoint, reading_archive
from separation_coreml.families.base import Separator, StftSettings
from separation_coreml.registry import ModelSpec
from separation_coreml.tensor_bundle import read_bundle

N_FFT = 4096
HOP_LENGTH = 1024
BINS = 1024
FRAMES = 512
FILTERS = (16, 32, 64, 128, 256, 512)
# What Keras adds to a variance, TensorFlow's default.
BATCH_NORM_EPSILON = 1e-3
EPSILON = 1e-10
STFT_NOTE = (
    "2048 zeros are put before the waveform, and zeros after it up to 1024 more than a whole number of hops; "
    "the inverse is taken from sample 2048 on"
)
ROOT = "https://github.com/deezer/spleeter/releases/download/v1.4.0/"
# Reference: https://github.com/deezer/spleeter, tests/test_github_model_provider.py
_DIGESTS = {
    "2stems": "f3a90b39dd2874269e8b05a48a86745df897b848c61f3958efc80a39152bd692",
    "4stems": "3adb4a50ad4eb18c7c4d65fcf4cf2367a07d48408a5eb7d03cd20067429dfaa8",
    "5stems": "25a1e87eb5f75cc72a4d2d5467a0a50ac75f05611f877c278793742513cc7218",
}


class UNet(nn.Module):
    """The network of one stem.

    Args:
        channels: Of the magnitudes.
        filters: Channels of the six convolutions that halve the resolution.
        elu: ELU everywhere, or leaky ReLU before and ReLU after the narrowest place.

    Shape:
        - input: `[B, channels, frames, bins]`, both multiples of 64
        - output: of the same shape, before the sigmoid or softmax
    """

    def __init__(self, channels: int = 2, filters: tuple[int, ...] = FILTERS, *, elu: bool = False) -> None:
        super().__init__()
        self.encoder, self.encoder_norms = nn.ModuleList(), nn.ModuleList()
        self.decoder, self.decoder_norms = nn.ModuleList(), nn.ModuleList()
        for before, after in zip((channels, *filters[:-1]), filters, strict=True):
            self.encoder.append(nn.Conv2d(before, after, 5, stride=2))
        for width in filters[:-1]:
            self.encoder_norms.append(nn.BatchNorm2d(width, eps=BATCH_NORM_EPSILON))
        before = filters[-1]
        for after in (*filters[-2::-1], 1):
            self.decoder.append(nn.ConvTranspose2d(before, after, 5, stride=2))
            self.decoder_norms.append(nn.BatchNorm2d(after, eps=BATCH_NORM_EPSILON))
            before = 2 * after
        self.output = nn.Conv2d(1, channels, 4, dilation=2, padding=3)
        self.down: Callable[[Tensor], Tensor] = nn.ELU() if elu else nn.LeakyReLU(0.2)
        self.up: Callable[[Tensor], Tensor] = nn.ELU() if elu else nn.ReLU()

    def forward(self, magnitude: Tensor) -> Tensor:
        """See the class."""
        x = magnitude
        skipped: list[Tensor] = []
        for index, convolution in enumerate(self.encoder):
            # TensorFlow's padding "same" at stride 2: one row before, two after.
            x = convolution(functional.pad(x, (1, 2, 1, 2)))
            if index < len(self.encoder_norms):
                skipped.append(x)
                x = self.down(self.encoder_norms[index](x))
        for convolution, norm in zip(self.decoder, self.decoder_norms, strict=True):
            x = norm(self.up(convolution(x)[..., 1:-2, 1:-2]))
            if skipped:
                x = torch.cat([skipped.pop(), x], dim=1)
        logits: Tensor = self.output(x)
        return logits


class SpleeterSeparator(Separator):
    """Spleeter.

    Args:
        networks: One for each stem.
        stems: Their names.
        softmax: Whether the stems share each bin out among them (5 stems), or each has a sigmoid.
        sample_rate: In Hz.
        segment: In samples. Spectrograms are padded with zeros to whole blocks of 512 frames, or of as many
            as a shorter segment takes (a multiple of 64).
        overlap: See `Separator`.

    Shape:
        - core input: spectrogram `[B, 2 · channels, F, frames]` (real and imaginary part of each channel in
            turn)
        - core output: spectrograms `[B, stems, 2 · channels, F, frames]`
    """

    core_inputs = ("spectrogram",)
    core_outputs = ("spectrograms",)

    def __init__(
        self,
        networks: list[UNet],
        stems: tuple[str, ...],
        *,
        softmax: bool,
        sample_rate: int,
        segment: int,
        overlap: float,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.stems, self.softmax, self.channels = stems, softmax, 2
        self.sample_rate, self.segment, self.overlap = sample_rate, segment, overlap
        self.stft = StftSettings(N_FFT, HOP_LENGTH, N_FFT, pad_mode="constant", note=STFT_NOTE)
        self.block = min(FRAMES, 64 * math.ceil((math.ceil(segment / HOP_LENGTH) + 4) / 64))
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)

    def analysis(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """The spectrogram of the waveform."""
        length = waveform.shape[-1]
        after = math.ceil(length / HOP_LENGTH) * HOP_LENGTH - length + N_FFT // 4
        padded = functional.pad(waveform, (N_FFT // 2, after)).flatten(0, 1)
        spectrum = torch.stft(
            padded, N_FFT, HOP_LENGTH, window=self._window, pad_mode="constant", return_complex=True
        )
        pairs = torch.view_as_real(spectrum).permute(0, 3, 1, 2)  # [B · C, 2, F, frames]
        return (pairs.reshape(-1, 2 * self.channels, *pairs.shape[2:]),)

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Magnitudes, networks and masks."""
        (spectrogram,) = inputs
        frames = spectrogram.shape[-1]
        low = torch.unflatten(spectrogram[:, :, :BINS], 1, (self.channels, 2))  # [B, C, 2, bins, frames]
        magnitude = torch.sqrt(low[:, :, 0] ** 2 + low[:, :, 1] ** 2)
        masks = self._masks(self._blocks(magnitude))
        parts = [
            functional.pad(
                (self._unblocked(mask, frames).unsqueeze(2) * low).flatten(1, 2),
                (0, 0, 0, spectrogram.shape[2] - BINS),
            )
            for mask in masks
        ]
        return (torch.stack(parts, dim=1),)

    def synthesis(self, outputs: tuple[Tensor, ...], length: int) -> Tensor:
        """The inverse STFT of each stem."""
        (spectrograms,) = outputs
        batch, stems, _, bins, frames = spectrograms.shape
        pairs = spectrograms.reshape(-1, 2, bins, frames).permute(0, 2, 3, 1)
        spectrum = torch.view_as_complex(pairs.contiguous())
        waveforms = torch.istft(spectrum, N_FFT, HOP_LENGTH, window=self._window)
        return waveforms[:, N_FFT // 2 : N_FFT // 2 + length].reshape(batch, stems, self.channels, length)

    @property
    def _window(self) -> Tensor:
        window: Tensor = self.get_buffer("window")
        return window

    def _blocks(self, magnitude: Tensor) -> Tensor:
        """The frames in blocks as the networks take them, `[B · blocks, C, block, bins]`."""
        frames = magnitude.shape[-1]
        count = math.ceil(frames / self.block)
        padded = functional.pad(magnitude, (0, count * self.block - frames)).transpose(2, 3)
        return torch.unflatten(padded, 2, (count, self.block)).transpose(1, 2).flatten(0, 1)

    def _unblocked(self, blocks: Tensor, frames: int) -> Tensor:
        """The inverse of `_blocks`."""
        count = math.ceil(frames / self.block)
        joined = torch.unflatten(blocks, 0, (-1, count)).transpose(1, 2).flatten(2, 3)
        return joined.transpose(2, 3)[..., :frames]

    def _masks(self, magnitude: Tensor) -> list[Tensor]:
        logits = [network(magnitude) for network in self.networks]
        if self.softmax:
            shares = torch.softmax(torch.stack(logits), dim=0).unbind(0)
        else:
            shares = tuple(torch.sigmoid(each) for each in logits)
        powers = [(share * magnitude) ** 2 for share in shares]
        total = sum(powers[1:], powers[0]) + EPSILON
        return [(power + EPSILON / len(powers)) / total for power in powers]


def build(spec: ModelSpec, segment: int) -> Separator:
    """The network of a model of this family, without trained weights."""
    filters: tuple[int, ...] = spec.options.get("filters", FILTERS)
    networks = [UNet(spec.channels, filters, elu=spec.options["activation"] == "elu") for _ in spec.stems]
    return SpleeterSeparator(
        networks,
        spec.stems,
        softmax=spec.options["softmax"],
        sample_rate=spec.sample_rate,
        segment=segment,
        overlap=spec.overlap,
    )


def load(separator: Separator, spec: ModelSpec, checkpoint: Path | None) -> None:
    """Put trained weights into a separator of this family.

    Args:
        separator: From `build`.
        spec: Its model.
        checkpoint: An official archive (`2stems.tar.gz`), the folder that it holds or its `model.index`, or a
            state dict of this class. None for the official archive.

    Raises:
        FileError: If a file cannot be read or is of another model.
        WeightsNotFoundError: If the official archive is not to be had.
    """
    archive = spec.options["archive"]
    path = official_file(archive).fetch() if checkpoint is None else checkpoint
    if path.is_dir() or path.suffix in {".index", ".gz", ".tgz", ".tar"}:
        state = _from_tensorflow(_read_variables(path), len(spec.stems), path, spec.name)
    else:
        state = read_checkpoint(path)
    fill(separator, state, path, title=spec.name, spare=_counters(separator))


def official_file(archive: str) -> WeightFile:
    """The archive of a model."""
    return WeightFile(f"{ROOT}{archive}.tar.gz", _DIGESTS[archive])


def _counters(separator: Separator) -> tuple[str, ...]:
    # Only training reads them.
    return tuple(key for key in separator.state_dict() if key.endswith("num_batches_tracked"))


def _read_variables(path: Path) -> dict[str, Tensor]:
    if path.is_dir() or path.suffix == ".index":
        index = path / "model.index" if path.is_dir() else path
        data = index.with_name(index.stem + ".data-00000-of-00001")
        for part in (index, data):
            if not part.is_file():
                raise CheckpointError(part, "no file", "a file of a TensorFlow checkpoint")
        return read_bundle(index.read_bytes(), data.read_bytes(), index)
    expected = "an archive with model.index and model.data-00000-of-00001"
    # The members are read, not extracted, so their paths cannot lead anywhere.
    with reading_archive(path, expected), tarfile.open(path) as archive:
        names = {Path(member.name).name: member for member in archive if member.isfile()}
        files = [archive.extractfile(names[name]) for name in ("model.index", "model.data-00000-of-00001")]
        index_bytes, data_bytes = (b"" if file is None else file.read() for file in files)
    return read_bundle(index_bytes, data_bytes, path)


def _from_tensorflow(variables: dict[str, Tensor], stems: int, path: Path, title: str) -> dict[str, Tensor]:
    """The state dict. Keras counts the layers of a kind through all networks, in the order of the stems."""
    state: dict[str, Tensor] = {}

    def take(target: str, kind: str, index: int, names: dict[str, str]) -> None:
        layer = kind if index == 0 else f"{kind}_{index}"
        for ours, theirs in names.items():
            if f"{layer}/{theirs}" not in variables:
                raise CheckpointError(path, f"no variable {layer}/{theirs!r}", f"those of {title}")
            value = variables[f"{layer}/{theirs}"]
            state[f"{target}.{ours}"] = value.permute(3, 2, 0, 1).contiguous() if value.dim() == 4 else value

    convolution = {"weight": "kernel", "bias": "bias"}
    norm = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    for stem in range(stems):
        for level in range(6):
            take(f"networks.{stem}.encoder.{level}", "conv2d", 7 * stem + level, convolution)
            take(f"networks.{stem}.decoder.{level}", "conv2d_transpose", 6 * stem + level, convolution)
            if level < 5:
                # The sixth norm of the encoder is in the files but its output is used nowhere.
                take(f"networks.{stem}.encoder_norms.{level}", "batch_normalization", 12 * stem + level, norm)
            take(f"networks.{stem}.decoder_norms.{level}", "batch_normalization", 12 * stem + 6 + level, norm)
        take(f"networks.{stem}.output", "conv2d", 7 * stem + 6, convolution)
    return state
