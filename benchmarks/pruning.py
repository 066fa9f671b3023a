"""What is left of `full` after it is pruned to `regular`, by each criterion: pruning is a start, not an end.

    uv run --package pitch python benchmarks/pruning.py [--frames 512] [--clips 2]

Raw pitch accuracy within 50 cents on the generated set of `pitch evaluate`, the most likely bin of each
frame averaged with its neighbours; no path that could repair it.
"""

import argparse

import torch

from pitch.evaluate import generated_set, score_network
from pitch.fast import FastCrepe
from pitch.training.labelled import measuring_frames
from pitch.training.prune import prune
from pitch.weights import load_model

WAYS = (
    ("l1", False, False),
    ("l1", False, True),
    ("l1", True, True),
    ("l2", True, True),
    ("fpgm", True, True),
    ("taylor", True, True),
    ("cssp", False, True),
    ("cssp", True, False),
    ("cssp", True, True),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=512, help="frames to measure activations on")
    parser.add_argument("--clips", type=int, default=2, help="clips of each family, at each level of noise")
    parser.add_argument("--networks", nargs="*", default=("tiny", "regular", "full"))
    options = parser.parse_args()
    examples = generated_set(clips=options.clips)
    frames = measuring_frames(options.frames, seed=0)
    full = load_model("full")
    print("| network | compensation | BatchNorm measured again | clean | 20 dB | 10 dB | 0 dB | all |")
    print("|---|---|---|---|---|---|---|---|")

    def report(name: str, compensate: str, reestimate: str, network: torch.nn.Module) -> None:
        scores = score_network(network, examples).accuracies()
        cells = [f"{scores[key]:.1%}" for key in ("snr/clean", "snr/20 dB", "snr/10 dB", "snr/0 dB", "all")]
        print(f"| {name} | {compensate} | {reestimate} | " + " | ".join(cells) + " |", flush=True)

    for criterion, compensate, reestimate in WAYS:
        pruned = prune(
            full, "regular", criterion=criterion, frames=frames, compensate=compensate, reestimate=reestimate
        )
        yes_no = {True: "yes", False: "no"}
        report(f"pruned by {criterion}", yes_no[compensate], yes_no[reestimate], FastCrepe(pruned.network))
    for name in options.networks:
        report(f"`{name}`", "", "", FastCrepe(load_model(name)))


if __name__ == "__main__":
    main()
