"""Types and constants of a program's messages as Python and NumPy values."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from audio_io.errors import FileError
from separation_coreml.mil.blobs import PACKED_BITS, Array, decode
from separation_coreml.mil.proto import messages
from separation_coreml.mil.reader import Package

Constant = Array | str | tuple[Any, ...]

DTYPES = {
    "BOOL": "bool",
    "STRING": "string",
    "FLOAT16": "float16",
    "FLOAT32": "float32",
    "FLOAT64": "float64",
    **{f"{sign}INT{bits}": f"{sign}int{bits}".lower() for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{name.upper(): name for name in PACKED_BITS},
}


@dataclass(frozen=True)
class TensorType:
    """What the program declares of a value.

    Attributes:
        dtype: Name of the number type as in NumPy, or `string`, `int4`, `uint1`…
        shape: Sizes; None where a size is only known when the program runs.
    """

    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('?' if size is None else str(size) for size in self.shape)}]"


def read_type(message: Any, package: Package) -> TensorType:  # noqa: ANN401 - messages have no types
    """The type in a `ValueType` message.

    Raises:
        FileError: If it is no tensor or its numbers are of a kind that is not handled.
    """
    kind = message.WhichOneof("type")
    if kind == "listType":
        return read_type(message.listType.type, package)
    if kind != "tensorType":
        raise FileError(package.path, f"a value of {kind or 'no type'}", "programs of tensors")
    _, mil = messages()
    name = mil.DataType.Name(message.tensorType.dataType)
    if name not in DTYPES:
        raise FileError(package.path, f"numbers of the type {name}", "one of " + ", ".join(DTYPES))
    sizes = [
        int(dimension.constant.size) if dimension.WhichOneof("dimension") == "constant" else None
        for dimension in message.tensorType.dimensions
    ]
    return TensorType(DTYPES[name], tuple(sizes))


def read_value(message: Any, package: Package) -> Constant:  # noqa: ANN401 - see read_type
    """The constant in a `Value` message: an array, a string, or a tuple of these.

    Raises:
        FileError: If it does not agree with its type, or its data are not in the weight file.
    """
    declared = read_type(message.type, package)
    if message.WhichOneof("value") == "blobFileValue":
        blob = message.blobFileValue
        count = math.prod(_known(declared, package))
        numbers = package.weight_file(blob.fileName).read(blob.offset, declared.dtype, count)
        return numbers.reshape(_known(declared, package))
    immediate = message.immediateValue
    if immediate.WhichOneof("value") == "list":
        return tuple(read_value(item, package) for item in immediate.list.values)
    return _immediate(immediate.tensor, declared, package)


def _known(declared: TensorType, package: Package) -> tuple[int, ...]:
    if any(size is None for size in declared.shape):
        raise FileError(package.path, f"a constant of the type {declared}", "constants of known shape")
    return tuple(size for size in declared.shape if size is not None)


def _immediate(tensor: Any, declared: TensorType, package: Package) -> Constant:  # noqa: ANN401 - see read_type
    shape = _known(declared, package)
    count = math.prod(shape)
    field = tensor.WhichOneof("value")
    values = getattr(tensor, field).values if field else ()
    if declared.dtype == "string":
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in values]
        if len(texts) != count:
            raise FileError(package.path, f"{len(texts)} strings for {declared}", f"{count}")
        return texts[0] if shape == () else tuple(texts)
    if field == "bytes":
        bits = PACKED_BITS.get(declared.dtype) or 8 * np.dtype(declared.dtype).itemsize
        if len(values) != (count * bits + 7) // 8:
            raise FileError(package.path, f"{len(values)} bytes for {declared}", f"{(count * bits + 7) // 8}")
        return decode(np.frombuffer(bytes(values), np.uint8), declared.dtype, count).reshape(shape)
    storage = "uint8" if declared.dtype.startswith("uint") else "int8"
    array = np.array(values, dtype=storage if declared.dtype in PACKED_BITS else declared.dtype)
    if array.size != count:
        raise FileError(package.path, f"{array.size} numbers for {declared}", f"{count}")
    return array.reshape(shape)
