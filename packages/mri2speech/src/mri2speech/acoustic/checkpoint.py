"""Files of acoustic models: `.pt` with weights, architecture, scaler and mel settings; no code is run.

A checkpoint of the original scripts is read too: a bare state dict, whatever its parts are called, with a
first layer of three channels, which is folded into one (`mri2speech.acoustic.model`).
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audio_io.atomic import atomic_path
from audio_io.errors import ConfigError, FileError
from mri2speech.acoustic.config import AcousticConfig
from mri2speech.acoustic.model import AcousticModel
from mri2speech.config import MelConfig
from mri2speech.features import Scaler

FORMAT = "mri2speech.acoustic.1"
WANTED = "a checkpoint of mri2speech train"


def save(path: str | Path, model: AcousticModel, scaler: Scaler) -> None:
    """Write a model with everything that is needed to use it, atomically."""
    content = {
        "format": FORMAT,
        "config": asdict(model.config),
        "scaler": {"mean": scaler.mean, "std": scaler.std},
        "mel": asdict(scaler.mel),
        "state_dict": {key: value.detach().cpu() for key, value in model.state_dict().items()},
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load(
    path: str | Path,
    *,
    expected: AcousticConfig | None = None,
    scaler: str | Path | None = None,
) -> tuple[AcousticModel, Scaler, MelConfig]:
    """Read a model, ready for inference on the CPU.

    Args:
        path: Of the file.
        expected: Architecture that it must have; for a bare state dict, the one that it is read as (the
            default if None).
        scaler: A scaler.json instead of the checkpoint's own; a bare state dict has none.

    Returns:
        The model in evaluation mode, the scaler, and the mel settings, which are also the scaler's.

    Raises:
        FileError: If a file is missing or cannot be used, the model is of another architecture, or the scaler
            belongs to other mels than the model makes; the sentence names the first thing that differs.
        ConfigError: If a bare state dict comes without a scaler.
    """
    content = _read(Path(path))
    if content.get("format") != FORMAT:
        return _load_bare(path, content, expected or AcousticConfig(), scaler)
    try:
        config = AcousticConfig(**content["config"])
        mel = MelConfig(**content["mel"])
        stored = Scaler(float(content["scaler"]["mean"]), float(content["scaler"]["std"]), mel)
        state = dict(content["state_dict"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(path, f"a checkpoint that cannot be read ({error})", WANTED) from error
    if expected is not None:
        for field in fields(AcousticConfig):
            found, wanted = getattr(config, field.name), getattr(expected, field.name)
            if found != wanted:
                raise FileError(path, f"a model with {field.name} = {found}", f"{field.name} = {wanted}")
    model = AcousticModel(config)
    load_state(model, state, path)
    return model.eval(), stored if scaler is None else Scaler.load(scaler, expected=mel), mel


def load_state(model: AcousticModel, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Copy weights into a model; a first layer of three channels is summed to one.

    Raises:
        FileError: If a key is missing, unknown, or of another shape; the sentence names the first one.
    """
    own = model.state_dict()
    folded = {key: _folded(value, own.get(key)) for key, value in state.items()}
    for key, value in own.items():
        if key not in folded:
            raise FileError(path, f"weights of another architecture, without {key}", f"{key} {_shape(value)}")
        if folded[key].shape != value.shape:
            raise FileError(
                path, f"weights of another architecture, {key} {_shape(folded[key])}", _shape(value)
            )
    if unknown := next((key for key in folded if key not in own), None):
        raise FileError(path, f"weights of another architecture, with {unknown}", "no such key")
    model.load_state_dict(folded)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise FileError(path, "no such file", WANTED) from error
    except OSError:
        raise
    except Exception as error:
        # Of bytes that are no pickle torch's reader makes any exception: IndexError, KeyError, EOFError.
        raise FileError(path, "a file that is no checkpoint, or not a whole one", WANTED) from error
    if not isinstance(content, dict):
        raise FileError(path, f"a {type(content).__name__}", WANTED)
    return content


def _load_bare(
    path: str | Path, content: dict[str, Any], config: AcousticConfig, scaler: str | Path | None
) -> tuple[AcousticModel, Scaler, MelConfig]:
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(content.get(name), dict):
            content = content[name]
            break
    state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise FileError(path, "no weights", WANTED)
    if scaler is None:
        raise ConfigError("scaler", f"none, and {path} holds weights alone", "the scaler.json they belong to")
    model = AcousticModel(config)
    load_state(model, _renamed(state, model, path), path)
    used = Scaler.load(scaler)
    if used.mel.n_mels != config.n_mels:
        raise FileError(scaler, f"made with n_mels = {used.mel.n_mels}", f"n_mels = {config.n_mels}")
    return model.eval(), used, used.mel


def _renamed(state: Mapping[str, Tensor], model: AcousticModel, path: str | Path) -> dict[str, Tensor]:
    """The state with our names for its three parts, which are told apart by what they hold."""
    first = next(key for key in model.state_dict() if key.startswith("backbone.")).removeprefix("backbone.")
    prefixes: dict[str, str] = {}
    for key in state:
        if key.endswith(first):
            prefixes[key.removesuffix(first)] = "backbone."
        elif key.endswith("weight_ih_l0"):
            prefixes[key.removesuffix("weight_ih_l0")] = "lstm."
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        old = max((prefix for prefix in prefixes if key.startswith(prefix)), key=len, default=None)
        new = f"head.{key.rpartition('.')[2]}" if old is None else prefixes[old] + key.removeprefix(old)
        if new in renamed:
            raise FileError(path, f"{key}, a second one of {new}", "one CNN, one LSTM and one linear layer")
        renamed[new] = value
    return renamed


def _folded(value: Tensor, own: Tensor | None) -> Tensor:
    stem = own is not None and own.ndim == value.ndim == 4 and own.shape[1] == 1 and value.shape[1] == 3
    return value.sum(dim=1, keepdim=True) if stem else value


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "scalar"
