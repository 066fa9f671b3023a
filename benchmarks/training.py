"""A training step on a CPU: the plain network against the one in the frequency domain, in one run.

    uv run --package pitch python benchmarks/training.py [--threads 1] [--batch-size 256]

Forward and backward pass of `regular`, the first layer kept as it is in both.
"""

import argparse
import functools

import torch
from timing import medians

import pitch
from pitch.training.spectral import SpectralCrepe


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = pitch.Crepe("regular").eval()
    for name in ("conv1", "conv1_BN"):
        network.get_submodule(name).requires_grad_(False)
    spectral = SpectralCrepe(network)
    frames, targets = torch.randn(options.batch_size, 1024), torch.rand(options.batch_size, 360)

    def step(forward: torch.nn.Module, dtype: torch.dtype) -> None:
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            logits = forward.logits(frames) if isinstance(forward, pitch.Crepe) else forward(frames)
        torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), targets).backward()

    times = medians(
        {
            "plain, float32": functools.partial(step, network, torch.float32),
            "frequency domain, float32": functools.partial(step, spectral, torch.float32),
            "frequency domain, bfloat16": functools.partial(step, spectral, torch.bfloat16),
        },
        options.repeats,
    )
    print("| network | ms a frame | times as fast |\n|---|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {1000 * seconds / len(frames):.2f} | {times['plain, float32'] / seconds:.1f} |")


if __name__ == "__main__":
    main()
