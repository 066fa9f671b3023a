"""Time of the STFT and its inverse: complex and real-arithmetic, next to torch's and librosa's.

Run from the workspace root: `python benchmarks/stft.py [--threads 1] [--repeats 9]`.
"""

from collections.abc import Callable

import librosa
import torch
from timing import medians, session

from audio_io.fourier import ISTFT, STFT
from audio_io.realstft import RealISTFT, RealSTFT

# (n_fft, hop_length) on 10 s of stereo at 44,100 Hz; the last is the setting of Demucs.
CASES = [(512, 128), (2048, 512), (4096, 1024)]


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
    with session(__doc__, repeats=9) as repeats:
        for n_fft, hop_length in CASES:
            compare(n_fft, hop_length, repeats)


if __name__ == "__main__":
    main()
