"""Checkpoints as the original project writes them, so that its files work here and ours work there.

`g_XXXXXXXX` holds `{"generator": state_dict}`; `do_XXXXXXXX` holds `{"mpd", "msd", "optim_g", "optim_d",
"steps", "epoch"}`, and from us also `"batch"`, the batches of the epoch that are done. Keys of weight norm
are written as torch.nn.utils.weight_norm names them (`weight_g`, `weight_v`; for spectral norm `weight_orig`,
`weight_u`, `weight_v`), and read in that spelling, in that of torch.nn.utils.parametrizations, or as plain
weights. The optimisers fit as well, because both spellings have their parameters in the same order.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from audio_io.atomic import atomic_path
from audio_io.errors import FileError
from mri2speech.vocoder.config import CONFIG_NAME, VocoderConfig
from mri2speech.vocoder.generator import Generator

State = dict[str, Tensor]

_WEIGHT_NORM = {
    ".parametrizations.weight.original0": ".weight_g",
    ".parametrizations.weight.original1": ".weight_v",
}
_SPECTRAL_NORM = {
    ".parametrizations.weight.original": ".weight_orig",
    ".parametrizations.weight.0._u": ".weight_u",
    ".parametrizations.weight.0._v": ".weight_v",
}


@dataclass
class Training:
    """All that a run needs to go on: networks and optimisers, which are changed in place, and where it is.

    Attributes:
        generator: With its weight norm.
        mpd: Multi-period discriminator.
        msd: Multi-scale discriminator.
        optim_g: Optimiser of the generator.
        optim_d: Optimiser of the discriminators, msd's parameters first, as the original has it.
        steps: Optimiser steps that are done.
        epoch: Epochs that are done.
        batch: Batches of the current epoch that are done.
    """

    generator: Generator
    mpd: nn.Module
    msd: nn.Module
    optim_g: torch.optim.Optimizer
    optim_d: torch.optim.Optimizer
    steps: int = 0
    epoch: int = 0
    batch: int = 0


def original_keys(state: Mapping[str, Tensor]) -> State:
    """A state dict under the keys of the original project."""
    renamed = {}
    for key, value in state.items():
        stem = key.partition(".parametrizations.")[0]
        names = _WEIGHT_NORM if f"{stem}.parametrizations.weight.original0" in state else _SPECTRAL_NORM
        suffix = key[len(stem) :]
        renamed[stem + names.get(suffix, suffix)] = value
    return renamed


def current_keys(state: Mapping[str, Tensor], module: nn.Module) -> State:
    """A state dict in any of the spellings, under the keys of a module.

    Plain weights of a layer whose weight norm is on become direction and length of themselves.
    """
    renamed: State = {}
    for key, value in state.items():
        stem, _, name = key.rpartition(".")
        spectral = f"{stem}.weight_orig" in state
        for new, old in (_SPECTRAL_NORM if spectral else _WEIGHT_NORM).items():
            if name == old[1:]:
                renamed[stem + new] = value
                break
        else:
            if name == "weight" and _has_weight_norm(module, stem):
                norm = value.flatten(1).norm(dim=1).view(-1, *[1] * (value.ndim - 1))
                renamed[f"{stem}.parametrizations.weight.original0"] = norm
                renamed[f"{stem}.parametrizations.weight.original1"] = value
            else:
                renamed[key] = value
    return renamed


def _has_weight_norm(module: nn.Module, name: str) -> bool:
    try:
        layer = module.get_submodule(name)
    except AttributeError:
        return False
    return parametrize.is_parametrized(layer, "weight")


def save_generator(path: str | Path, generator: Generator, *, half: bool = False) -> None:
    """Write `g_XXXXXXXX`, and the `config.json` that belongs to it beside.

    Args:
        path: Of the checkpoint.
        generator: With or without its weight norm.
        half: Whether to store the numbers in half precision, which `load_generator` reads as well.
    """
    state = {key: value.detach().cpu() for key, value in original_keys(generator.state_dict()).items()}
    if half:
        state = {key: value.half() for key, value in state.items()}
    with atomic_path(path) as temporary:
        torch.save({"generator": state}, temporary)
    generator.config.save(Path(path).with_name(CONFIG_NAME))


def load_generator(
    path: str | Path, *, config: VocoderConfig | None = None, remove_weight_norm: bool = True
) -> Generator:
    """Read `g_XXXXXXXX`.

    Args:
        path: Of the checkpoint.
        config: Its shape; read from the `config.json` beside it if None.
        remove_weight_norm: Whether to fold the weight norm, as one wants it for inference.

    Returns:
        The generator in float32 on the CPU, in evaluation mode.

    Raises:
        FileError: If a file is missing, is no generator, or belongs to another architecture.
    """
    config = VocoderConfig.load(Path(path).with_name(CONFIG_NAME)) if config is None else config
    generator = Generator(config)
    stored = _read(path, ("generator",), "a checkpoint of HiFi-GAN's generator (g_*)")
    _load(generator, stored["generator"], path)
    generator.eval()
    return generator.remove_weight_norm() if remove_weight_norm else generator


def save_training(folder: str | Path, training: Training) -> tuple[Path, Path]:
    """Write `g_XXXXXXXX`, `config.json` and `do_XXXXXXXX`, named after the steps that are done.

    The second is written last: a run goes on from a pair, so an interruption between the two loses nothing.
    """
    name = f"{training.steps:08d}"
    generator, other = Path(folder) / f"g_{name}", Path(folder) / f"do_{name}"
    save_generator(generator, training.generator)
    with atomic_path(other) as temporary:
        torch.save(
            {
                "mpd": original_keys(training.mpd.state_dict()),
                "msd": original_keys(training.msd.state_dict()),
                "optim_g": training.optim_g.state_dict(),
                "optim_d": training.optim_d.state_dict(),
                "steps": training.steps,
                "epoch": training.epoch,
                "batch": training.batch,
            },
            temporary,
        )
    return generator, other


def load_training(folder: str | Path, training: Training) -> bool:
    """Go on from the newest pair of a folder; False if there is none.

    Raises:
        FileError: If a file is damaged or belongs to another architecture.
    """
    pairs = [path for path in _numbered(Path(folder), "do_") if _generator_of(path).is_file()]
    if not pairs:
        return False
    path = pairs[-1]
    generator = _read(_generator_of(path), ("generator",), "a checkpoint of HiFi-GAN's generator (g_*)")
    _load(training.generator, generator["generator"], _generator_of(path))
    stored = load_discriminators(path, training.mpd, training.msd)
    try:
        training.optim_g.load_state_dict(stored["optim_g"])
        training.optim_d.load_state_dict(stored["optim_d"])
    except (ValueError, KeyError) as error:
        raise FileError(path, f"optimisers of other networks ({error})", "those of this run") from error
    training.steps, training.epoch = int(stored["steps"]), int(stored["epoch"])
    training.batch = int(stored.get("batch", 0))
    return True


def load_discriminators(path: str | Path, mpd: nn.Module, msd: nn.Module) -> dict[str, Any]:
    """Read the discriminators of `do_XXXXXXXX` into the two; the rest of the file is returned.

    Raises:
        FileError: If the file is damaged or belongs to another architecture.
    """
    names = ("mpd", "msd", "optim_g", "optim_d", "steps", "epoch")
    stored = _read(path, names, "a training checkpoint of HiFi-GAN (do_*)")
    _load(mpd, stored["mpd"], path)
    _load(msd, stored["msd"], path)
    return stored


def latest(folder: str | Path, prefix: str) -> Path:
    """The checkpoint of most steps in a folder.

    Args:
        folder: Where to look.
        prefix: `g_` or `do_`.

    Raises:
        FileError: If there is none.
    """
    found = _numbered(Path(folder), prefix)
    if not found:
        raise FileError(folder, f"no checkpoint {prefix}*", f"a folder with {prefix}XXXXXXXX")
    return found[-1]


def _numbered(folder: Path, prefix: str) -> list[Path]:
    entries = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in entries if re.fullmatch(prefix + r"\d{8}", path.name))


def _generator_of(path: Path) -> Path:
    return path.with_name("g_" + path.name.removeprefix("do_"))


def _read(path: str | Path, names: tuple[str, ...], wanted: str) -> dict[str, Any]:
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise FileError(path, "no such file", wanted) from error
    except Exception as error:
        # Of bytes that are no checkpoint torch's reader makes any exception.
        if isinstance(error, OSError):
            raise
        raise FileError(path, "a file that torch cannot read as weights", wanted) from error
    if not isinstance(stored, dict) or any(name not in stored for name in names):
        held = ", ".join(map(str, stored)) if isinstance(stored, dict) else type(stored).__name__
        raise FileError(path, f"{held[:80]}", wanted)
    return stored


def _load(module: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Load a state dict, or say what the first thing is that does not fit."""
    found = current_keys(state, module)
    expected = module.state_dict()
    spelled = dict(zip(expected, original_keys(expected), strict=True))
    for key, value in expected.items():
        if key not in found:
            raise FileError(
                path, f"no {spelled[key]}", f"one of shape {list(value.shape)}, as its config.json says"
            )
        if found[key].shape != value.shape:
            raise FileError(
                path,
                f"{spelled[key]} of shape {list(found[key].shape)}",
                f"{list(value.shape)}, as its config.json says",
            )
    surplus = next((key for key in found if key not in expected), None)
    if surplus is not None:
        raise FileError(path, f"{surplus}", "no such layer, as its config.json says")
    module.load_state_dict(found)
