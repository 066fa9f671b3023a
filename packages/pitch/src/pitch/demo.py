"""The recording that ships with the package, and its exact pitch.

Both files are made by `pitch.synth` (MIT licence like the rest): `python -m pitch.demo FOLDER` writes them
anew.
"""

import sys
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

import audio_io
from pitch.synth import save_f0, sung_phrase

RECORDING = "sung_phrase.flac"
TRUE_F0 = "sung_phrase.f0.csv"


def recording() -> Path:
    """Path of the recording: 5.7 s of a synthesised alto, 44.1 kHz, one channel."""
    return Path(str(resources.files("pitch") / "data" / RECORDING))


def true_f0(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Exact pitch of the recording in Hz at times in s, to the nearest ms; 0 where nothing is sung."""
    table = np.loadtxt(recording().with_name(TRUE_F0), delimiter=",", skiprows=1)
    nearest = np.rint(np.asarray(times) / 0.001).astype(np.int64)
    return np.where(nearest < len(table), table[nearest.clip(0, len(table) - 1), 1], 0.0)


def write(folder: str | Path) -> None:
    """Make both files."""
    phrase = sung_phrase()
    waveform = torch.from_numpy(phrase.waveform).float()
    audio_io.save(Path(folder) / RECORDING, waveform, phrase.sample_rate, subtype="PCM_16")
    save_f0(Path(folder) / TRUE_F0, phrase, hop_seconds=0.001)


if __name__ == "__main__":
    write(sys.argv[1])
