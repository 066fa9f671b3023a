"""A network and its features as one ONNX graph: the waveforms of four stems go in, probabilities come out.

The Fourier transform is in real arithmetic (`audio_io.realstft`), since ONNX runtimes have no complex
numbers; resizing is two products with matrices that hold what torch's antialiased resizing does.
"""

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from audio_io.atomic import atomic_path
from audio_io.errors import UserError
from audio_io.mel import mel_filters
from audio_io.realstft import RealSTFT
from genre.checkpoint import Checkpoint
from genre.config import STEMS, FeatureConfig
from genre.features import fit_frames, picture, standardise, to_decibels
from genre.run_config import ExportConfig


class ExportError(UserError):
    """The graph cannot be written, or does not compute what the network does."""


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        path: The file.
        difference: Greatest difference of a probability from PyTorch's.
    """

    path: Path
    difference: float


class GenreGraph(nn.Module):
    """Stems to probabilities, in operations that ONNX has.

    Args:
        checkpoint: The network and its settings.

    Shape:
        - input: `[B, 4, N]` with `N` the samples of a window
        - output: `[B, C]`
    """

    filters: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        features = checkpoint.features
        self.features, self.statistics = features, checkpoint.statistics
        self.temperature = checkpoint.temperature
        self.stft = RealSTFT(features.n_fft, features.hop_length)
        filters = mel_filters(features.sample_rate, features.n_fft, features.n_mels)
        self.register_buffer("filters", filters.float())
        height, width = features.n_mels, features.frames
        self.register_buffer("rows", resize_matrix(height, features.image_size))
        self.register_buffer("columns", resize_matrix(width, features.image_size).T.contiguous())
        self.network = checkpoint.network()

    def forward(self, stems: Tensor) -> Tensor:
        """See the class."""
        real, imag = self.stft(stems)  # [B, 4, F, K]
        power = self.filters @ (real.square() + imag.square())
        db = fit_frames(to_decibels(power, self.features.reference), self.features.frames)
        x = standardise(db, self.statistics)
        if self.features.image == "resize":
            x = self.rows @ (x @ self.columns)
        return torch.softmax(self.network.plain_forward(x) / self.temperature, dim=1)


def resize_matrix(size: int, new_size: int) -> Tensor:
    """What antialiased bilinear resizing does along one axis, as a matrix.

    Shape:
        - output: `[new_size, size]`
    """
    identity = torch.eye(size)[None, None]
    resized = functional.interpolate(identity, (new_size, size), mode="bilinear", antialias=True)
    return resized[0, 0]


def export(checkpoint: Checkpoint, target: str | Path, config: ExportConfig | None = None) -> ExportResult:
    """Write the graph, and check it with onnxruntime.

    Names of the genres, sample rate and length of the window are in the file's metadata.

    Args:
        checkpoint: What to write.
        target: The file; `.onnx` by custom.
        config: Operators and tolerance.

    Raises:
        ExportError: If a package is missing, or the file computes something else.
        OSError: If the file cannot be written; it carries its name.
    """
    config = ExportConfig() if config is None else config
    graph = GenreGraph(checkpoint).eval()
    # Two examples: torch.export takes an axis of length 1 for a constant.
    example = example_stems(checkpoint.features)
    with atomic_path(target) as temporary:
        _write(graph, example, config, temporary, _metadata(checkpoint))
        found = run_onnx(temporary, example)
        difference = float((found - expected_probabilities(checkpoint, example)).abs().max())
        if not difference <= config.tolerance:
            raise ExportError(
                f"{target}: found probabilities {difference:.2g} away from PyTorch's, expected at most "
                f"{config.tolerance:g}"
            )
    return ExportResult(Path(target), difference)


def expected_probabilities(checkpoint: Checkpoint, stems: Tensor) -> Tensor:
    """What `genre.predict` computes, for the check.

    Shape:
        - stems: `[B, 4, N]`
        - output: `[B, C]`
    """
    from genre.features import StemMel

    with torch.inference_mode():
        pictures = picture(StemMel(checkpoint.features)(stems), checkpoint.statistics, checkpoint.features)
        return torch.softmax(checkpoint.network()(pictures) / checkpoint.temperature, dim=1)


def example_stems(features: FeatureConfig) -> Tensor:
    """Two windows of tones and noise that fade, so that loud and quiet parts are checked.

    Shape:
        - output: `[2, 4, N]`
    """
    generator = torch.Generator().manual_seed(0)
    shape = (2, len(STEMS), features.samples)
    time = torch.arange(features.samples) / features.sample_rate
    frequency = 110.0 * 2 ** torch.arange(8).reshape(2, 4, 1)
    tones = torch.sin(2 * torch.pi * frequency.clamp(max=features.sample_rate / 4) * time)
    return (0.3 * tones + 0.1 * torch.randn(shape, generator=generator)) * torch.exp(-time)


def run_onnx(path: str | Path, stems: Tensor) -> Tensor:
    """Probabilities that onnxruntime computes on the CPU.

    Raises:
        ExportError: If onnxruntime is missing.

    Shape:
        - stems: `[B, 4, N]`
        - output: `[B, C]`
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing(error) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"stems": stems.numpy()})[0])


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    features = checkpoint.features
    return {
        "labels": json.dumps(checkpoint.labels),
        "stems": json.dumps(STEMS),
        "sample_rate": str(features.sample_rate),
        "samples": str(features.samples),
    }


def _write(
    graph: nn.Module, example: Tensor, config: ExportConfig, path: Path, metadata: dict[str, str]
) -> None:
    try:
        import onnx_ir
        import onnxscript  # noqa: F401 - needed by torch.onnx
    except ImportError as error:
        raise _missing(error) from error
    with _quiet(), torch.no_grad():
        axes = ({0: torch.export.Dim.DYNAMIC},)
        program = torch.export.export(graph, (example,), dynamic_shapes=axes)
        onnx = torch.onnx.export(
            program,
            input_names=["stems"],
            output_names=["probabilities"],
            opset_version=config.opset,
            dynamo=True,
            verbose=False,
        )
        assert onnx is not None
        # The exporter calls the free axis s0.
        onnx.model.graph.inputs[0].shape = onnx_ir.Shape(["batch", *example.shape[1:]])
        (output,) = onnx.model.graph.outputs
        assert output.shape is not None
        output.shape = onnx_ir.Shape(["batch", output.shape[1]])
        onnx.model.metadata_props.update(metadata)
        # One file: weights beside it would be lost by a copy.
        onnx.save(path, external_data=False)


def _missing(error: ImportError) -> ExportError:
    return ExportError(f"{error.name}: found no such package, expected pip install 'genre[onnx]'")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporters say about themselves; the result is checked."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
