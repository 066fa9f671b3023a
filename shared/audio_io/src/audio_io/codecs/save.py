"""The one writer of sound files."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from audio_io._checks import check_count
from audio_io.atomic import atomic_path
from audio_io.errors import ConfigError, InvalidSamplesError

if TYPE_CHECKING:
    import soundfile

# libsndfile's format by suffix.
_FORMATS = {
    ".wav": "WAV", ".w64": "W64", ".rf64": "RF64", ".aiff": "AIFF", ".aif": "AIFF", ".au": "AU", ".snd": "AU",
    ".caf": "CAF", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG", ".opus": "OPUS", ".mp3": "MP3",
}  # fmt: skip
# Subtypes by format; the first one, which alters samples least, is the default. libsndfile offers more, but
# what it writes then is not what it reads: block codecs pad, AIFF gains a sample if its bytes are odd, and
# ALAC beyond 16 bits decodes to noise (libsndfile 1.2.2).
_SUBTYPES = {
    "WAV": ("FLOAT", "DOUBLE", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW"),
    "W64": ("FLOAT", "DOUBLE", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW"),
    "RF64": ("FLOAT", "DOUBLE", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW"),
    "AIFF": ("FLOAT", "DOUBLE", "PCM_16", "PCM_24", "PCM_32"),
    "AU": ("FLOAT", "DOUBLE", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW"),
    "CAF": ("FLOAT", "DOUBLE", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW", "ALAC_16"),
    "FLAC": ("PCM_24", "PCM_S8", "PCM_16"),
    "OGG": ("VORBIS", "OPUS"),
    "OPUS": ("OPUS",),
    "MP3": ("MPEG_LAYER_III",),
}
_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "ALAC_16": 16}
# Subtypes that keep what is beyond ±1; all others would clip it.
_UNBOUNDED = frozenset(
    {"FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}
)
_32_BIT_SIZES = frozenset({"WAV", "AIFF", "AU"})
_HIGHEST_RATE = 2**31 - 1  # Hz, that libsndfile can write
_SYSTEM_ERROR = 2  # SF_ERR_SYSTEM: the cause is the disk, not the settings
_BLOCK_LENGTH = (
    65536  # samples; the Vorbis encoder of libsndfile needs memory in proportion to what it is given
)


def save(path: str | Path, waveform: torch.Tensor, sample_rate: int, *, subtype: str | None = None) -> None:
    """Write a sound file; it appears at `path` when it is complete, or not at all.

    The suffix chooses the format: WAV, FLAC, OGG, OPUS, MP3, AIFF, AU, CAF, W64 or RF64. By default the
    subtype is the one that alters the samples least: `FLOAT`, in FLAC `PCM_24`. Integer subtypes are rounded
    to the nearest step (1 becomes the largest integer); samples beyond ±1 are refused there, not clipped.

    Args:
        path: Where to write. Missing folders are made; an earlier file is replaced.
        waveform: Floating-point samples, full scale ±1.
        sample_rate: In Hz.
        subtype: libsndfile's name of the sample format, such as `PCM_16`.

    Raises:
        ConfigError: If the suffix, the subtype, the rate or the shape cannot be written, or samples would be
            clipped.
        InvalidSamplesError: If a sample is NaN or infinite.

    Shape:
        - waveform: `[C, T]` or `[T]`, `T >= 1`
    """
    target = Path(path)
    format_name, subtype = _choose(target, subtype)
    if waveform.dim() not in {1, 2} or waveform.numel() == 0 or not waveform.is_floating_point():
        found = f"shape {list(waveform.shape)} of {waveform.dtype}"
        raise ConfigError("waveform", found, "floating-point samples of shape [C, T] or [T], at least one")
    channels = waveform.detach().reshape(-1, waveform.shape[-1])  # [C, T]
    check_count("sample_rate", sample_rate, "Hz")
    if sample_rate > _HIGHEST_RATE:
        raise ConfigError("sample_rate", f"{sample_rate} Hz", f"at most {_HIGHEST_RATE} Hz")
    _check_size(channels, format_name, subtype)
    with (
        atomic_path(target) as temporary,
        _create(temporary, sample_rate, len(channels), format_name, subtype) as file,
    ):
        for block in _blocks(target, channels, sample_rate, subtype):
            _write(file, block, temporary)


def _choose(target: Path, subtype: str | None) -> tuple[str, str]:
    format_name = _FORMATS.get(target.suffix.lower())
    if format_name is None:
        raise ConfigError("path", f"suffix {target.suffix!r} of {target}", "one of " + ", ".join(_FORMATS))
    available = _SUBTYPES[format_name]
    if subtype is not None and subtype not in available:
        raise ConfigError("subtype", repr(subtype), f"for {format_name} one of " + ", ".join(available))
    return format_name, subtype or available[0]


def _check_size(channels: torch.Tensor, format_name: str, subtype: str) -> None:
    size = channels.numel() * (8 if subtype == "DOUBLE" else _BITS.get(subtype, 32) // 8)
    if format_name in _32_BIT_SIZES and size >= 1 << 32:
        found = f"{size / 2**30:.1f} GiB of samples"
        raise ConfigError(
            "waveform", found, f"less than 4 GiB in {format_name}; .w64, .rf64 and .caf hold more"
        )


def _create(
    temporary: Path, sample_rate: int, channels: int, format_name: str, subtype: str
) -> "soundfile.SoundFile":
    import soundfile

    container = "OGG" if format_name == "OPUS" else format_name
    try:
        return soundfile.SoundFile(temporary, "w", sample_rate, channels, subtype=subtype, format=container)
    except soundfile.LibsndfileError as error:
        if error.code == _SYSTEM_ERROR:
            raise OSError(errno.EIO, "cannot be written", str(temporary)) from error
        found = f"{sample_rate} Hz with {channels} channels"
        expected = f"what {format_name} {subtype} can hold (libsndfile: {error.error_string.rstrip('.')})"
        raise ConfigError("sample_rate", found, expected) from error


def _write(file: "soundfile.SoundFile", block: npt.NDArray[Any], temporary: Path) -> None:
    import soundfile

    try:
        file.write(block)
    except soundfile.LibsndfileError as error:
        # A full disk, most likely; libsndfile does not tell.
        raise OSError(errno.EIO, "cannot be written", str(temporary)) from error


def _blocks(
    target: Path, channels: torch.Tensor, sample_rate: int, subtype: str
) -> Iterator[npt.NDArray[np.float64] | npt.NDArray[np.int32]]:
    """What to hand to libsndfile, `[t, C]`."""
    for start in range(0, channels.shape[1], _BLOCK_LENGTH):
        block = (
            channels[:, start : start + _BLOCK_LENGTH].to("cpu", torch.float64).T.contiguous().numpy()
        )  # [t, C]
        _check_samples(target, block, start, sample_rate, subtype)
        yield _quantised(block, _BITS[subtype]) if subtype in _BITS else block


def _check_samples(
    target: Path, block: npt.NDArray[np.float64], start: int, sample_rate: int, subtype: str
) -> None:
    magnitude = np.abs(block)
    if not np.isfinite(magnitude).all():
        index, channel = np.argwhere(~np.isfinite(block))[0]
        place = f"in channel {channel} at {(start + index) / sample_rate:.6f} s (sample {start + index})"
        raise InvalidSamplesError(target, f"{block[index, channel]} {place}", "finite samples")
    if subtype not in _UNBOUNDED and magnitude.max() > 1:
        found = f"a sample of magnitude {magnitude.max():.6g}, which {subtype} would clip"
        raise ConfigError("waveform", found, "samples within [-1, 1], or a subtype such as FLOAT")


def _quantised(block: npt.NDArray[np.float64], bits: int) -> npt.NDArray[np.int32]:
    """The nearest integers of `bits` bits, in the upper bits of 32, where libsndfile takes them from.

    Its own conversion of floating-point samples rounds towards minus infinity.
    """
    steps = 2.0 ** (bits - 1)
    rounded = np.clip(np.rint(block * steps), -steps, steps - 1)
    return (rounded.astype(np.int64) << (32 - bits)).astype(np.int32)
