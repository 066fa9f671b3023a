"""TensorFlow's checkpoint files, read without TensorFlow.

A checkpoint is a pair: `.index`, a table in LevelDB's format that maps each name to a small protobuf message,
and `.data-…`, where the values lie one after another. Only what checkpoints use is read: one shard, tables
without compression, float32 values.

Reference:
    https://github.com/google/leveldb/blob/main/doc/table_format.md;
    https://github.com/tensorflow/tensorflow, core/protobuf/tensor_bundle.proto
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from separation_coreml.checkpoints import CheckpointError

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48  # bytes
_FLOAT = 1  # DT_FLOAT
_EXPECTED = "a TensorFlow checkpoint"


def read_bundle(index: bytes, data: bytes, path: Path) -> dict[str, Tensor]:
    """All float32 variables of a checkpoint by name.

    Args:
        index: Content of the `.index` file.
        data: Content of the `.data-00000-of-00001` file.
        path: Where they come from, for the message.

    Raises:
        CheckpointError: If they are damaged or of another kind.
    """
    if len(index) < _FOOTER or struct.unpack("<Q", index[-8:])[0] != _MAGIC:
        raise CheckpointError(path, "an index without LevelDB's mark at its end", _EXPECTED)
    try:
        variables = {}
        for name, message in _entries(index):
            if name:  # the entry without a name describes the bundle
                value = _variable(message, data)
                if value is not None:
                    variables[name.decode()] = value
    except (LookupError, ValueError, struct.error) as error:
        raise CheckpointError(path, "a damaged or truncated file", _EXPECTED) from error
    return variables


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(table) - _FOOTER
    for _ in range(2):  # offset and size of the block of metadata, which is empty
        _, position = _varint(table, position)
    for _, handle in _block(table, *_handle(table, position)):
        yield from _block(table, *_handle(handle, 0))


def _handle(content: bytes, position: int) -> tuple[int, int]:
    offset, position = _varint(content, position)
    size, _ = _varint(content, position)
    return offset, size


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    if table[offset + size] != 0:
        raise ValueError("a compressed block")
    block = table[offset : offset + size]
    restarts = struct.unpack("<I", block[-4:])[0]
    end, position, key = size - 4 * (restarts + 1), 0, b""
    while position < end:
        shared, position = _varint(block, position)
        added, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + added]
        position += added
        yield key, block[position : position + length]
        position += length


def _variable(message: bytes, data: bytes) -> Tensor | None:
    """The value that a BundleEntryProto describes; None if it is no float32."""
    fields = _fields(message)
    if fields.get(1, [0])[0] != _FLOAT:
        return None
    dimensions = _fields(_bytes(fields[2][0])).get(2, [])
    shape = [int(_fields(_bytes(dimension)).get(1, [0])[0]) for dimension in dimensions]
    offset, size = int(fields.get(4, [0])[0]), int(fields.get(5, [0])[0])
    if size != 4 * math.prod(shape) or offset + size > len(data):
        raise ValueError("values of another size than their shape has, or beyond the end of the file")
    if size == 0:
        return torch.zeros(shape)
    return torch.frombuffer(bytearray(data[offset : offset + size]), dtype=torch.float32).reshape(shape)


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """The fields of a protobuf message by number."""
    fields: dict[int, list[int | bytes]] = {}
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        value: int | bytes
        match tag & 7:
            case 0:
                value, position = _varint(message, position)
            case 2:
                length, position = _varint(message, position)
                value, position = message[position : position + length], position + length
            case 5:
                value, position = message[position : position + 4], position + 4
            case kind:
                raise ValueError(f"wire type {kind}")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number in place of a message")
    return value


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """A number in base 128, least digit first, and the position after it."""
    value = shift = 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
