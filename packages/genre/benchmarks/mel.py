"""The mel spectrograms of four stems of 30 s in dB, against librosa, in processor time.

uv run --package genre python packages/genre/benchmarks/mel.py [--threads 1] [--repeats 7]
"""

import argparse
import statistics
import time

import librosa
import numpy as np
import torch

from genre.config import FeatureConfig
from genre.features import StemMel


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = FeatureConfig(reference="stem")
    rng = np.random.default_rng(0)
    stems = (0.1 * rng.standard_normal((4, config.samples))).astype(np.float32)
    mel = StemMel(config)

    def ours() -> np.ndarray:
        return mel(torch.from_numpy(stems)[None])[0].numpy()

    def theirs() -> np.ndarray:
        return np.stack([stem_of_librosa(stem, config) for stem in stems])

    times: dict[str, list[float]] = {"librosa": [], "genre": []}
    for _ in range(options.repeats + 1):
        for name, call in (("librosa", theirs), ("genre", ours)):
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    difference = np.abs(ours() - theirs()).max()
    print("| mel of 4 x 30 s | ms | ratio |\n|---|---|---|")
    for name, seconds in medians.items():
        print(f"| {name} | {1000 * seconds:.0f} | {medians['librosa'] / seconds:.1f} |")
    print(f"\nGreatest difference: {difference:.1e} dB.")


def stem_of_librosa(stem: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """What the brief computes."""
    power = librosa.feature.melspectrogram(
        y=stem, sr=config.sample_rate, n_fft=config.n_fft, hop_length=config.hop_length, n_mels=config.n_mels
    )
    return np.asarray(librosa.power_to_db(power, ref=np.max))


if __name__ == "__main__":
    main()
