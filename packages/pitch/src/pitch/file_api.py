"""Prediction and embedding from files, under torchcrepe's names.

They hold a whole recording in memory, as torchcrepe's do; `pitch.Tracker.track_file` needs constant memory
for any length.

Reference:
    torchcrepe/core.py (maxrmorrison/torchcrepe 0.0.24).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from audio_io.atomic import atomic_path
from audio_io.errors import ConfigError
from audio_io.progress import Progress
from pitch import core, decode, load
from pitch.constants import MAX_FMAX

File = str | Path


def predict_from_file(
    audio_file: File,
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
    """Pitch of each channel of an audio file, `[C, K]`; see `pitch.predict` for the other arguments.

    Raises:
        AudioError: If the file cannot be used.
        ConfigError: If a setting cannot be used.
    """
    audio, sample_rate = load.audio(audio_file)
    pitch, periodicity = core.predict(
        audio,
        sample_rate,
        hop_length,
        fmin,
        fmax,
        model,
        decoder,
        return_periodicity=True,
        batch_size=batch_size,
        device=device,
        pad=pad,
    )
    names = ("return_harmonicity", "return_periodicity")
    old_name = core.warn_of_old_name(return_harmonicity, *names, stacklevel=3)
    return (pitch, periodicity) if return_periodicity or old_name else pitch


def predict_from_file_to_file(
    audio_file: File,
    output_pitch_file: File,
    output_harmonicity_file: File | None = None,
    output_periodicity_file: File | None = None,
    hop_length: int | None = None,
    fmin: float = 50.0,
    fmax: float = MAX_FMAX,
    model: str = "full",
    decoder: decode.Decoder = decode.viterbi,
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
    pad: bool = True,
) -> None:
    """Save the pitch of a file, and its periodicity if a file is named for it, by `torch.save`.

    See `predict_from_file`; `output_harmonicity_file` is the old name of `output_periodicity_file`.
    """
    names = ("output_harmonicity_file", "output_periodicity_file")
    if core.warn_of_old_name(output_harmonicity_file is not None, *names, stacklevel=3):
        output_periodicity_file = output_harmonicity_file
    pitch, periodicity = predict_from_file(
        audio_file,
        hop_length,
        fmin,
        fmax,
        model,
        decoder,
        return_periodicity=True,
        batch_size=batch_size,
        device=device,
        pad=pad,
    )
    _save(pitch, output_pitch_file)
    if output_periodicity_file is not None:
        _save(periodicity, output_periodicity_file)


def predict_from_files_to_files(
    audio_files: Sequence[File],
    output_pitch_files: Sequence[File],
    output_harmonicity_files: Sequence[File] | None = None,
    output_periodicity_files: Sequence[File] | None = None,
    hop_length: int | None = None,
    fmin: float = 50.0,
    fmax: float = MAX_FMAX,
    model: str = "full",
    decoder: decode.Decoder = decode.viterbi,
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
    pad: bool = True,
) -> None:
    """Save the pitch of many files; see `predict_from_file_to_file`.

    Raises:
        ConfigError: If the lists differ in length.
    """
    names = ("output_harmonicity_files", "output_periodicity_files")
    if core.warn_of_old_name(output_harmonicity_files is not None, *names, stacklevel=3):
        output_periodicity_files = output_harmonicity_files
    periodicity_files: Sequence[File | None] = output_periodicity_files or [None] * len(audio_files)
    _check_equal(audio_files, output_pitch_files, "output_pitch_files")
    _check_equal(audio_files, periodicity_files, "output_periodicity_files")
    with Progress("pitch", len(audio_files), "files") as progress:
        for audio, pitch, periodicity in zip(audio_files, output_pitch_files, periodicity_files, strict=True):
            predict_from_file_to_file(
                audio,
                pitch,
                None,
                periodicity,
                hop_length,
                fmin,
                fmax,
                model,
                decoder,
                batch_size,
                device,
                pad,
            )
            progress.advance(1)


def embed_from_file(
    audio_file: File,
    hop_length: int | None = None,
    model: str = "full",
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
    pad: bool = True,
) -> Tensor:
    """Embedding of an audio file of one channel; see `pitch.embed`."""
    audio, sample_rate = load.audio(audio_file)
    return core.embed(audio, sample_rate, hop_length, model, batch_size, device, pad)


def embed_from_file_to_file(
    audio_file: File,
    output_file: File,
    hop_length: int | None = None,
    model: str = "full",
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
    pad: bool = True,
) -> None:
    """Save the embedding of a file by `torch.save`; see `embed_from_file`."""
    with torch.no_grad():
        _save(embed_from_file(audio_file, hop_length, model, batch_size, device, pad), output_file)


def embed_from_files_to_files(
    audio_files: Sequence[File],
    output_files: Sequence[File],
    hop_length: int | None = None,
    model: str = "full",
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
    pad: bool = True,
) -> None:
    """Save the embeddings of many files; see `embed_from_file_to_file`.

    Raises:
        ConfigError: If the lists differ in length.
    """
    _check_equal(audio_files, output_files, "output_files")
    with Progress("pitch", len(audio_files), "files") as progress:
        for audio, output in zip(audio_files, output_files, strict=True):
            embed_from_file_to_file(audio, output, hop_length, model, batch_size, device, pad)
            progress.advance(1)


def _save(tensor: Tensor, path: File) -> None:
    with atomic_path(path) as temporary:
        torch.save(tensor.detach(), temporary)


def _check_equal(audio_files: Sequence[File], others: Sequence[File | None], name: str) -> None:
    if len(others) != len(audio_files):
        raise ConfigError(name, f"{len(others)} files", f"one for each of the {len(audio_files)} audio files")
