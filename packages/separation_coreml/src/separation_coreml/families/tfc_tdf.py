"""What MDX-Net and MDX23C share: a network for whole blocks of frames between an STFT and its inverse."""

import torch
from torch import Tensor
from torch.nn import functional

from separation_coreml.families.base import Separator, StftSettings


class SpectrogramSeparator(Separator):
    """A separator whose `core` takes the complex spectrogram as channels and gives that of each stem.

    The waveform is first completed with zeros at its end, so that the number of frames is a multiple of
    `frames`. At the authors' own segment there is nothing to complete.

    Args:
        stems: What comes out.
        sample_rate: In Hz.
        channels: Of the mixture and of each stem.
        segment: In samples.
        overlap: See `Separator`.
        n_fft: Of the STFT, with a periodic Hann window of the same length.
        hop_length: Of the STFT.
        frames: What the network needs the number of frames to be a multiple of.

    Shape:
        - core input: `[B, 2 · channels, n_fft / 2 + 1, frames]` (real and imaginary part of each channel in
            turn)
        - core output: `[B, stems, 2 · channels, n_fft / 2 + 1, frames]`
    """

    stft: StftSettings
    core_inputs = ("spectrogram",)
    core_outputs = ("spectrograms",)
    any_frames = True
    window: Tensor

    def __init__(
        self,
        stems: tuple[str, ...],
        *,
        sample_rate: int,
        channels: int,
        segment: int,
        overlap: float,
        n_fft: int,
        hop_length: int,
        frames: int,
    ) -> None:
        super().__init__()
        self.stems, self.sample_rate, self.channels = stems, sample_rate, channels
        self.segment, self.overlap, self.frames = segment, overlap, frames
        note = f"the waveform is completed with zeros at its end to a multiple of {frames} frames"
        self.stft = StftSettings(n_fft, hop_length, n_fft, note=note)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def analysis(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """The spectrogram with all its bins."""
        padded = functional.pad(waveform, (0, self.padded_length(waveform.shape[-1]) - waveform.shape[-1]))
        spectrum = torch.stft(
            padded.flatten(0, 1),
            self.stft.n_fft,
            self.stft.hop_length,
            window=self.window,
            return_complex=True,
        )
        parts = torch.view_as_real(spectrum).permute(0, 3, 1, 2)
        return (parts.reshape(waveform.shape[0], 2 * self.channels, *parts.shape[-2:]),)

    def synthesis(self, outputs: tuple[Tensor, ...], length: int) -> Tensor:
        """The inverse STFT of each stem."""
        (spectrograms,) = outputs
        bins, frames = spectrograms.shape[-2:]
        parts = spectrograms.reshape(-1, 2, bins, frames).permute(0, 2, 3, 1).contiguous()
        waveforms = torch.istft(
            torch.view_as_complex(parts), self.stft.n_fft, self.stft.hop_length, window=self.window
        )
        return waveforms.reshape(-1, len(self.stems), self.channels, waveforms.shape[-1])[..., :length]

    def padded_length(self, length: int) -> int:
        """Length in samples that a waveform is completed to."""
        block, hop_length = self.frames, self.stft.hop_length
        # The ends are reflected by half a window, for which there have to be more samples than that.
        shortest = max(length, self.stft.n_fft // 2 + 1)
        blocks = -(-(shortest + hop_length) // (block * hop_length))
        return (blocks * block - 1) * hop_length
