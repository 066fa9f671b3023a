"""Reading and training steps at full size, against the straightforward way, in one run.

    uv run --package mri2speech python packages/mri2speech/benchmarks/training.py

Reading: windows of four frames in random order, from the brief's `pairs_ref4` (one npz a window, every frame
stored four times) and from `samples` mapped into memory (every frame stored once). Files are in the page
cache in both cases, which favours the larger one.

Step: forward and backward pass of the brief's network (tf_efficientnetv2_b2, BiLSTM 640, 256x256, float32)
on the frames of one utterance. The straightforward way replicates each frame to three channels and encodes
every window's four frames anew; ours has one channel and channels last, and in sequence mode encodes each
frame once. The figures are per frame that gets a mel.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor, nn

from mri2speech.acoustic.config import LossConfig
from mri2speech.acoustic.loss import MaskedMSEMAE
from mri2speech.acoustic.model import AcousticModel
from mri2speech.config import MelConfig
from mri2speech.dataset import FixedLenPairDataset
from mri2speech.features import Scaler
from mri2speech.meta import Alignment, Meta, Sample, sample_folder
from mri2speech.preprocess.pairs import write_pairs

WINDOW = 4


class Plain(nn.Module):
    """The brief's network as one would write it: three channels, the default memory format."""

    def __init__(self, hidden: int = 640) -> None:
        super().__init__()
        self.backbone = timm.create_model("tf_efficientnetv2_b2", features_only=True, in_chans=3)
        channels = self.backbone.feature_info.channels()[-1]
        self.lstm = nn.LSTM(channels, hidden, batch_first=True, bidirectional=True)
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(hidden, 64)

    def forward(self, mri: Tensor) -> Tensor:
        """Normalised mels `[B, T, 64]` of frames `[B, T, 256, 256]`."""
        frames = mri.flatten(0, 1)[:, None].expand(-1, 3, -1, -1)
        seen = self.backbone(frames)[-1].mean((2, 3)).unflatten(0, mri.shape[:2])
        forwards, backwards = self.lstm(seen)[0].chunk(2, dim=-1)
        return self.head(self.dropout(forwards + backwards))


def best(function: Callable[[], None], repeats: int) -> float:
    """Least time in s of some calls after a first one."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def write_data(folder: Path, frames: int) -> None:
    """A data set of one sample of noise, with its windows as npz files."""
    random = np.random.default_rng(0)
    sample = Sample("s_0", "s", frames, "film", None, None, 27.17, Alignment(0, 0, 1, 1, 0))
    meta = Meta((sample,), MelConfig(), 256, WINDOW)
    place = sample_folder(folder, sample.id)
    place.mkdir(parents=True)
    np.save(place / "mri.npy", random.random((frames, 256, 256), np.float32))
    np.save(place / "mel_db.npy", random.normal(-40, 10, (frames, 64)).astype(np.float32))
    np.save(place / "mask.npy", np.ones((256, 256), np.float32))
    meta.save(folder)
    Scaler(-40.0, 10.0, MelConfig()).save(folder / "scaler.json")
    write_pairs(folder, meta, "npz")


def reading(repeats: int, frames: int) -> None:
    """Print the table of reading."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, frames)
        files = sorted((folder / "pairs_ref4" / "s_0").glob("*.npz"))
        windows = FixedLenPairDataset(folder)
        order = np.random.default_rng(1).permutation(len(files)).tolist()

        def from_npz() -> None:
            for index in order:
                with np.load(files[index], allow_pickle=False) as stored:
                    torch.from_numpy(stored["mri"]).sum()

        def mapped() -> None:
            for index in order:
                windows[index]["mri"].sum()

        sizes = [
            sum(file.stat().st_size for file in found) for found in (files, folder.glob("samples/*/*.npy"))
        ]
        seconds = [best(way, repeats) / len(order) for way in (from_npz, mapped)]
    print("| windows | ms a window | ratio | size (MB) |\n|---|---|---|---|")
    for title, each, size in zip(("npz, one a window", "mapped samples"), seconds, sizes, strict=True):
        print(f"| {title} | {1000 * each:.2f} | {seconds[0] / each:.1f} | {size / 1e6:.0f} |")


def steps(repeats: int, frames: int) -> None:
    """Print the table of training steps."""
    torch.manual_seed(0)
    film, mels = torch.rand(frames, 256, 256), torch.randn(frames, 64)
    loss = MaskedMSEMAE(LossConfig())
    count = frames - WINDOW + 1
    windows = torch.stack([film[start : start + WINDOW] for start in range(count)])
    targets = torch.stack([mels[start : start + WINDOW] for start in range(count)])

    def step(network: nn.Module, mri: Tensor, target: Tensor) -> Callable[[], None]:
        def run() -> None:
            network.zero_grad()
            loss(network(mri), target, torch.ones(target.shape[:2], dtype=torch.bool), 0).total.backward()

        return run

    ours = AcousticModel().train()
    ways = {
        "windows, three channels": step(Plain().train(), windows, targets),
        "windows, one channel, channels last": step(ours, windows, targets),
        "whole utterance (--mode sequence)": step(ours, film[None], mels[None]),
    }
    print("\n| step | ms a frame | ratio |\n|---|---|---|")
    first = 0.0
    for title, way in ways.items():
        each = best(way, repeats) / count
        first = first or each
        print(f"| {title} | {1000 * each:.0f} | {first / each:.2f} |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=12, help="frames of the utterance that is trained on")
    parser.add_argument("--read", type=int, default=120, help="frames of the sample that is read")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    reading(arguments.repeats, arguments.read)
    steps(arguments.repeats, arguments.frames)


if __name__ == "__main__":
    main()
