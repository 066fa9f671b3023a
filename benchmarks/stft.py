"""Time of the STFT and its inverse: complex and real-arithmetic, next to torch's and librosa's.

Run from the workspace root: `python benchmarks/stft.py [--threads 1] [--repeats 9]`.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import librosa
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from audio_io.fourier import ISTFT, STFT
from audio_io.realstft import RealISTFT, RealSTFT

# (n_fft, hop_length) on 10 s of stereo at 44,100 Hz; the last is the setting of Demucs.
CASES = [(512, 128), (2048, 512), (4096, 1024)]


def medians(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each call; they take turns, so that a change of load meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def compare(n_fft: int, hop_length: int, repeats: int) -> None:
    x = torch.randn(2, 441000, generator=torch.Generator().manual_seed(0))
    window = torch.hann_window(n_fft)
    forward, inverse = STFT(n_fft, hop_length), ISTFT(n_fft, hop_length)
    real_forward, real_inverse = RealSTFT(n_fft, hop_length), RealISTFT(n_fft, hop_length)
    spectrum = forward(x)
    real, imag = spectrum.real.contiguous(), spectrum.imag.contiguous()
    calls: dict[str, Callable[[], object]] = {
        "librosa.stft": lambda: librosa.stft(x.numpy(), n_fft=n_fft, hop_length=hop_length),
        "torch.stft": lambda: torch.stft(x, n_fft, hop_length, window=window, return_complex=True),
        "STFT": lambda: forward(x),
        "RealSTFT": lambda: real_forward(x),
        "librosa.istft": lambda: librosa.istft(spectrum.numpy(), n_fft=n_fft, hop_length=hop_length),
        "torch.istft": lambda: torch.istft(spectrum, n_fft, hop_length, window=window),
        "ISTFT": lambda: inverse(spectrum),
        "RealISTFT": lambda: real_inverse(real, imag),
    }
    print(f"\n2 x 10 s at 44100 Hz, n_fft {n_fft}, hop {hop_length}")
    for name, median in medians(calls, repeats).items():
        print(f"  {name:14} {1e3 * median:7.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of torch and of the BLAS behind NumPy"
    )
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {version('torch')}, librosa {version('librosa')}, {options.threads} thread(s), float32")
    with threadpool_limits(options.threads):
        for n_fft, hop_length in CASES:
            compare(n_fft, hop_length, options.repeats)


if __name__ == "__main__":
    main()
