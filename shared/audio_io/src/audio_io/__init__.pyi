from . import atomic, cli, errors, figures, progress, settings
from .decibels import (
    AmplitudeToDb,
    PowerToDb,
    amplitude_to_db,
    db_to_amplitude,
    db_to_power,
    power_to_db,
)
from .emphasis import Deemphasis, Preemphasis, deemphasis, preemphasis
from .files import AUDIO_EXTENSIONS, AudioInfo, AudioStream, info, load, save, stream, walk
from .fourier import ISTFT, STFT, istft, stft
from .frames import Frame, OverlapAdd, chunk_apply, frame, iter_chunks, overlap_add
from .mel import MelSpectrogram, hz_to_mel, mel_filters, mel_to_hz, melspectrogram
from .realstft import RealISTFT, RealSTFT, real_istft, real_stft
from .resampling import Resample, StreamResampler, resample, resample_in_graph, resampled_length
from .windows import make_window

__all__ = [
    "AUDIO_EXTENSIONS",
    "ISTFT",
    "STFT",
    "AmplitudeToDb",
    "AudioInfo",
    "AudioStream",
    "Deemphasis",
    "Frame",
    "MelSpectrogram",
    "OverlapAdd",
    "PowerToDb",
    "Preemphasis",
    "RealISTFT",
    "RealSTFT",
    "Resample",
    "StreamResampler",
    "amplitude_to_db",
    "atomic",
    "chunk_apply",
    "cli",
    "db_to_amplitude",
    "db_to_power",
    "deemphasis",
    "errors",
    "figures",
    "frame",
    "hz_to_mel",
    "info",
    "istft",
    "iter_chunks",
    "load",
    "make_window",
    "mel_filters",
    "mel_to_hz",
    "melspectrogram",
    "overlap_add",
    "power_to_db",
    "preemphasis",
    "progress",
    "real_istft",
    "real_stft",
    "resample",
    "resample_in_graph",
    "resampled_length",
    "save",
    "settings",
    "stft",
    "stream",
    "walk",
]
