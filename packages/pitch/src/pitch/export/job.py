"""A network to a file that is checked before it appears."""

import math
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from audio_io.atomic import atomic_path
from pitch.constants import PITCH_BINS, SAMPLE_RATE, WINDOW_SIZE
from pitch.export import parity
from pitch.export.config import ExportConfig
from pitch.export.formats import read_file, write_file
from pitch.export.graph import build_graph
from pitch.extras import require_extra
from pitch.weights import load_model, weights_digest


class ParityError(Exception):
    """An exported file does not compute what the package computes; it was not kept."""


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: Where it is.
        size: In bytes.
        max_difference: Greatest difference from the eager network; see `pitch.export.parity`.
        inputs: Name and shape of the input.
        outputs: Names and shapes of the outputs.
        metadata: What is written in the file.
    """

    path: Path
    size: int
    max_difference: float
    inputs: str
    outputs: str
    metadata: dict[str, str]


def export_model(
    path: str | Path, config: ExportConfig | None = None, *, weights: str | Path | None = None
) -> Exported:
    """Write the network of a capacity as a file that runs without this package.

    The file is read back, run beside the eager network and only then given its name.

    Args:
        path: Where to write; customary are `.onnx`, `.pt` (TorchScript) and `.pt2` (torch.export).
        config: What goes into the file.
        weights: A state dict to use instead of the installed weights.

    Raises:
        MissingExtraError: If the format is ONNX and its packages are not installed.
        WeightsNotFoundError: If the weights of the capacity are not here.
        WeightsError: If the weights do not fit.
        ParityError: If the file does not compute the same; an earlier file at `path` stays.
    """
    config = config if config is not None else ExportConfig()
    if config.format == "onnx":
        require_extra("export", "format onnx")
    network = load_model(config.model, weights=weights)
    described = describe(config, weights)
    with atomic_path(path) as temporary:
        write_file(build_graph(network, config), config, temporary, described)
        difference = parity.max_difference(read_file(temporary, config), network, config)
        if not difference <= parity.TOLERANCE:
            size = "NaN" if math.isnan(difference) else f"{difference:.1e}"
            raise ParityError(
                f"{path}: the file differs from the network by {size}, more than {parity.TOLERANCE:.0e}; "
                "it was not kept"
            )
    inputs, outputs = _shapes(config)
    return Exported(Path(path), Path(path).stat().st_size, difference, inputs, outputs, described)


def describe(config: ExportConfig, weights: str | Path | None = None) -> dict[str, str]:
    """What an exported file says about itself."""
    licence = "MIT (code and weights)" if weights is None else "MIT (code); weights as their owner says"
    return {
        "capacity": config.model,
        "sample_rate": str(SAMPLE_RATE),
        "hop_length": str(config.hop_length) if config.input == "waveform" else "any",
        "input": config.input,
        "decode": config.decode,
        "weights_sha256": weights_digest(config.model, weights),
        "licence": licence,
        "version": f"pitch {metadata.version('pitch')}",
    }


def _shapes(config: ExportConfig) -> tuple[str, str]:
    if config.input == "frames":
        lead, inputs = "N", f"frames [N, {WINDOW_SIZE}]"
    else:
        lead, inputs = "B, 1 + T // hop_length", "waveform [B, T]"
    shapes = [f"{lead}, {PITCH_BINS}", lead, lead]
    outputs = [f"{name} [{shape}]" for name, shape in zip(config.output_names, shapes, strict=False)]
    return inputs, ", ".join(outputs)
