"""What speech costs that is made while the film goes on: lateness, likeness and time.

    python packages/mri2speech/benchmarks/streaming.py mri2speech_demo --utterances 4

takes the model, the vocoder and test utterances of a finished demo (`mri2speech train`), and gives their
frames to `SpeechStream` one by one. Printed for several look-aheads: how late the samples come, the mean
distance of the speech's mels from the recording's, and the longest that a frame and its samples took.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from mri2speech.dataset import SequenceDataset
from mri2speech.features import mel_db
from mri2speech.splits import Split
from mri2speech.synthesize import Synthesizer
from mri2speech.vocoder.checkpoint import latest

LOOK_AHEADS = (0, 2, 4, 8, 16)


def distance(waveform: Tensor, mels: Tensor, synthesizer: Synthesizer) -> float:
    """Mean distance in dB of a waveform's mels from those of the recording `[n_mels, T]`."""
    heard = mel_db(waveform, synthesizer.mel_config)[:, : mels.shape[1]]
    return float((heard - mels).abs().mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demo", type=Path, help="folder of a finished demo")
    parser.add_argument("--utterances", type=int, default=4)
    arguments = parser.parse_args()
    demo: Path = arguments.demo
    films = SequenceDataset(demo / "data")
    (voice,) = {path.parent for path in (demo / "vocoder").glob("*/g_*")}
    synthesizer = Synthesizer.load(demo / "run" / "best.pt", latest(voice, "g_"))
    chosen = Split.load(demo / "run" / "split.json", films.meta).test[: arguments.utterances]
    spoken = [(films[index]["mri"], films.scaler.denormalise(films[index]["mel"]).T) for index in chosen]
    whole = [distance(synthesizer.speech(frames), mels, synthesizer) for frames, mels in spoken]
    print(f"{len(spoken)} utterances; the whole film: {sum(whole) / len(whole):.2f} dB from the recordings")
    print("| look-ahead (frames) | late by (ms) | distance (dB) | longest frame (ms) |\n|---|---|---|---|")
    for look_ahead in LOOK_AHEADS:
        stream = synthesizer.stream(look_ahead=look_ahead)
        errors, longest = [], 0.0
        for frames, mels in spoken:
            parts = []
            for frame in frames:
                started = time.perf_counter()
                parts.append(stream.push(frame))
                longest = max(longest, time.perf_counter() - started)
            parts.append(stream.finish())
            errors.append(distance(torch.cat(parts), mels, synthesizer))
        mean = sum(errors) / len(errors)
        late = stream.latency.milliseconds
        print(f"| {look_ahead} | {late:.0f} | {mean:.2f} | {1000 * longest:.0f} |", flush=True)


if __name__ == "__main__":
    main()
