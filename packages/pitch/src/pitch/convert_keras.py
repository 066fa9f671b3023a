"""The official Keras weights as a state dict of `pitch.model.Crepe`.

Keras keeps a convolution as (height, width, in, out) and torch as (out, in, height, width); a dense layer
is transposed; the four vectors of a BatchNorm change their names only. Nothing is computed: every number of
the file stands in the result, bit for bit.

Reference:
    crepe/core.py, `build_and_load_model` (marl/crepe), which names the layers.
"""

import bz2
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_io.atomic import atomic_path
from pitch.capacities import CAPACITIES, Capacity
from pitch.model import Crepe
from pitch.weights import WeightsError

EXPECTED = "the Keras weights of a CREPE (.h5 or .h5.bz2)"

# Keras variable -> torch parameter, by kind of layer.
_CONVOLUTION = {"kernel": "weight", "bias": "bias"}
_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# The axes of a Keras kernel in torch's order, by its number of axes.
_AXES: dict[int, tuple[int, ...]] = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}

# A `.weights.h5` file numbers what other files name: layers of a kind in order, and the variables of each.
_NUMBERED_LAYER = re.compile(r"layers/(conv2d|batch_normalization|dense)(?:_(\d+))?/vars/(\d+)")
_NUMBERED_NAMES = {"conv2d": "conv{}", "batch_normalization": "conv{}-BN", "dense": "classifier"}

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_BZIP2_MAGIC = b"BZh"


def convert_file(source: str | Path, target: str | Path) -> Capacity:
    """Convert a Keras file to a `.pth` file that torchcrepe and `pitch --weights` read; returns its capacity.

    Raises:
        WeightsError: If the source is not the weights of a CREPE.
    """
    capacity, state = read_keras(source)
    with atomic_path(target) as temporary:
        torch.save(state, temporary)
    return capacity


def read_keras(path: str | Path) -> tuple[Capacity, dict[str, Tensor]]:
    """The capacity of a Keras file, recognised by its shapes, and its state dict in float32.

    Args:
        path: Weights saved by Keras (2 or 3) in HDF5 (`.h5` or `.weights.h5`), alone or within a whole model,
            compressed by bzip2 or not.

    Raises:
        WeightsError: If the file cannot be read, a tensor is missing or left over, or a shape is of no
            capacity.
    """
    path = Path(path)
    tensors = _named_tensors(path)
    state: dict[str, Tensor] = {}
    for layer, variable, value in tensors:
        name = _torch_name(layer, variable)
        if name is None or name in state:
            raise WeightsError(path, f"a tensor {layer}/{variable} that no CREPE has", EXPECTED)
        state[name] = torch.from_numpy(np.ascontiguousarray(value.transpose(_AXES[value.ndim])))
    capacity = _recognise(path, state)
    for number in range(1, len(capacity.channels) + 1):
        state[f"conv{number}_BN.num_batches_tracked"] = torch.tensor(0)
    return capacity, state


def _recognise(path: Path, state: Mapping[str, Tensor]) -> Capacity:
    first = state.get("conv1.bias")
    by_channels = {capacity.channels[0]: capacity for capacity in CAPACITIES.values()}
    if first is None:
        raise WeightsError(path, "no tensor conv1/bias", EXPECTED)
    capacity = by_channels.get(len(first))
    if capacity is None:
        known = ", ".join(f"{name} {c.channels[0]}" for name, c in CAPACITIES.items())
        raise WeightsError(path, f"{len(first)} channels in conv1", f"those of a capacity ({known})")
    with torch.device("meta"):
        wanted = {key: value.shape for key, value in Crepe(capacity.name).state_dict().items()}
    for name, shape in wanted.items():
        if name.endswith("num_batches_tracked"):
            continue
        if name not in state:
            raise WeightsError(path, f"no tensor for {name}", f"all of CREPE {capacity.name}")
        if state[name].shape != shape:
            found = f"{name} of shape {tuple(state[name].shape)}"
            raise WeightsError(path, found, f"{tuple(shape)} (CREPE {capacity.name})")
    return capacity


def _torch_name(layer: str, variable: str) -> str | None:
    parameters = _BATCH_NORM if layer.endswith("-BN") else _CONVOLUTION
    if variable not in parameters or not re.fullmatch(r"conv[1-6](-BN)?|classifier", layer):
        return None
    return f"{layer.replace('-', '_')}.{parameters[variable]}"


def _named_tensors(path: Path) -> list[tuple[str, str, npt.NDArray[np.float32]]]:
    """Layer, variable and value of each tensor in the file."""
    import h5py

    try:
        with h5py.File(io.BytesIO(read_hdf5_bytes(path)), "r") as file:
            if "layers" in file:
                # Beside them are the optimizer's variables.
                return list(_walk(path, file["layers"], "layers/"))
            return list(_walk(path, file.get("model_weights", file)))
    except OSError as error:
        raise WeightsError(path, "a damaged HDF5 file", EXPECTED) from error


def _walk(path: Path, root: Any, prefix: str = "") -> Iterator[tuple[str, str, npt.NDArray[np.float32]]]:  # noqa: ANN401 - h5py is untyped
    import h5py

    names: list[str] = []
    root.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    for name in names:
        layer, variable = _keras_name(prefix + name)
        value = np.asarray(root[name])
        if value.ndim not in _AXES or value.dtype != np.float32:
            raise WeightsError(path, f"a tensor {name} of {value.dtype} and {value.ndim} axes", EXPECTED)
        yield layer, variable, value


def _keras_name(name: str) -> tuple[str, str]:
    """Layer and variable of a dataset: conv1/conv1_3/kernel:0, conv1/conv1/kernel, layers/conv2d/vars/0."""
    if match := _NUMBERED_LAYER.fullmatch(name):
        kind, number, variable = match.groups()
        layer = _NUMBERED_NAMES[kind].format(int(number or 0) + 1)
        variables = list(_BATCH_NORM if kind == "batch_normalization" else _CONVOLUTION)
        return layer, dict(enumerate(variables)).get(int(variable), variable)
    parts = name.split("/")
    return parts[0], parts[-1].partition(":")[0]


def read_hdf5_bytes(path: Path) -> bytes:
    """The content of an HDF5 file, decompressed if need be.

    Raises:
        WeightsError: If it is no such file.
    """
    if path.is_dir():
        raise WeightsError(path, "a folder", EXPECTED)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(path, "no file", EXPECTED) from None
    if content.startswith(_BZIP2_MAGIC):
        try:
            content = bz2.decompress(content)
        except (OSError, ValueError, EOFError) as error:
            raise WeightsError(path, "a damaged or truncated bzip2 file", EXPECTED) from error
    if not content.startswith(_HDF5_MAGIC):
        raise WeightsError(path, f"a file that begins with {content[:8]!r}", EXPECTED)
    return content
