"""Sample-rate conversion: soxr for data, torchaudio's sinc filter where gradients must pass.

Resampling is a low-pass filter at the lower of the two Nyquist frequencies, evaluated at the new sampling
instants. soxr does it with several stages of long filters (`VHQ` keeps 28 bits, `HQ` 20), in one go or block
by block with the same result to the last bit. It works on CPU memory and knows no gradients;
`resample_in_graph` and `Resample` are one strided convolution, which can be differentiated, moved to a GPU
and exported.

Reference: https://sourceforge.net/p/soxr and J. O. Smith, "Digital Audio Resampling",
https://ccrma.stanford.edu/~jos/resample/
"""

from typing import Any, Literal, cast, get_args

import numpy as np
import torch

from audio_io._checks import check_count
from audio_io.errors import ConfigError

Quality = Literal["HQ", "VHQ"]

# What torchaudio calls "kaiser_best": the filter of resampy and librosa of that name.
# Reference: https://pytorch.org/audio/stable/tutorials/audio_resampling_tutorial.html
_KAISER_BEST: dict[str, Any] = {
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}


def resampled_length(length: int, orig_sample_rate: int, sample_rate: int) -> int:
    """Samples that soxr makes of `length` samples: `floor(length · sample_rate / orig_sample_rate + 1/2)`.

    Args:
        length: Number of samples at the original rate, at least 0.
        orig_sample_rate: Original rate in Hz.
        sample_rate: New rate in Hz.

    Example:
        >>> resampled_length(44100, 44100, 16000), resampled_length(3, 2, 1)
        (16000, 2)
    """
    return (2 * length * sample_rate + orig_sample_rate) // (2 * orig_sample_rate)


def resample(
    waveform: torch.Tensor, orig_sample_rate: int, sample_rate: int, *, quality: Quality = "VHQ"
) -> torch.Tensor:
    """The waveform at another sample rate, by soxr; for use outside of models.

    Args:
        waveform: Samples as float32 or float64, on any device, without gradient.
        orig_sample_rate: Rate of `waveform` in Hz, at least 1.
        sample_rate: Rate wanted, in Hz, at least 1.
        quality: soxr's recipe: `VHQ` (28 bits) or `HQ` (20 bits).

    Returns:
        A tensor with the dtype and the device of `waveform`; `waveform` itself if the rates are equal.

    Raises:
        ConfigError: If a rate, the quality or the dtype is none of the above, or a gradient is asked for.

    Shape:
        - waveform: `[..., T]`
        - output: `[..., T']` with `T' = floor(T · sample_rate / orig_sample_rate + 1/2)`

    Example:
        >>> resample(torch.zeros(2, 44100), 44100, 16000).shape
        torch.Size([2, 16000])
    """
    if waveform.requires_grad:
        raise ConfigError(
            "waveform", "a tensor that requires a gradient", "one that does not; see resample_in_graph"
        )
    if waveform.dim() == 0:
        raise ConfigError("waveform", "a single number", "shape [..., T]")
    _check(orig_sample_rate, sample_rate, quality, waveform.dtype)
    if orig_sample_rate == sample_rate:
        return waveform
    length = resampled_length(waveform.shape[-1], orig_sample_rate, sample_rate)
    shape = (*waveform.shape[:-1], length)
    if waveform.numel() == 0:
        return waveform.new_zeros(shape)
    rows = waveform.reshape(-1, waveform.shape[-1]).cpu()  # [N, T]
    stream = StreamResampler(orig_sample_rate, sample_rate, len(rows), quality=quality, dtype=waveform.dtype)
    return stream.process(rows, last=True).reshape(shape).to(waveform.device)


