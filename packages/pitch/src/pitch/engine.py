"""The network as tracking uses it: on a device, in a precision, compiled or not.

Reference:
    bfloat16 keeps the 8 exponent bits of float32 and 7 bits of its fraction: Kalamkar et al., "A Study of
    BFLOAT16 for Deep Learning Training", 2019.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from audio_io.errors import ConfigError
from pitch.config import TrackConfig
from pitch.constants import PITCH_BINS, WINDOW_SIZE
from pitch.core import normalize_frames
from pitch.fast import FastCrepe, accelerate
from pitch.weights import load_model

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Engine:
    """Posteriors of raw frames.

    In bfloat16 the layers before the classifier are computed with 8 significant bits; the classifier, the
    posteriors and all that follows stay in float32. On the shipped phrase the posteriors then differ by
    0.012 at most from those of float32, and the pitch of the voiced frames by 0.3 cents at the 99th
    percentile (`tiny`; `tests/test_precision.py` allows 0.02 and 1 cent). It pays where bfloat16 is
    multiplied in hardware: on one thread of a CPU with AVX-512 BF16 the fast engine took 1.9 ms a frame
    instead of 3.6 for `full` (`benchmarks/speed.py`). float16 has the range of 6e-5 to 65,504 and is for GPUs
    only.

    Args:
        config: Capacity, engine, precision, whether to compile, batch size.
        device: Where the network runs, as torch names it.
        weights: A weight file to use instead of the installed one; see `pitch.weights.load_model`.

    Raises:
        WeightsNotFoundError: If the weights of the capacity are not installed.
        ConfigError: If engine, precision or compilation do not go with the device.
    """

    def __init__(
        self,
        config: TrackConfig,
        *,
        device: str | torch.device = "cpu",
        weights: str | Path | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.batch_size = config.batch_size
        _check_device(config, self.device)
        network = accelerate(load_model(config.model, device=self.device, weights=weights), config.engine)
        if config.precision != "float32":
            _reduce_precision(network, DTYPES[config.precision])
        self._network = network
        self._is_compiled = config.compile
        if config.compile:
            # On CUDA this mode records the whole network as one graph, launched once a batch.
            self._network = torch.compile(network, mode="reduce-overhead", dynamic=False)  # type: ignore[assignment]

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        """The network's output for frames as they were cut from the recording.

        Shape:
            - frames: `[N, 1024]`, N at most the batch size
            - Output: `[N, 360]`, float32, on the CPU
        """
        if len(frames) == 0:
            return torch.zeros(0, PITCH_BINS, dtype=torch.float32, device="cpu")
        count = len(frames)
        if self._is_compiled and count < self.batch_size:
            # Another shape would be compiled anew.
            frames = torch.cat([frames, frames.new_zeros(self.batch_size - count, WINDOW_SIZE)])
        posteriors: Tensor = self._network(normalize_frames(frames.to(self.device)))
        return posteriors[:count].float().cpu()


def _check_device(config: TrackConfig, device: torch.device) -> None:
    is_cpu = device.type == "cpu"
    if config.engine == "fast" and not is_cpu:
        raise ConfigError("engine", f"'fast' on {device}", "auto or plain; fast is for CPUs")
    if config.precision == "float16" and is_cpu:
        # Correct there, but 30 times slower than float32: CPUs have no such multiplication.
        raise ConfigError("precision", "'float16' on cpu", "float32 or bfloat16; float16 is for GPUs")
    if config.compile and is_cpu and config.engine != "plain":
        raise ConfigError("compile", f"engine {config.engine!r} on cpu", "engine plain, the one it compiles")


def _reduce_precision(network: nn.Module, dtype: torch.dtype) -> None:
    """Compute all layers but the classifier in another type; in place."""
    classifier = network.get_submodule("classifier")
    for layer in network.children():
        if layer is not classifier:
            layer.to(dtype)
    # The fast network gives out tensors of its input's type: the cast comes after it has looked.
    entrance = network.get_submodule("first") if isinstance(network, FastCrepe) else network
    entrance.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(dtype),))
    classifier.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
