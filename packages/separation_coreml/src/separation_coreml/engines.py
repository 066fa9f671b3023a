"""What runs a separator on one segment: PyTorch, ONNX Runtime, the interpreter of ML programs, Core ML.

A model is a name of the registry, or a converted file: `.onnx` or `.mlpackage`. A converted file tells its
stems, rate and segment by the metadata that `Separator.metadata` has put there.
"""

import contextlib
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from audio_io.errors import ConfigError, FileError
from separation_coreml import registry
from separation_coreml.families.base import Separator

if TYPE_CHECKING:
    from separation_coreml.verify import Runnable

EngineName = Literal["auto", "torch", "onnx", "mil", "coreml"]
_STEM = re.compile(r"\w([\w -]*\w)?")
_KEYS = ("stems", "sample_rate", "channels", "segment", "overlap", "normalize")


@dataclass(frozen=True)
class Engine:
    """A model that can be run on segments.

    Attributes:
        name: Which engine it is.
        stems: What it gives, in order.
        sample_rate: In Hz.
        channels: Of the mixture and of each stem.
        segment: Length in samples that `run` takes, no more and no less.
        overlap: Share of a segment that the next one should cover again.
        normalize: Whether a song is to be brought to mean 0 and standard deviation 1 before.
        run: From a segment of the mixture to its stems.

    Shape:
        - input of `run`: `[channels, segment]`
        - output of `run`: `[stems, channels, segment]`
    """

    name: str
    stems: tuple[str, ...]
    sample_rate: int
    channels: int
    segment: int
    overlap: float
    normalize: bool
    run: Callable[[Tensor], Tensor]


def load_engine(
    model: str | Path,
    engine: EngineName = "auto",
    *,
    weights: registry.Weights = "official",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    segment_seconds: float | None = None,
    device: str | torch.device = "cpu",
) -> Engine:
    """The engine for a model.

    Args:
        model: A name of the registry, an `.onnx` or an `.mlpackage`.
        engine: `auto` takes PyTorch for a name, ONNX Runtime for `.onnx`, and for `.mlpackage` Core ML where
            there is one (macOS) and the interpreter elsewhere.
        weights: For a name, as for `registry.build`.
        seed: As for `registry.build`.
        checkpoint: As for `registry.build`; a converted file has the weights it was converted with.
        segment_seconds: As for `registry.build`; a converted file has the segment it was converted with.
        device: Where PyTorch computes; other engines choose for themselves.

    Raises:
        ConfigError: If model and engine do not fit each other, or the engine is not on this machine.
        MissingOnnxError: If an ONNX file is given and the extra `onnx` is not installed.
        FileError: If a file cannot be used.
        WeightsNotFoundError: If official weights are not to be had.
    """
    suffix = Path(model).suffix.lower()
    package = "coreml" if platform.system() == "Darwin" else "mil"
    if engine == "auto":
        engine = "onnx" if suffix == ".onnx" else package if suffix == ".mlpackage" else "torch"  # type: ignore[assignment]
    expected = {"torch": "", "onnx": ".onnx", "mil": ".mlpackage", "coreml": ".mlpackage"}[engine]
    if expected and suffix != expected:
        raise ConfigError("model", repr(str(model)), f"a converted model ({expected}) for engine {engine}")
    if engine == "torch":
        separator = registry.build(
            str(model), weights=weights, seed=seed, checkpoint=checkpoint, segment_seconds=segment_seconds
        )
        return torch_engine(separator, device)
    if segment_seconds is not None:
        raise ConfigError(
            "segment_seconds", segment_seconds, "nothing: a converted model has its own segment"
        )
    if checkpoint is not None:
        raise ConfigError("checkpoint", checkpoint, "nothing: a converted model has its own weights")
    if torch.device(device).type != "cpu":
        raise ConfigError("device", repr(str(device)), f"cpu: {engine} does not run on what PyTorch runs on")
    if not Path(model).exists():
        raise FileError(model, "nothing", f"a converted model ({expected})")
    return {"onnx": _onnx_engine, "mil": _mil_engine, "coreml": _coreml_engine}[engine](Path(model))


def torch_engine(separator: Separator, device: str | torch.device = "cpu") -> Engine:
    """PyTorch, in evaluation mode."""
    separator = separator.to(device).eval()

    @torch.inference_mode()
    def run(segment: Tensor) -> Tensor:
        with _mha_without_fast_path():
            stems: Tensor = separator(segment[None].to(device))[0].cpu()
            return stems

    return Engine(
        "torch",
        separator.stems,
        separator.sample_rate,
        separator.channels,
        separator.segment,
        separator.overlap,
        separator.normalize,
        run,
    )


