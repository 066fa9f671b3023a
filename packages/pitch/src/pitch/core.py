"""Pitch of waveforms in memory, with the names, arguments and defaults of torchcrepe.

Differences from torchcrepe, each an improvement that keeps the numbers: a recording is decoded as a whole
however it is batched (upstream's Viterbi path can jump where two batches meet), arguments are never changed
in place, `fmin` below the lowest bin means "no limit", and batches are small by default, so that memory
does not grow with the recording. Recordings at other rates than 16 kHz are resampled by soxr instead of
resampy.

Reference:
    torchcrepe/core.py (maxrmorrison/torchcrepe 0.0.24).
"""

import functools
import warnings
from collections.abc import Iterator
from typing import Literal, overload

import torch
from torch import Tensor

import audio_io
from audio_io.errors import ConfigError
from pitch import convert, decode
from pitch.config import BATCH_SIZE
from pitch.constants import CENTS_PER_BIN, MAX_FMAX, PITCH_BINS, SAMPLE_RATE, UNVOICED, WINDOW_SIZE
from pitch.fast import accelerate
from pitch.model import Crepe
from pitch.weights import load_model

# Least standard deviation a frame is divided by.
MIN_STD = 1e-10

__all__ = [
    "CENTS_PER_BIN",
    "MAX_FMAX",
    "PITCH_BINS",
    "SAMPLE_RATE",
    "UNVOICED",
    "WINDOW_SIZE",
    "allowed_bins",
    "embed",
    "infer",
    "mask_bins",
    "normalize_frames",
    "periodicity",
    "postprocess",
    "predict",
    "preload",
    "preprocess",
    "resample",
]


@overload
def predict(
    audio: Tensor,
    sample_rate: int,
    hop_length: int | None = ...,
    fmin: float = ...,
    fmax: float = ...,
    model: str = ...,
    decoder: decode.Decoder = ...,
    return_harmonicity: bool = ...,
    *,
    return_periodicity: Literal[True],
    batch_size: int | None = ...,
    device: str | torch.device = ...,
    pad: bool = ...,
) -> tuple[Tensor, Tensor]: ...
@overload
def predict(
    audio: Tensor,
    sample_rate: int,
    hop_length: int | None = ...,
    fmin: float = ...,
    fmax: float = ...,
    model: str = ...,
    decoder: decode.Decoder = ...,
    return_harmonicity: bool = ...,
    return_periodicity: Literal[False] = ...,
    batch_size: int | None = ...,
    device: str | torch.device = ...,
    pad: bool = ...,
) -> Tensor: ...
@torch.no_grad()
def predict(
    audio: Tensor,
    sample_rate: int,
    hop_length: int | None = None,
    fmin: float = 50.0,
    fmax: float = MAX_FMAX,
    model: str = "full",
    decoder: decode.Decoder = decode.viterbi,
    return_harmonicity: bool = False,
    return_periodicity: bool = False,
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
    pad: bool = True,
) -> Tensor | tuple[Tensor, Tensor]:
    """Pitch of a waveform in Hz, and with `return_periodicity` the network's confidence in it.

    Args:
        audio: One channel of samples, nominally within ±1, or several recordings of one length.
        sample_rate: In Hz.
        hop_length: Samples between frames, at `sample_rate`; 10 ms if None. At other rates than 16 kHz the
            step is the whole number of samples at 16 kHz below it, as in torchcrepe (159 for 220 at 22 kHz),
            so that frame k is at k * 159 / 16000 s. `pitch.Tracker` counts its hop at 16 kHz: exact times.
        fmin: Lowest pitch allowed, in Hz.
        fmax: Highest pitch allowed, in Hz.
        model: Name of the capacity.
        decoder: From `pitch.decode`.
        return_harmonicity: The old name of `return_periodicity`.
        return_periodicity: Whether to return the confidence, from 0 to 1, too.
        batch_size: Frames that go through the network at once; `BATCH_SIZE` if None.
        device: Where the network runs.
        pad: Whether frame k is centred on sample k * hop_length (zeros beyond both ends); otherwise it
            starts there.

    Shape:
        - audio: `[1, T]`, or `[B, T]`
        - Output: `[B, 1 + T' // hop_length']` with the length and the hop at 16 kHz

    Raises:
        ConfigError: If a setting cannot be used; it is named.
        WeightsNotFoundError: If the weights of the capacity are not installed.
    """
    size = BATCH_SIZE if batch_size is None else batch_size
    rows = []
    # torchcrepe documents one recording, but takes several of one length at 16 kHz.
    for row in audio[:, None] if audio.ndim == 2 and len(audio) else audio[None]:
        batches = preprocess(row, sample_rate, hop_length, size, device, pad)
        rows.append(torch.cat([infer(frames, model, device).cpu() for frames in batches]).T)  # [360, K]
    probabilities = torch.stack(rows)  # [B, 360, K]
    pitch, confidence = postprocess(probabilities, fmin, fmax, decoder, return_periodicity=True)
    pitch, confidence = pitch.to(audio.device), confidence.to(audio.device)
    # One level more than elsewhere: `torch.no_grad` wraps this function.
    old_name = warn_of_old_name(return_harmonicity, "return_harmonicity", "return_periodicity", stacklevel=4)
    return (pitch, confidence) if return_periodicity or old_name else pitch


