"""Pitch, tempo and noise varied in four stems of 30 s, mel included, against librosa, in processor time.

    uv run --package genre python packages/genre/benchmarks/augment.py [--threads 1] [--repeats 3]

How near each comes to the same song played at another pitch and tempo is tested in `tests/test_augment.py`.
"""

import argparse
import statistics
import time

import librosa
import numpy as np
import torch

from genre.augment import Variation, vary_power
from genre.augment_waveform import vary_waveform
from genre.config import FeatureConfig
from genre.features import mel_power

CASES = {
    "pitch": Variation(semitones=1.3),
    "tempo": Variation(rate=1.1),
    "pitch, tempo and noise": Variation(semitones=1.3, rate=1.1, noise=0.005),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config, rng = FeatureConfig(), np.random.default_rng(0)
    waveform = (0.1 * rng.standard_normal((4, config.samples))).astype(np.float32)
    stems = torch.from_numpy(waveform)
    print(
        "| variation, with mel | librosa, ms | waveform, ms | mel, ms | ratio of mel |\n|---|---|---|---|---|"
    )
    for name, variation in CASES.items():
        calls = {
            "librosa": lambda v=variation: by_librosa(waveform, v, config, rng),
            "waveform": lambda v=variation: mel_power(vary_waveform(stems, v, rng), config),
            "mel": lambda v=variation: vary_power(stems, v, config, rng),
        }
        times: dict[str, list[float]] = {key: [] for key in calls}
        for _ in range(options.repeats + 1):
            for key, call in calls.items():
                start = time.process_time()
                call()
                times[key].append(time.process_time() - start)
        medians = {key: 1000 * statistics.median(values[1:]) for key, values in times.items()}
        shown = " | ".join(f"{value:.0f}" for value in medians.values())
        print(f"| {name} | {shown} | {medians['librosa'] / medians['mel']:.1f} |")


def by_librosa(
    waveform: np.ndarray, variation: Variation, config: FeatureConfig, rng: np.random.Generator
) -> list[np.ndarray]:
    """What the brief computes."""
    mels = []
    for stem in waveform:
        varied = stem
        if variation.semitones:
            varied = librosa.effects.pitch_shift(varied, sr=config.sample_rate, n_steps=variation.semitones)
        if variation.rate != 1:
            varied = librosa.effects.time_stretch(varied, rate=variation.rate)
        if variation.noise:
            varied = varied + variation.noise * rng.standard_normal(len(varied))
        mels.append(librosa.feature.melspectrogram(y=varied, sr=config.sample_rate, n_fft=config.n_fft))
    return mels


if __name__ == "__main__":
    main()