class StreamResampler:
    """Resamples blocks as they come, to bit for bit what `resample` makes of the joined blocks.

    The outputs lag behind the inputs, because the filter looks ahead: after the last block, `flush` hands out
    the rest.

    Args:
        orig_sample_rate: Rate of the blocks in Hz, at least 1.
        sample_rate: Rate wanted, in Hz, at least 1.
        channels: Number of channels, at least 1.
        quality: As in `resample`.
        dtype: float32 or float64.

    Raises:
        ConfigError: If one of them is outside its range.

    Shape:
        - input of `process`: `[C, t]` with any `t`, 0 included
        - output of `process` and `flush`: `[C, t']`, `t'` as much as is ready, often 0 at first

    Example:
        >>> stream = StreamResampler(48000, 16000, 1)
        >>> block = torch.zeros(1, 1000)
        >>> stream.process(block).shape[1] + stream.process(block).shape[1] + stream.flush().shape[1]
        667
    """

    def __init__(
        self,
        orig_sample_rate: int,
        sample_rate: int,
        channels: int,
        *,
        quality: Quality = "VHQ",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        _check(orig_sample_rate, sample_rate, quality, dtype)
        check_count("channels", channels, "channels")
        self.channels = channels
        self.dtype = dtype
        self._soxr: Any = None
        self._has_ended = False
        if orig_sample_rate != sample_rate:
            import soxr

            name = str(dtype).removeprefix("torch.")
            self._soxr = soxr.ResampleStream(
                orig_sample_rate, sample_rate, channels, dtype=name, quality=quality
            )

    def process(self, block: torch.Tensor, *, last: bool = False) -> torch.Tensor:
        """The output that `block` completes.

        Args:
            block: The next samples, on the CPU.
            last: Whether this is the end; saves the call of `flush`.
        """
        if block.dim() != 2 or block.shape[0] != self.channels or block.dtype != self.dtype:
            found = f"shape {list(block.shape)} of {block.dtype}"
            raise ConfigError("block", found, f"shape [{self.channels}, t] of {self.dtype}")
        if self._has_ended:
            raise ConfigError(
                "block", "samples after the last ones", "a new StreamResampler for another stream"
            )
        self._has_ended = last
        if self._soxr is None:
            return block
        samples = np.ascontiguousarray(block.numpy().T)  # [t, C]
        output = self._soxr.resample_chunk(samples, last=last)  # [t', C]
        return torch.from_numpy(np.ascontiguousarray(output.reshape(-1, self.channels).T))  # [C, t']

    def flush(self) -> torch.Tensor:
        """The outputs that were still waiting for input; the stream has ended then."""
        return self.process(torch.zeros(self.channels, 0, dtype=self.dtype, device="cpu"), last=True)


def resample_in_graph(waveform: torch.Tensor, orig_sample_rate: int, sample_rate: int) -> torch.Tensor:
    """The waveform at another sample rate, by torchaudio's windowed-sinc convolution; differentiable.

    The filter (Kaiser window, 64 zero crossings) is computed anew in each call: `Resample` keeps it.

    Args:
        waveform: Floating-point samples on any device.
        orig_sample_rate: Rate of `waveform` in Hz, at least 1.
        sample_rate: Rate wanted, in Hz, at least 1.

    Raises:
        ConfigError: If a rate is below 1.

    Shape:
        - waveform: `[..., T]`
        - output: `[..., T']` with `T' = ceil(T · sample_rate / orig_sample_rate)`, one more than `resample`
            at times
    """
    import torchaudio

    _check_rates(orig_sample_rate, sample_rate)
    resampled = torchaudio.functional.resample(waveform, orig_sample_rate, sample_rate, **_KAISER_BEST)
    return cast("torch.Tensor", resampled)


class Resample(torch.nn.Module):
    """The module twin of `resample_in_graph`, with its filter in a buffer.

    Args:
        orig_sample_rate: Rate of the input in Hz, at least 1.
        sample_rate: Rate of the output in Hz, at least 1.

    Raises:
        ConfigError: If a rate is below 1, or the input is not of the module's type.

    Shape:
        - input: `[..., T]`
        - output: `[..., T']` with `T' = ceil(T · sample_rate / orig_sample_rate)`
    """

    def __init__(self, orig_sample_rate: int, sample_rate: int) -> None:
        super().__init__()
        import torchaudio

        _check_rates(orig_sample_rate, sample_rate)
        self.orig_sample_rate = orig_sample_rate
        self.sample_rate = sample_rate
        self.filter = torchaudio.transforms.Resample(orig_sample_rate, sample_rate, **_KAISER_BEST)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """See the class."""
        kernel = next(self.buffers(), None)
        if kernel is not None and waveform.dtype != kernel.dtype:
            found = f"{waveform.dtype} in a module of {kernel.dtype}"
            raise ConfigError("waveform", found, f"{kernel.dtype}, or the module as .to({waveform.dtype})")
        return cast("torch.Tensor", self.filter(waveform))


def _check(orig_sample_rate: int, sample_rate: int, quality: str, dtype: torch.dtype) -> None:
    _check_rates(orig_sample_rate, sample_rate)
    if quality not in get_args(Quality):
        raise ConfigError("quality", repr(quality), "one of " + ", ".join(get_args(Quality)))
    if dtype not in {torch.float32, torch.float64}:
        raise ConfigError("waveform", f"samples of {dtype}", "torch.float32 or torch.float64")


def _check_rates(orig_sample_rate: int, sample_rate: int) -> None:
    check_count("orig_sample_rate", orig_sample_rate, "Hz")
    check_count("sample_rate", sample_rate, "Hz")
