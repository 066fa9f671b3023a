"""Sound files in and out: one reader, one writer, for every container a user may have.

WAV, FLAC, OGG, MP3, AIFF, AU (and CAF, W64, RF64) are decoded by libsndfile; M4A, AAC, WebM, MOV and the
sound track of a video by FFmpeg. The bytes decide which, not the suffix. Whatever is wrong with a file is
raised as a kind of `AudioError` that names the file and what was found: nothing is repaired, padded or
skipped in silence.
"""

import os
from collections.abc import Collection
from pathlib import Path

import torch

from audio_io._checks import check_count
from audio_io.codecs.complete import check_complete
from audio_io.codecs.formats import AUDIO_EXTENSIONS, identify
from audio_io.codecs.pyav import PyAVSource
from audio_io.codecs.save import save
from audio_io.codecs.soundfile import SoundFileSource
from audio_io.codecs.source import AudioInfo, Source
from audio_io.codecs.stream import AudioStream, Channels
from audio_io.errors import AudioNotFoundError, CorruptAudioError

__all__ = [
    "AUDIO_EXTENSIONS",
    "AudioInfo",
    "AudioStream",
    "Channels",
    "info",
    "load",
    "save",
    "stream",
    "walk",
]


def info(path: str | Path) -> AudioInfo:
    """What the header of a sound file says; nothing is decoded.

    Args:
        path: A file in any of the formats above.

    Raises:
        AudioNotFoundError: If there is no readable file.
        UnknownFormatError: If its bytes are of no known format.
        NoAudioError: If it holds no sound track, no channel or no sample.
        TruncatedAudioError: If it is shorter than its header says.
        CorruptAudioError: If its header cannot be read.
    """
    source = _open(Path(path))
    source.close()
    return source.info


def load(
    path: str | Path,
    *,
    sample_rate: int | None = None,
    channels: Channels = "all",
    offset: float = 0.0,
    duration: float | None = None,
) -> tuple[torch.Tensor, int]:
    """The samples of a sound file as float32, full scale ±1, and their rate in Hz.

    The range is cut at the rate of the file, before resampling; its ends are rounded to the nearest sample.
    Only the range is decoded and checked for NaN; that the file is as long as its header says is checked
    always where this needs no decoding (all but FLAC, MPEG-TS and bare AAC). After an `offset` into AAC,
    noise that the codec synthesises (PNS) may differ from that of the whole file; all other samples are the
    same.

    Args:
        path: A file in any of the formats above.
        sample_rate: Rate wanted in Hz (soxr `VHQ`); the file's own by default.
        channels: `all`, `mono` (their mean) or the number of one channel, from 0 on.
        offset: Start of the range in s, at least 0.
        duration: Length of the range in s, above 0; to the end by default. A range that begins in the file
            and ends after it gives what there is.

    Returns:
        The waveform and its sample rate in Hz.

    Raises:
        AudioError: If the file cannot be used, as for `info`, and InvalidSamplesError if a sample is NaN or
            infinite.
        ConfigError: If an argument is outside its range; it names the argument.

    Shape:
        - waveform: `[C, T]`; `C` is 1 for `mono` and for one channel
    """
    with stream(path, sample_rate=sample_rate, channels=channels, offset=offset, duration=duration) as blocks:
        # The least range can be less than a sample at the new rate.
        nothing = torch.zeros(blocks.channels, 0, device="cpu")
        return torch.cat([nothing, *blocks], dim=1), blocks.sample_rate


def stream(
    path: str | Path,
    *,
    block_length: int = 65536,
    sample_rate: int | None = None,
    channels: Channels = "all",
    offset: float = 0.0,
    duration: float | None = None,
) -> AudioStream:
    """The samples of a sound file block by block, at constant memory.

    Joined, the blocks are bit for bit what `load` returns for the same arguments.

    Args:
        path: A file in any of the formats above.
        block_length: Samples per channel in each block but the last, at the rate of the output; at least 1.
        sample_rate: As for `load`.
        channels: As for `load`.
        offset: As for `load`.
        duration: As for `load`.

    Returns:
        An iterator over blocks that is also a context manager.

    Raises:
        AudioError: As for `load`; what only decoding can show is raised by the iteration.
        ConfigError: If an argument is outside its range; it names the argument.

    Shape:
        - each block: `[C, block_length]`, the last one `[C, t]` with `0 < t <= block_length`

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "tone.wav"
        >>> save(path, torch.zeros(2, 1000), 16000)
        >>> with stream(path, block_length=400) as blocks:
        ...     print([list(block.shape) for block in blocks])
        [[2, 400], [2, 400], [2, 200]]
    """
    check_count("block_length", block_length, "samples")
    source = _open(Path(path))
    try:
        return AudioStream(source, block_length, sample_rate, channels, offset, duration)
    except BaseException:
        source.close()
        raise


def walk(folder: str | Path, *, extensions: Collection[str] = AUDIO_EXTENSIONS) -> list[Path]:
    """All sound files below a folder, in an order that does not depend on the file system.

    They are sorted by the parts of their path below `folder`, by code point. Files and folders whose name
    begins with a dot are skipped, among them the temporaries of `atomic_path`. Links to folders are not
    followed.

    Args:
        folder: Where to look.
        extensions: Suffixes wanted, with the dot; case does not matter.

    Raises:
        AudioNotFoundError: If `folder`, or a folder below it, cannot be listed.
    """
    root = Path(folder)
    if not root.is_dir():
        raise AudioNotFoundError(root, "a file" if root.exists() else "nothing", "a folder")
    wanted = {extension.lower() for extension in extensions}
    found: list[Path] = []
    for parent, folders, names in os.walk(root, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        found.extend(path for path in paths if path.suffix.lower() in wanted)
    return sorted(found, key=lambda path: path.relative_to(root).parts)


def _refuse_folder(error: OSError) -> None:
    raise AudioNotFoundError(
        error.filename, f"a folder that cannot be listed ({error.strerror})", "a readable folder"
    )


def _open(path: Path) -> Source:
    container = identify(path)
    extent = check_complete(path, container)
    if container.decoder == "pyav" or extent.streamed:
        return PyAVSource(path, container)
    try:
        return SoundFileSource(path, container, extent)
    except CorruptAudioError:
        if container.name != "OGG":
            raise
        return PyAVSource(path, container)  # Speex, or a video in Ogg
