"""Converted files that another runtime runs, with the face of a `Program`."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from audio_io.errors import FileError, UserError
from separation_coreml.core_ml_tools import coremltools
from separation_coreml.mil import Feature, Program
from separation_coreml.mil.values import TensorType

# What ONNX Runtime calls its types.
_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


class MissingOnnxError(UserError):
    """The optional dependencies for ONNX files are not installed."""


class CoreMLProgram:
    """A package that Core ML itself runs; macOS only.

    Args:
        program: The same package, loaded.

    Attributes:
        path: The package.
        metadata: Its texts.
        inputs: What it takes.
        outputs: What it gives.
    """

    def __init__(self, program: Program) -> None:
        self.path, self.metadata = program.path, program.metadata
        self.inputs, self.outputs = program.inputs, program.outputs
        self._model = coremltools().models.MLModel(str(program.path))

    def run(self, **tensors: Tensor) -> dict[str, Tensor]:
        """Compute the outputs."""
        outputs = self._model.predict({name: tensor.numpy() for name, tensor in tensors.items()})
        return {feature.name: torch.as_tensor(outputs[feature.name]) for feature in self.outputs}


class OnnxProgram:
    """An ONNX file that ONNX Runtime runs, on the CPU.

    Args:
        path: The file.

    Attributes:
        path: The file.
        metadata: Its texts.
        inputs: What it takes; a size that may vary is None in its type and 1 by default.
        outputs: What it gives.

    Raises:
        MissingOnnxError: If the extra `onnx` is not installed.
        FileError: If ONNX Runtime cannot load it, or it takes or gives no tensors of numbers.
    """

    def __init__(self, path: str | Path) -> None:
        require_onnx("ONNX files")
        import onnxruntime

        self.path = Path(path)
        if not self.path.is_file():
            raise FileError(self.path, "no file", "an ONNX model")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = onnxruntime.InferenceSession(
                str(self.path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its classes have no common base
            raise FileError(self.path, "a file that ONNX Runtime cannot load", "an ONNX model") from error
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.inputs = tuple(self._feature(value) for value in self._session.get_inputs())
        self.outputs = tuple(self._feature(value) for value in self._session.get_outputs())

    def run(self, **tensors: Tensor) -> dict[str, Tensor]:
        """Compute the outputs."""
        names = [feature.name for feature in self.outputs]
        given = {name: tensor.numpy() for name, tensor in tensors.items()}
        outputs = self._session.run(names, given)
        return {name: torch.from_numpy(output) for name, output in zip(names, outputs, strict=True)}

    def _feature(self, value: "onnxruntime.NodeArg") -> Feature:  # type: ignore[name-defined]  # noqa: F821
        if value.type not in _TYPES:
            raise FileError(self.path, f"{value.name} of the type {value.type}", "tensors of numbers")
        shape = tuple(size if isinstance(size, int) else None for size in value.shape)
        default = tuple(size or 1 for size in shape)
        return Feature(value.name, TensorType(_TYPES[value.type], shape), default)


def require_onnx(purpose: str) -> None:
    """Refuse to go on without the extra `onnx`.

    Raises:
        MissingOnnxError: If one of its modules is not installed.
    """
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingOnnxError(
            f"{purpose}: {' and '.join(missing)} {verb} not installed; "
            "run: pip install 'separation-coreml[onnx]'"
        )
