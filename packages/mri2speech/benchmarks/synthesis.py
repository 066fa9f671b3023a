"""Film to speech at full size, against the straightforward way, in one run.

    uv run --package mri2speech --extra onnx python packages/mri2speech/benchmarks/synthesis.py

The straightforward way is that of the brief: every frame replicated to three channels, one frame after the
other, the vocoder with its weight norm, the default memory format. Ours: one channel, portions of frames,
channels last, weight norm folded into the weights; and the same models in ONNX Runtime. All give the same
speech; the largest difference is printed. Weights are random, which costs the same.
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

from mri2speech.acoustic.model import AcousticModel
from mri2speech.config import MelConfig
from mri2speech.features import Scaler, mel_log
from mri2speech.onnx_export import OnnxSynthesizer, export
from mri2speech.synthesize import Synthesizer
from mri2speech.vocoder.config import VocoderConfig
from mri2speech.vocoder.generator import Generator

SCALER = Scaler(-50.0, 20.0, MelConfig())


class Plain(nn.Module):
    """The same acoustic model with three equal channels."""

    def __init__(self, model: AcousticModel) -> None:
        super().__init__()
        self.backbone = timm.create_model(model.config.backbone, features_only=True, in_chans=3)
        state = model.backbone.state_dict()
        stem = next(key for key, value in state.items() if value.ndim == 4)
        state[stem] = state[stem].expand(-1, 3, -1, -1) / 3
        self.backbone.load_state_dict({key: value.contiguous() for key, value in state.items()})
        self.lstm, self.head = model.lstm, model.head

    def forward(self, frames: Tensor) -> Tensor:
        """Normalised mels `[n_mels, T]` of frames `[T, H, W]`."""
        seen = [self.backbone(frame.expand(1, 3, -1, -1))[-1].mean((2, 3)) for frame in frames]
        forwards, backwards = self.lstm(torch.stack(seen, dim=1))[0].chunk(2, dim=-1)
        return self.head(forwards + backwards)[0].T


def best(function: Callable[[], Tensor], repeats: int) -> tuple[float, Tensor]:
    """Least time in s of some calls, and what they gave."""
    seconds, result = [], function()
    for _ in range(repeats):
        started = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - started)
    return min(seconds), result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the film in s")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = AcousticModel().eval()
    normed = Generator(VocoderConfig()).eval()
    folded = Generator(VocoderConfig()).eval()
    folded.load_state_dict(normed.state_dict())
    plain = Plain(model).eval()
    frames = torch.rand(round(arguments.seconds * SCALER.mel.frame_rate), 256, 256)
    ours = Synthesizer(model, SCALER, folded.remove_weight_norm())

    def straightforward() -> Tensor:
        with torch.no_grad():
            return normed(mel_log(SCALER.denormalise(plain(frames)))[None])[0, 0]

    with tempfile.TemporaryDirectory() as folder:
        export(folder, model=model, scaler=SCALER, generator=folded)
        runtime = OnnxSynthesizer(Path(folder))
        ways = {
            "straightforward PyTorch": straightforward,
            "Synthesizer": lambda: ours.speech(frames),
            "Synthesizer: CNN and LSTM": lambda: ours.mel(frames),
            "ONNX Runtime": lambda: runtime.speech(np.asarray(frames)),
            "ONNX Runtime: CNN and LSTM": lambda: runtime.mel(np.asarray(frames)),
        }
        print("| way | s | real-time factor | ratio | largest difference |\n|---|---|---|---|---|")
        first, reference = 0.0, torch.zeros(0)
        for name, way in ways.items():
            seconds, found = best(way, arguments.repeats)
            if not first:
                first, reference = seconds, found
            same = found.shape == reference.shape
            difference = f"{float((found - reference).abs().max()):.1e}" if same else ""
            ratio = f"{first / seconds:.2f}" if same else ""
            length = len(frames) / SCALER.mel.frame_rate
            print(f"| {name} | {seconds:.2f} | {seconds / length:.2f} | {ratio} | {difference} |", flush=True)


if __name__ == "__main__":
    main()
