"""Training of the small separator: a plain loop that goes on where it was interrupted.

A run lives in a folder: `last.pt` (all that is needed to go on), `log.csv`, `curves.png`, the rendered songs,
and at the end `small.pth`, which `--checkpoint` of the other commands reads.
"""

import csv
import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audio_io.atomic import atomic_path, file_digest, write_json
from audio_io.figures import new_figure
from audio_io.progress import Progress
from separation_coreml import registry
from separation_coreml.checkpoints import CheckpointError, read_checkpoint
from separation_coreml.engines import torch_engine
from separation_coreml.evaluation.scores import sdr
from separation_coreml.families import small
from separation_coreml.separate import separate
from separation_coreml.stems.song import STEMS
from separation_coreml.stems.sounds import SAMPLE_RATE
from separation_coreml.training.bank import Bank
from separation_coreml.training.config import TrainConfig
from separation_coreml.training.loss import bin_weights, loss, sums

# Seeds of rendered songs: `render-stems` and `evaluate` count from 0 unless told otherwise.
TRAINING_SEED, VALIDATION_SEED = 1_000_000, 900_000


def train(config: TrainConfig, folder: str | Path) -> Path:
    """Train the small separator; an interrupted run goes on where it stopped when called again.

    In between, only the numbers of steps (`steps`, `decay_steps`, `check_every`) may be changed.

    Args:
        config: How.
        folder: Of the run.

    Returns:
        The weights, in half precision.

    Raises:
        FileError: If the folder holds a run with other settings, or a file that cannot be read.
    """
    folder = Path(folder)
    known = Bank(
        folder / "songs.int16", songs=config.songs, seconds=config.seconds, seed=TRAINING_SEED + config.seed
    )
    held_out = Bank(
        folder / "validation.int16",
        songs=config.validation_songs,
        seconds=config.seconds,
        seed=VALIDATION_SEED + config.seed,
    )
    torch.manual_seed(config.seed)
    separator = registry.build("small", weights="random", seed=config.seed).train().requires_grad_()
    assert isinstance(separator, small.SmallSeparator)
    optimizer = torch.optim.AdamW(
        separator.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    average = _floating(separator)
    log: list[dict[str, float]] = []
    first = 0
    if (folder / "last.pt").is_file():
        state = _read_state(folder / "last.pt", config)
        separator.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        average, log, first = state["average"], state["log"], state["step"]
    started = time.monotonic() - (log[-1]["seconds"] if log else 0.0)
    losses: list[float] = []
    with Progress("train", config.steps, "steps") as progress:
        progress.advance(first)
        for step in range(first, config.steps):
            for group in optimizer.param_groups:
                group["lr"] = config.rate(step)
            losses.append(_step(separator, optimizer, known, config, step))
            _follow(average, separator, min(config.average, (step + 1) / (step + 10)))
            progress.advance(1)
            if (step + 1) % config.check_every and step + 1 != config.steps:
                continue
            scores = _validate(average, held_out)
            log.append(
                {
                    "step": step + 1,
                    "seconds": round(time.monotonic() - started),
                    "loss": round(float(np.mean(losses)), 4),
                    **{stem: round(score, 3) for stem, score in scores.items()},
                }
            )
            losses.clear()
            with atomic_path(folder / "last.pt") as temporary:
                torch.save(
                    {
                        "weights": separator.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "average": average,
                        "log": log,
                        "step": step + 1,
                        "settings": _lasting(config),
                    },
                    temporary,
                )
            _write_log(log, folder)
    target = folder / "small.pth"
    with atomic_path(target) as temporary:
        torch.save({name: value.half() for name, value in average.items()}, temporary)
    write_json(
        folder / "train.json",
        {
            "settings": dataclasses.asdict(config),
            "sha256": file_digest(target),
            # A stem that rests in all validation songs has no score.
            "scores": {name: None if math.isnan(value) else value for name, value in log[-1].items()},
        },
    )
    return target


def _lasting(config: TrainConfig) -> dict[str, Any]:
    """The settings that a run keeps."""
    settings = dataclasses.asdict(config)
    return {name: settings[name] for name in settings if name not in {"steps", "decay_steps", "check_every"}}


def _read_state(path: Path, config: TrainConfig) -> dict[str, Any]:
    """What an interrupted run left."""
    state = read_checkpoint(path)
    expected = {"weights", "optimizer", "average", "log", "step", "settings"}
    if set(state) != expected:
        raise CheckpointError(path, f"entries {sorted(state)}", f"those of a run, {sorted(expected)}")
    for name, value in _lasting(config).items():
        if (found := state["settings"].get(name)) != value:
            raise CheckpointError(path, f"a run with {name} {found}", f"{value}, or another folder")
    return state


def _step(
    separator: small.SmallSeparator,
    optimizer: torch.optim.Optimizer,
    bank: Bank,
    config: TrainConfig,
    step: int,
) -> float:
    rng = np.random.default_rng([config.seed, step])
    length = (config.frames - 1) * small.HOP_LENGTH + small.N_FFT
    excerpts = torch.from_numpy(bank.batch(rng, config.batch_size, length, remix=config.remix))
    known = [sums(stems, separator.window) for stems in excerpts]
    power = torch.stack([each.mixture for each in known])
    lower = config.precision == "bfloat16"
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=lower):
        logits = separator.network.logits(power)
    weights = bin_weights()
    # One excerpt at a time: what belongs to it stays in the cache.
    values = [
        loss(each.float().softmax(dim=0), target, weights)
        for each, target in zip(logits.unbind(), known, strict=True)
    ]
    total = torch.stack(values).mean()
    optimizer.zero_grad()
    total.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(separator.parameters(), config.clip)
    optimizer.step()
    return float(total.detach())


def _floating(separator: nn.Module) -> dict[str, Tensor]:
    """Copies of parameters and statistics."""
    state = separator.state_dict()
    return {name: value.clone() for name, value in state.items() if value.is_floating_point()}


def _follow(average: Mapping[str, Tensor], separator: nn.Module, keep: float) -> None:
    state = separator.state_dict()
    for name, value in average.items():
        value.lerp_(state[name], 1 - keep)


def _validate(average: Mapping[str, Tensor], bank: Bank) -> dict[str, float]:
    """Median SDR of each stem over whole songs, of the averaged weights."""
    judged = registry.build("small", weights="random")
    judged.load_state_dict(dict(average), strict=False)
    engine = torch_engine(judged.eval())
    scores: dict[str, list[float]] = {stem: [] for stem in STEMS}
    for song in bank.samples:
        stems = torch.from_numpy(song.astype(np.float32)) / np.iinfo(np.int16).max
        found = separate(stems.sum(dim=0), SAMPLE_RATE, engine)
        for index, stem in enumerate(STEMS):
            scores[stem].append(sdr(stems[index], found[stem]))
    return {stem: float(np.nanmedian(values)) for stem, values in scores.items()}


def _write_log(log: list[dict[str, float]], folder: Path) -> None:
    with atomic_path(folder / "log.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(log[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(log)
    with new_figure(folder / "curves.png", width=9, height=3.5) as figure:
        left, right = figure.subplots(1, 2)
        steps = [row["step"] for row in log]
        left.plot(steps, [row["loss"] for row in log])
        left.set(title="Loss on the songs learned from", xlabel="step")
        for stem in STEMS:
            right.plot(steps, [row[stem] for row in log], label=stem)
        right.set(title="SDR on further songs (median)", xlabel="step", ylabel="dB")
        right.legend()