def embed(
    audio: Tensor,
    sample_rate: int,
    hop_length: int | None = None,
    model: str = "full",
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
    pad: bool = True,
) -> Tensor:
    """Output of the fifth max-pool layer, for use as a feature; gradients flow to the audio at 16 kHz.

    See `predict` for the arguments.

    Shape:
        - audio: `[1, T]`
        - Output: `[1, 1 + T // hop_length, 32, 2 m]` with m the multiplier of the capacity
    """
    size = BATCH_SIZE if batch_size is None else batch_size
    batches = preprocess(audio, sample_rate, hop_length, size, device, pad)
    features = [infer(frames, model, device, embed=True) for frames in batches]  # [N, 8 m, 8, 1]
    return torch.cat([f.reshape(1, len(f), 32, -1).to(audio.device) for f in features], dim=1)


def preprocess(
    audio: Tensor,
    sample_rate: int,
    hop_length: int | None = None,
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
    pad: bool = True,
) -> Iterator[Tensor]:
    """Batches of network input.

    See `predict` for the arguments; a `batch_size` of None gives all frames at once.

    Shape:
        - audio: `[1, T]`
        - Output: each `[N, 1024]`
    """
    if audio.ndim != 2 or audio.shape[0] != 1:
        raise ConfigError("audio", f"a tensor of shape {tuple(audio.shape)}", "one channel: (1, samples)")
    audio = audio.float()
    hop_length = sample_rate // 100 if hop_length is None else hop_length
    if sample_rate != SAMPLE_RATE:
        audio = resample(audio, sample_rate)
        hop_length = int(hop_length * SAMPLE_RATE / sample_rate)
    if not torch.isfinite(audio).all():
        raise ConfigError("audio", "NaN or infinity", "finite samples")
    if hop_length < 1 or hop_length != int(hop_length):
        raise ConfigError("hop_length", hop_length, "a whole number of samples, at least one at 16 kHz")
    if batch_size is not None and batch_size < 1:
        raise ConfigError("batch_size", batch_size, "at least 1 frame, or None")
    if pad:
        audio = torch.nn.functional.pad(audio, (WINDOW_SIZE // 2, WINDOW_SIZE // 2))
    if audio.shape[1] < WINDOW_SIZE:
        raise ConfigError(
            "audio", f"{audio.shape[1]} samples at 16 kHz", f"at least {WINDOW_SIZE} with pad=False"
        )
    frames = audio[0].unfold(0, WINDOW_SIZE, int(hop_length))  # [K, 1024], a view
    size = len(frames) if batch_size is None else batch_size
    for start in range(0, len(frames), size):
        yield normalize_frames(frames[start : start + size].to(device))


def normalize_frames(frames: Tensor) -> Tensor:
    """Frames of zero mean and unit variance, as the network was trained; silence stays silent.

    Shape:
        `[N, 1024]`, in and out
    """
    frames = frames - frames.mean(dim=1, keepdim=True)
    return frames / frames.std(dim=1, keepdim=True).clamp(min=MIN_STD)


def infer(
    frames: Tensor, model: str = "full", device: str | torch.device = "cpu", embed: bool = False
) -> Tensor:
    """Posteriors of network input; the model is loaded once and kept.

    Args:
        frames: From `preprocess`.
        model: Name of the capacity.
        device: Where the network runs.
        embed: Whether to return the output of the fifth max-pool layer instead.

    Shape:
        - frames: `[N, 1024]`
        - Output: `[N, 360]`, or with `embed` `[N, C, 8, 1]`

    Raises:
        ConfigError: If the frames have another shape, or the capacity does not exist.
        WeightsNotFoundError: If its weights are not installed.
    """
    if frames.ndim != 2 or frames.shape[1] != WINDOW_SIZE:
        raise ConfigError("frames", f"shape {tuple(frames.shape)}", f"(frames, {WINDOW_SIZE})")
    network = _cached_model(model, str(device))
    if embed:
        return network.embed(frames)
    # The fast network is for inference only; where a gradient is wanted the plain one gives it.
    wants_gradient = torch.is_grad_enabled() and frames.requires_grad
    output: Tensor = (network if wants_gradient else _cached_engine(model, str(device)))(frames)
    return output


def preload(model: str = "full", device: str | torch.device = "cpu") -> None:
    """Load the weights of a capacity, and prepare the network, ahead of the first `infer`."""
    _cached_engine(model, str(device))


@functools.lru_cache(maxsize=2)
def _cached_model(name: str, device: str) -> Crepe:
    # What is kept must serve later calls that record gradients.
    with torch.inference_mode(False):
        return load_model(name, device=device)


@functools.lru_cache(maxsize=2)
def _cached_engine(name: str, device: str) -> torch.nn.Module:
    with torch.inference_mode(False):
        return accelerate(_cached_model(name, device))


@overload
def postprocess(
    probabilities: Tensor,
    fmin: float = ...,
    fmax: float = ...,
    decoder: decode.Decoder = ...,
    return_harmonicity: bool = ...,
    *,
    return_periodicity: Literal[True],
) -> tuple[Tensor, Tensor]: ...
@overload
def postprocess(
    probabilities: Tensor,
    fmin: float = ...,
    fmax: float = ...,
    decoder: decode.Decoder = ...,
    return_harmonicity: bool = ...,
    return_periodicity: Literal[False] = ...,
) -> Tensor: ...
def postprocess(
    probabilities: Tensor,
    fmin: float = 0.0,
    fmax: float = MAX_FMAX,
    decoder: decode.Decoder = decode.viterbi,
    return_harmonicity: bool = False,
    return_periodicity: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Pitch in Hz, and with `return_periodicity` the confidence, of posteriors; arguments as of `predict`.

    Shape:
        - probabilities: `[B, 360, K]`
        - Output: `[B, K]`
    """
    masked = mask_bins(probabilities.detach(), fmin, fmax)
    bins, pitch = decoder(masked)
    old_name = warn_of_old_name(return_harmonicity, "return_harmonicity", "return_periodicity", stacklevel=3)
    return (pitch, periodicity(masked, bins)) if return_periodicity or old_name else pitch


def warn_of_old_name(is_used: bool, old: str, new: str, *, stacklevel: int) -> bool:
    """Whether an argument is used under its old name, with a warning to the caller's caller if so."""
    if is_used:
        warnings.warn(f"{old} is deprecated: use {new}", DeprecationWarning, stacklevel=stacklevel)
    return is_used


def mask_bins(probabilities: Tensor, fmin: float, fmax: float) -> Tensor:
    """A copy with -inf in the bins below `fmin` and from `fmax` on (Hz).

    Shape:
        `[B, 360, K]`, in and out
    """
    low, high = allowed_bins(fmin, fmax)
    masked = torch.full_like(probabilities, -torch.inf)
    masked[:, low:high] = probabilities[:, low:high]
    return masked


def allowed_bins(fmin: float, fmax: float) -> tuple[int, int]:
    """First bin, and the one after the last, of a range of frequencies in Hz.

    Raises:
        ConfigError: If no bin lies in the range.
    """
    # In float32 whatever the default type: a limit on the edge of a bin shall stay on its side of it.
    limits = torch.tensor([fmin, fmax], dtype=torch.float32, device="cpu").clamp(1e-3, 2 * MAX_FMAX)
    low = max(int(convert.frequency_to_bins(limits[0])), 0)
    high = min(int(convert.frequency_to_bins(limits[1], torch.ceil)), PITCH_BINS)
    if not fmin <= fmax or low >= high:
        raise ConfigError(
            "fmin", f"{fmin} Hz with fmax {fmax} Hz", f"fmin < fmax, within 31.7 to {MAX_FMAX} Hz"
        )
    return low, high


def periodicity(probabilities: Tensor, bins: Tensor) -> Tensor:
    """The network's confidence: its output at the decoded bin.

    Shape:
        - probabilities: `[B, 360, K]`
        - bins: `[B, K]`
        - Output: `[B, K]`
    """
    return probabilities.gather(1, bins[:, None].long())[:, 0]


def resample(audio: Tensor, sample_rate: int) -> Tensor:
    """The waveform at 16 kHz; no gradient flows back through it.

    Shape:
        - audio: `[1, T]`
        - Output: `[1, floor(T * 16000 / sample_rate)]`, as long as torchcrepe's
    """
    resampled = audio_io.resample(audio.detach(), sample_rate, SAMPLE_RATE)
    return resampled[:, : audio.shape[1] * SAMPLE_RATE // sample_rate]
