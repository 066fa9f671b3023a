"""What every separator looks like from outside: waveform in, stems out, and the network between two STFTs."""

import json
from abc import abstractmethod
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

# Scales of residual branches start near zero for training; at that value a defect in a branch would not show.
RESIDUAL_SCALE = 0.3
# Below it a vector counts as zero.
_SMALLEST_NORM = 1e-12
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d, nn.LayerNorm)


@dataclass(frozen=True)
class StftSettings:
    """The parameters of `torch.stft` that an app needs to feed the core.

    Attributes:
        n_fft: Length of the transform in samples.
        hop_length: Samples between frames.
        win_length: Length of the window in samples.
        window: Its name; `hann` is the periodic one.
        center: Whether frames are centred on multiples of the hop, the ends being padded.
        pad_mode: How they are padded.
        normalized: Whether the transform is divided by the square root of `n_fft`.
        note: What is done besides, in one sentence: further padding, frames or bins that are left out.
    """

    n_fft: int
    hop_length: int
    win_length: int
    window: str = "hann"
    center: bool = True
    pad_mode: str = "reflect"
    normalized: bool = False
    note: str = ""


class Separator(nn.Module):
    """A complete source separator.

    `forward` is the whole model. The same in three steps, for apps that compute the STFT themselves:
    `synthesis(core(*analysis(waveform)), T)`, where `core` knows real tensors only.

    Attributes:
        sample_rate: In Hz.
        channels: Of the mixture and of each stem.
        stems: What comes out, in order.
        segment: Length in samples that the model works on at once.
        least_segment: Length in samples below which `analysis` has too little to mirror at the ends.
        overlap: Share of a segment that the next one covers again when a song is cut into segments.
        normalize: Whether a song is brought to mean 0 and standard deviation 1 (of the mean of its channels)
            before it is separated, as the authors do it. This is not part of `forward`.
        stft: Of `analysis` and `synthesis`; None for models of waveforms.
        core_inputs: Names of what `analysis` gives.
        core_outputs: Names of what `core` gives.
        any_frames: Whether a captured graph of `core` holds no number of frames, and so can take what
            `analysis` makes of waveforms of other lengths.

    Shape:
        - input: `[B, channels, T]`
        - output: `[B, stems, channels, T]`
    """

    sample_rate: int
    channels: int
    stems: tuple[str, ...]
    segment: int
    least_segment: int = 1
    overlap: float
    normalize: bool = False
    stft: StftSettings | None = None
    core_inputs: tuple[str, ...] = ("waveform",)
    core_outputs: tuple[str, ...] = ("stems",)
    any_frames: bool = False

    def forward(self, waveform: Tensor) -> Tensor:
        """Stems of a mixture; see the class."""
        return self.synthesis(self.core(*self.analysis(waveform)), waveform.shape[-1])

    def metadata(self) -> dict[str, str]:
        """What an app that runs the converted model has to know, as texts; `engines` reads them back."""
        texts = {
            "stems": ",".join(self.stems),
            "sample_rate": str(self.sample_rate),
            "channels": str(self.channels),
            "segment": str(self.segment),
            "overlap": str(self.overlap),
            "normalize": str(self.normalize).lower(),
        }
        return texts if self.stft is None else {**texts, "stft": json.dumps(asdict(self.stft))}

    @abstractmethod
    def analysis(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """What the network is fed with, as real tensors.

        Shape:
            - waveform: `[B, channels, T]`
        """

    @abstractmethod
    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The network alone."""

    @abstractmethod
    def synthesis(self, outputs: tuple[Tensor, ...], length: int) -> Tensor:
        """The stems, from what the network gives and the length of the mixture in samples.

        Shape:
            - output: `[B, stems, channels, length]`
        """

    def settle(self) -> None:
        """Bring random weights, after `vary`, to where a comparison proves most.

        The output has to be of the size of the input and to depend on it; and what a layer is in error by,
        by rounding or by weights of 8 bits, must not grow on the way. A norm that takes the mean away,
        followed by a nonlinearity g, multiplies the relative error (in energy, if it is small) by
        E[g'(z)²] / Var[g(z)], z normal: 1.47 (1.7 dB) for ReLU, 1.32 (1.2 dB) for GELU, at every layer.
        Trained networks are not like that: their residual branches are small against what they are added to.

        Reference:
            Yang, Pennington, Rao, Sohl-Dickstein, Schoenholz, "A Mean Field Theory of Batch Normalization",
            ICLR 2019, arXiv:1902.08129; De, Smith, "Batch Normalization Biases Residual Blocks Towards the
            Identity Function in Deep Networks", NeurIPS 2020, arXiv:2002.10444
        """


class RmsNorm(nn.Module):
    """Vectors of the mean square 1, times a gain for each value.

    Args:
        dim: Size of the last dimension.

    Shape:
        - input and output: `[..., dim]`

    Reference:
        Zhang, Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        # As torch.nn.functional.normalize, which copies the norm to the size of x.
        norm = x.norm(dim=-1, keepdim=True).clamp_min(_SMALLEST_NORM)
        normed: Tensor = x / norm * (x.shape[-1] ** 0.5 * self.gamma)
        return normed


def vary(module: nn.Module) -> None:
    """Move what a fresh network holds at 0, 1 or nearly 0 to values that a trained one may have.

    Batch statistics, norms and the scales of residual branches: with their initial values large parts of a
    network would not show in its output, and a comparison with another implementation would prove little.
    Draws from torch's global generator.
    """
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
        if isinstance(part, _NORMS) and part.weight is not None:
            nn.init.uniform_(part.weight, 0.8, 1.2)
            nn.init.normal_(part.bias, std=0.1)
        if isinstance(part, RmsNorm):
            nn.init.uniform_(part.gamma, 0.8, 1.2)
        scale = getattr(part, "scale", None)
        if type(part).__name__ in {"LayerScale", "_LayerScale"} and isinstance(scale, Tensor):
            with torch.no_grad():
                scale.fill_(RESIDUAL_SCALE)
