"""What goes into an exported file: normalisation, framing, network and decoding as one module.

All is the arithmetic of `pitch.core`; Viterbi decoding stays outside, since it needs the whole recording.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the customary name

from pitch.constants import PITCH_BINS, WINDOW_SIZE
from pitch.convert import bins_to_frequency
from pitch.core import normalize_frames
from pitch.decode import AVERAGE_REACH
from pitch.export.config import DecodeName, ExportConfig
from pitch.model import Crepe

# Keeps the average defined where all bins around the centre are exactly 0.
LEAST_WEIGHT = 1e-30


def build_graph(network: Crepe, config: ExportConfig) -> "FrameGraph":
    """The module of a configuration, in evaluation mode."""
    if config.input == "waveform":
        return WaveformGraph(network, config.decode, config.hop_length).eval()
    return FrameGraph(network, config.decode).eval()


class FrameGraph(nn.Module):
    """Posteriors, and pitch if asked for, of frames as they are cut from a recording.

    Each frame is brought to zero mean and unit variance inside; silence and constant frames give finite
    numbers.

    Args:
        network: The trained network.
        decode: How frequency and periodicity are found; `none` leaves them out.

    Shape:
        - Input: `[N, 1024]` at 16 kHz
        - Output: `[N, 360]`, and with `decode` frequency in Hz and periodicity (0 to 1), each `[N]`
    """

    def __init__(self, network: Crepe, decode: DecodeName) -> None:
        super().__init__()
        self.network = network
        self.decode = decode
        # A buffer moves with the module to other devices.
        self.register_buffer("every_bin", torch.arange(PITCH_BINS), persistent=False)

    def forward(self, frames: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Posteriors alone, or with frequency and periodicity."""
        return self._outputs(self.network(normalize_frames(frames)))

    def _outputs(self, posteriors: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        if self.decode == "none":
            return posteriors
        periodicity, bins = posteriors.max(dim=-1)
        centres = bins.to(posteriors.dtype)
        if self.decode == "local_average":
            centres = centres + _mean_offset(posteriors, self.get_buffer("every_bin") - bins[..., None])
        return posteriors, bins_to_frequency(centres, dither=False), periodicity


class WaveformGraph(FrameGraph):
    """Posteriors, and pitch if asked for, of waveforms of any length.

    Frame k is centred on sample `k * hop_length`, with zeros beyond both ends, as torchcrepe's `pad=True`.
    All frames go through the network at once: memory grows with the length, by about 2 MB a frame for
    `full`. TorchScript and torch.export files of it keep to the CPU, on which the places of the frames are
    computed; a program of torch.export takes `hop_length` samples or more, since a size of one is a constant
    to it.

    Args:
        network: The trained network.
        decode: See `FrameGraph`.
        hop_length: Step between frames, in samples at 16 kHz.

    Shape:
        - Input: `[B, T]` at 16 kHz
        - Output: `[B, K, 360]` with `K = 1 + T // hop_length`, and with `decode` twice `[B, K]`
    """

    def __init__(self, network: Crepe, decode: DecodeName, hop_length: int) -> None:
        super().__init__(network, decode)
        self.hop_length = hop_length

    def forward(self, waveform: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Posteriors alone, or with frequency and periodicity."""
        padded = F.pad(waveform, (WINDOW_SIZE // 2, WINDOW_SIZE // 2))
        device = waveform.device
        starts = self.hop_length * torch.arange(1 + waveform.shape[-1] // self.hop_length, device=device)
        samples = starts[:, None] + torch.arange(WINDOW_SIZE, device=device)  # [K, 1024]
        # Not a view of overlapping frames: torch.export would tie the program to lengths for which hop and
        # window make the view contiguous, or not.
        frames = padded.index_select(-1, samples.flatten())  # [B, K * 1024]
        posteriors = self.network(normalize_frames(frames.reshape(-1, WINDOW_SIZE)))  # [B K, 360]
        return self._outputs(posteriors.reshape(waveform.shape[0], -1, PITCH_BINS))


def _mean_offset(posteriors: Tensor, offsets: Tensor) -> Tensor:
    """Mean distance from a bin, in bins, of the 9 around it, weighted by probability.

    Distances from the centre keep in float32 what `decode.local_average` computes in float64.

    Args:
        posteriors: Output of the network.
        offsets: Distance of every bin from the centre.

    Shape:
        - posteriors and offsets: `[..., 360]`
        - Output: `[...]`
    """
    weights = posteriors * (offsets.abs() <= AVERAGE_REACH)
    return (weights * offsets).sum(dim=-1) / weights.sum(dim=-1).clamp(min=LEAST_WEIGHT)
