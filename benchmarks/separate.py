"""How much faster `separate` is than `demucs.api` on the CPU: both in one process, in turns, on one song.

    uv run --package separation-coreml python benchmarks/separate.py [--threads 1] [--seconds 24]

The weights are random, since the time is the same. `demucs.api` runs without its random shifts, which would
cost it more. "same segments" is `placement="demucs"`, whose result is that of `demucs.api`; "even" is the
default, with the fewest segments that overlap as much.
"""

import argparse
import os
from unittest import mock

import demucs.api
import torch
from timing import medians

from separation_coreml import registry
from separation_coreml.engines import torch_engine
from separation_coreml.families.demucs import HybridSeparator
from separation_coreml.separate import SeparateConfig, separate, starts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=24.0)
    parser.add_argument("--segment", type=float, default=None, help="in s; the model's own by default")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    separator = registry.build("htdemucs", weights="random", segment_seconds=options.segment)
    assert isinstance(separator, HybridSeparator)
    engine = torch_engine(separator)
    with mock.patch("demucs.api.get_model", return_value=separator.model):
        theirs = demucs.api.Separator(shifts=0, device="cpu")
    song = 0.1 * torch.randn(2, int(options.seconds * 44100), generator=torch.Generator().manual_seed(0))

    def ours(placement: str) -> torch.Tensor:
        stems = separate(song, 44100, engine, config=SeparateConfig(placement=placement))
        return torch.stack(list(stems.values()))

    reference = torch.stack(list(theirs.separate_tensor(song)[1].values()))
    difference = (ours("demucs") - reference).abs().max() / reference.abs().max()
    times = medians(
        {
            "demucs.api": lambda: theirs.separate_tensor(song),
            "same segments": lambda: ours("demucs"),
            "even": lambda: ours("even"),
        },
        options.repeats,
    )
    print(
        f"torch {torch.__version__}, {options.threads} thread(s), {options.seconds:g} s of stereo, htdemucs"
    )
    print(f"largest difference to demucs.api with the same segments, relative: {float(difference):.1e}\n")
    print("| what | segments | s | times demucs.api |\n|---|---|---|---|")
    for name, seconds in times.items():
        placement = "even" if name == "even" else "demucs"
        count = len(starts(song.shape[-1], engine.segment, engine.overlap, placement))
        print(f"| {name} | {count} | {seconds:.2f} | {times['demucs.api'] / seconds:.2f} |")


if __name__ == "__main__":
    main()
