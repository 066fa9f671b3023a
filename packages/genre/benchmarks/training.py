"""A training step of EfficientNet-B3 as the brief has it, against the one here, in processor time an image.

    uv run --package genre python packages/genre/benchmarks/training.py [--threads 1] [--repeats 3]

The brief's step is torchvision's network with `features[:6]` without gradients, in training mode, at
600 x 600. Here the frozen stages are in evaluation mode without autograd, their BatchNorm is folded, memory
is channels-last; their outputs can be kept (when nothing is augmented), the picture can stay 128 x 1,292.
Weights are random: they do not matter for the time.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torchvision  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional

from genre.config import FeatureConfig, TrainConfig
from genre.model import GenreNet

BATCH, CLASSES = 2, 10


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    features = FeatureConfig()
    resized = torch.randn(BATCH, 4, features.image_size, features.image_size)
    native = torch.randn(BATCH, 4, features.n_mels, features.frames)
    stock, network = stock_network(), GenreNet(TrainConfig(), CLASSES).train()
    kept = [network.freeze(pictures).clone() for pictures in (resized, native)]
    steps = {
        "torchvision, 600 x 600": step(stock, stock, resized),
        "genre, 600 x 600": step(network, network, resized),
        "genre, 600 x 600, frozen stages kept": step(network, network.classify, kept[0]),
        f"genre, 128 x {features.frames}": step(network, network, native),
        f"genre, 128 x {features.frames}, frozen stages kept": step(network, network.classify, kept[1]),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.repeats + 1):
        for name, call in steps.items():
            start = time.process_time()
            call()
            times[name].append((time.process_time() - start) / BATCH)
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    slowest = next(iter(medians.values()))
    print("| training step | s an image | ratio |\n|---|---|---|")
    for name, seconds in medians.items():
        print(f"| {name} | {seconds:.2f} | {slowest / seconds:.1f} |")


def stock_network() -> nn.Module:
    """The brief's network, as one writes it with torchvision alone."""
    network: nn.Module = torchvision.models.efficientnet_b3()
    first = network.features[0][0]  # type: ignore[index]
    widened = nn.Conv2d(4, first.out_channels, 3, 2, 1, bias=False)
    network.features[0][0] = widened  # type: ignore[index,operator]
    network.classifier = nn.Sequential(
        nn.Dropout(0.5), nn.Linear(1536, 512), nn.ReLU(), nn.Dropout(0.3), nn.Linear(512, CLASSES)
    )
    for parameter in network.features[:6].parameters():  # type: ignore[index]
        parameter.requires_grad_(False)
    return network.train()


def step(network: nn.Module, forward: Callable[[Tensor], Tensor], batch: Tensor) -> Callable[[], None]:
    """Forward, backward and AdamW on what is trained."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6)
    targets = torch.arange(len(batch)) % CLASSES

    def run() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(forward(batch), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return run


if __name__ == "__main__":
    main()