@contextlib.contextmanager
def _mha_without_fast_path() -> Iterator[None]:
    """The fused attention of `nn.MultiheadAttention` is slower on CPU: htdemucs takes 1.1 times as long."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(value=False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(value=before)


def _onnx_engine(path: Path) -> Engine:
    from separation_coreml.runtimes import OnnxProgram

    return _program_engine("onnx", path, OnnxProgram(path))


def _mil_engine(path: Path) -> Engine:
    from separation_coreml.mil import load_program

    return _program_engine("mil", path, load_program(path))


def _program_engine(name: str, path: Path, program: "Runnable") -> Engine:
    def run(segment: Tensor) -> Tensor:
        (stems,) = program.run(**{program.inputs[0].name: segment[None]}).values()
        return stems.float()

    counts = len(program.inputs), len(program.outputs)
    accepts = program.inputs[0].accepts if program.inputs else None
    return _converted(name, path, program.metadata, counts, run, accepts)


def _coreml_engine(path: Path) -> Engine:
    if platform.system() != "Darwin":
        expected = "macOS, or engine mil, which runs anywhere"
        raise ConfigError("engine", f"'coreml' on {platform.system()}", expected)
    import coremltools

    model = coremltools.models.MLModel(str(path))
    description: Any = model.get_spec().description
    names = [value.name for value in description.input]

    def run(segment: Tensor) -> Tensor:
        (stems,) = model.predict({names[0]: segment[None].numpy()}).values()
        return torch.from_numpy(stems).float()

    metadata = dict(model.user_defined_metadata)
    return _converted("coreml", path, metadata, (len(names), len(description.output)), run)


def _converted(
    name: str,
    path: Path,
    metadata: Mapping[str, str],
    counts: tuple[int, int],
    run: Callable[[Tensor], Tensor],
    accepts: Callable[[tuple[int, ...]], bool] | None = None,
) -> Engine:
    """The engine of a converted file, whose metadata may be anybody's.

    Args:
        name: Of the engine.
        path: The file.
        metadata: From the file.
        counts: Of inputs and outputs.
        run: From `[channels, segment]` to `[1, stems, channels, segment]`.
        accepts: Whether the input may have a shape, if that is known.
    """
    if counts != (1, 1) or metadata.get("io") == "core":
        # A core may well have one input and one output, which are spectrograms then.
        found = f"a network with {counts[0]} inputs and {counts[1]} outputs"
        found = "a network between two STFTs" if metadata.get("io") == "core" else found
        raise FileError(path, found, "one from waveform to stems (converted without --io core)")
    missing = [key for key in _KEYS if key not in metadata]
    if missing:
        raise FileError(
            path, f"no {missing[0]!r} in its metadata", "a separator converted by separation-coreml"
        )
    stems = tuple(metadata["stems"].split(","))
    if len({stem.casefold() for stem in stems}) != len(stems) or not all(map(_STEM.fullmatch, stems)):
        # Files are named after them.
        raise FileError(path, f"stems {metadata['stems']!r}", "different names of letters and digits")
    rate, channels, segment = (_whole(path, metadata, key) for key in ("sample_rate", "channels", "segment"))
    if accepts is not None and not accepts((1, channels, segment)):
        found = f"an input that does not take the shape {[1, channels, segment]} of its metadata"
        raise FileError(path, found, "the metadata of this model")

    def checked(part: Tensor) -> Tensor:
        result = run(part)
        expected = [1, len(stems), channels, segment]
        if list(result.shape) != expected:
            raise FileError(
                path, f"an output of shape {list(result.shape)}", f"{expected}, as its metadata says"
            )
        return result[0]

    overlap, normalize = _share(path, metadata["overlap"]), metadata["normalize"] == "true"
    return Engine(name, stems, rate, channels, segment, overlap, normalize, checked)


def _whole(path: Path, metadata: Mapping[str, str], key: str) -> int:
    text = metadata[key]
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise FileError(path, f"{key} {text!r} in its metadata", "a whole number above 0")
    return int(text)


def _share(path: Path, text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < 1:
            return float(text)
    raise FileError(path, f"overlap {text!r} in its metadata", "a number from 0 to below 1")
