"""Separating a clip on a CPU, against `demucs.api.Separator` with `shifts=0`.

    uv run --package genre python packages/genre/benchmarks/separation.py [--seconds 30] [--threads 1]

The network is htdemucs at its full size (41,984,456 parameters) with random weights, which cost the same time
as trained ones; noise is as good as music for the same reason. Passes count the runs of the network; times
are processor times, so other work on the machine hardly enters. The gain comes from fewer passes, and for
each of them from attention without PyTorch's fused path.
"""

import argparse
import time
from collections.abc import Callable
from fractions import Fraction

import torch
from demucs.api import Separator
from demucs.apply import BagOfModels
from demucs.htdemucs import HTDemucs

from genre.separate import DemucsSeparator, segment_starts

RATE = 44100
SEGMENT = Fraction(39, 5)  # s; of htdemucs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the clip")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--overlaps", type=float, nargs="+", default=[0.25, 0.05])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = make_model()
    clip = 0.1 * torch.randn(2, int(options.seconds * RATE), generator=torch.Generator().manual_seed(0))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{parameters:,} parameters, {options.seconds:g} s, {options.threads} thread(s)\n")

    stride, segment = int(0.75 * int(SEGMENT * RATE)), int(SEGMENT * RATE)
    passes = len(range(0, clip.shape[1], stride))
    theirs = timed(lambda: reference(model).separate_tensor(clip))
    print("| separator | overlap | passes | s | s a pass | ratio |\n|---|---|---|---|---|---|")
    print(f"| demucs.api | 0.25 | {passes} | {theirs:.1f} | {theirs / passes:.2f} | 1 |", flush=True)
    for overlap in options.overlaps:
        ours = DemucsSeparator(model, 22050, overlap=overlap)
        count = len(segment_starts(clip.shape[1], segment, overlap))
        seconds = timed(lambda ours=ours: ours.separate(clip))  # type: ignore[misc]
        cells = (f"{overlap:g}", count, f"{seconds:.1f}", f"{seconds / count:.2f}", f"{theirs / seconds:.2f}")
        print("| genre | " + " | ".join(map(str, cells)) + " |", flush=True)


def make_model() -> BagOfModels:
    """The network with the settings of its published file."""
    torch.manual_seed(0)
    sources = ["drums", "bass", "other", "vocals"]
    network = HTDemucs(sources, dconv_mode=3, bottom_channels=512, samplerate=RATE, segment=SEGMENT)
    return BagOfModels([network.eval()])


def reference(model: BagOfModels) -> Separator:
    """`demucs.api.Separator` around a model that is in memory instead of a file."""
    separator = Separator.__new__(Separator)
    separator._model = model
    separator._samplerate, separator._audio_channels = model.samplerate, model.audio_channels
    separator.update_parameter(
        device="cpu", shifts=0, overlap=0.25, split=True, segment=None, jobs=0, progress=False,
        callback=None, callback_arg=None,
    )  # fmt: skip
    return separator


def timed(call: Callable[[], object]) -> float:
    """Seconds of processor time."""
    started = time.process_time()
    call()
    return time.process_time() - started


if __name__ == "__main__":
    main()
