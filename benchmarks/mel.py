"""How much faster `melspectrogram` is than librosa's: both in one process, in turns, on the same signals.

Run from the workspace root: `python benchmarks/mel.py [--threads 1] [--repeats 15]`.
"""

import librosa
import numpy as np
import torch
from timing import medians, session

from audio_io.mel import MelSpectrogram, melspectrogram

# (signals, seconds, sample rate in Hz, n_fft, hop_length, n_mels): librosa's defaults; the features of a
# genre classifier; a 16 kHz speech front end.
CASES = [(4, 30, 22050, 2048, 512, 128), (4, 30, 11413, 2048, 420, 64), (4, 30, 16000, 1024, 256, 80)]


def compare(
    signals: int, duration: int, sample_rate: int, n_fft: int, hop_length: int, n_mels: int, repeats: int
) -> None:
    x = torch.randn(signals, duration * sample_rate, generator=torch.Generator().manual_seed(0))
    array = x.numpy()
    module = MelSpectrogram(sample_rate, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels)

    def by_librosa() -> np.ndarray:
        return librosa.feature.melspectrogram(
            y=array, sr=sample_rate, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels
        )

    def by_function() -> torch.Tensor:
        return melspectrogram(x, sample_rate, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels)

    reference = by_librosa()
    error = np.abs(module(x).numpy() - reference).max() / reference.max()
    print(f"\n{signals} x {duration} s at {sample_rate} Hz, n_fft {n_fft}, hop {hop_length}, {n_mels} mels")
    print(f"  largest difference to librosa, relative: {error:.1e}")
    result = medians({"librosa": by_librosa, "function": by_function, "module": lambda: module(x)}, repeats)
    for name, median in result.items():
        print(f"  {name:9} {1e3 * median:7.1f} ms   {result['librosa'] / median:5.2f} x librosa")


def main() -> None:
    with session(__doc__, repeats=15) as repeats:
        for case in CASES:
            compare(*case, repeats=repeats)


if __name__ == "__main__":
    main()
