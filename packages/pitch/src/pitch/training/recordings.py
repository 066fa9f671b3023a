"""Frames from recordings of any kind, at any pitch: the real part of the training material."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

import audio_io
from audio_io.errors import ConfigError, FileError
from audio_io.progress import Progress
from pitch.constants import SAMPLE_RATE, WINDOW_SIZE

Floats = npt.NDArray[np.float32]

# Frames quieter than this part of the recording's loudest are mostly passed over.
QUIET = 0.03
# Pitch and speed change by up to this many octaves either way.
MOST_OCTAVES = 1.3


class Recordings:
    """Recordings in memory at 16 kHz, as frames at random places and speeds.

    Args:
        folders: Audio files, and folders that are searched for them.
        progress: Advanced by one a file.

    Raises:
        ConfigError: If there is no such file or no audio in a folder, or none of the files can be read.
    """

    def __init__(self, folders: Sequence[str | Path], *, progress: Progress | None = None) -> None:
        self.unreadable: list[str] = []
        pieces: list[npt.NDArray[np.int16]] = []
        for path in find_recordings(folders):
            try:
                waveform, _ = audio_io.load(path, sample_rate=SAMPLE_RATE, channels="mono")
            except FileError as error:
                self.unreadable.append(str(error))
                continue
            finally:
                if progress is not None:
                    progress.advance(1)
            samples = waveform[0].numpy()
            loudest = float(np.abs(samples).max())
            if loudest > 0:
                pieces.append(np.round(samples / loudest * 32767).astype(np.int16))
        if not pieces:
            raise ConfigError("audio", "no readable recording", "at least one that is not silent")
        # Room for the slowest reading at the end of the last recording.
        margin = np.zeros(4 * WINDOW_SIZE, dtype=np.int16)
        self.samples = np.concatenate([margin, *pieces, margin])
        self.seconds = sum(map(len, pieces)) / SAMPLE_RATE

    def frames(self, count: int, rng: np.random.Generator) -> Floats:
        """Frames at random places, read at random speeds.

        Shape:
            - Output: `[N, 1024]`, within ±1
        """
        return np.stack([self._frame(rng) for _ in range(count)])

    def _frame(self, rng: np.random.Generator) -> Floats:
        octaves = rng.uniform(-MOST_OCTAVES, MOST_OCTAVES) if rng.random() < 0.6 else 0.0
        # A quarter more than a frame, since the FFT that changes the speed wraps around at the ends.
        length = int(WINDOW_SIZE * 1.25 * 2**octaves) // 2 * 2
        for _ in range(4):
            start = int(rng.integers(0, len(self.samples) - length))
            piece = self.samples[start : start + length].astype(np.float32) / 32768
            if float(np.sqrt(np.mean(np.square(piece)))) > QUIET:
                break
        size = WINDOW_SIZE * 5 // 4
        spectrum = np.fft.rfft(piece)
        bins = size // 2 + 1
        resized = np.zeros(bins, dtype=np.complex64)
        shared = min(bins, len(spectrum))
        resized[:shared] = spectrum[:shared]
        edge = (size - WINDOW_SIZE) // 2
        frame = np.fft.irfft(resized, size)[edge : edge + WINDOW_SIZE] * (size / length)
        return frame.astype(np.float32)


def find_recordings(folders: Sequence[str | Path]) -> list[Path]:
    """Audio files among files and folders, in a stable order.

    Raises:
        ConfigError: If there is no such file or folder, or a folder holds none.
    """
    found: list[Path] = []
    for folder in map(Path, folders):
        if not folder.exists():
            raise ConfigError("audio", f"no {folder}", "audio files, or folders of them")
        inside = list(audio_io.walk(folder)) if folder.is_dir() else [folder]
        if not inside:
            raise ConfigError("audio", f"no audio file in {folder}", "a folder with at least one")
        found += inside
    return found
