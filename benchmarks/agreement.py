"""How often a small network agrees with `full` on recordings that have no labels.

    uv run --package pitch python benchmarks/agreement.py FOLDER... [--models tiny regular] [--frames 2500]

Share of the frames that `full` calls voiced (posterior above 0.5) whose most likely bin is within 50 cents of
its own; a frame every 20 ms of the first 4 s of each recording, until enough frames are voiced.
"""

import argparse
import random
from pathlib import Path

import torch

import audio_io
import pitch
from audio_io.errors import AudioError
from pitch import FastCrepe, load_model

SHORTEST = 0.3  # s
LONGEST = 4.0  # s
NEAR_BINS = 2  # of 20 cents


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--models", nargs="+", default=["tiny", "regular"])
    parser.add_argument("--frames", type=int, default=2500, help="voiced frames to compare, of each folder")
    options = parser.parse_args()
    full = FastCrepe(load_model("full"))
    networks = {name: FastCrepe(load_model(name)) for name in options.models}
    print("| recordings | frames | " + " | ".join(f"`{name}`" for name in networks) + " |")
    print("|---" * (2 + len(networks)) + "|")
    for folder in map(Path, options.folders):
        recordings = sorted(audio_io.walk(folder))
        random.Random(0).shuffle(recordings)
        near: dict[str, list[torch.Tensor]] = {name: [] for name in networks}
        count = 0
        for path in recordings:
            if count >= options.frames:
                break
            try:
                waveform, _ = audio_io.load(path, sample_rate=16000, channels="mono")
            except AudioError:
                continue
            if waveform.shape[1] < SHORTEST * 16000:
                continue
            frames = torch.cat(
                list(pitch.preprocess(waveform[:, : int(LONGEST * 16000)], 16000, hop_length=320))
            )
            wanted = full(frames)
            voiced = wanted.amax(dim=1) > 0.5
            count += int(voiced.sum())
            for name, network in networks.items():
                distance = (network(frames).argmax(dim=1) - wanted.argmax(dim=1)).abs()
                near[name].append(distance[voiced] <= NEAR_BINS)
        if count:
            shares = (f"{float(torch.cat(near[name]).float().mean()):.1%}" for name in networks)
            print(f"| {folder.name} | {count} | " + " | ".join(shares) + " |", flush=True)


if __name__ == "__main__":
    main()
