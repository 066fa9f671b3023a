"""Both models as ONNX files for ONNX Runtime, on a phone or in a browser, and a synthesizer that runs them.

    acoustic.onnx   frames [T, H, W] from 0 to 1  ->  mel_db [n_mels, T]
    vocoder.onnx    mel_db [n_mels, T]            ->  waveform [T * hop_length]

T is free. The scaler and the logarithm are inside; what an app has to know is in the files' metadata.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audio_io.atomic import atomic_path
from audio_io.errors import FileError, UserError
from mri2speech.acoustic.model import AcousticModel
from mri2speech.config import IMAGE_SIZE, MelConfig
from mri2speech.features import Scaler, mel_log
from mri2speech.vocoder.generator import Generator

OPSET = 17
# Frames with which a model is traced, and others with which it is checked.
_TRACED, _CHECKED = 12, 19
TOLERANCE = 1e-3  # largest difference to PyTorch, relative to the largest value


class MissingOnnxError(UserError):
    """The extra `onnx` is not installed."""


@dataclass(frozen=True)
class ExportReport:
    """A file, and how far ONNX Runtime is from PyTorch with it: largest difference over the largest value."""

    path: Path
    size_mb: float
    difference: float


class AcousticGraph(nn.Module):
    """Frames to mels in dB, as one graph."""

    def __init__(self, model: AcousticModel, scaler: Scaler) -> None:
        super().__init__()
        self.model, self.mean, self.std = model.eval(), scaler.mean, scaler.std

    def forward(self, frames: Tensor) -> Tensor:
        """`[T, H, W]` to `[n_mels, T]`."""
        normalised: Tensor = self.model.sequence(self.model.encode(frames)[None])[0]
        return (normalised * self.std + self.mean).transpose(0, 1)


class VocoderGraph(nn.Module):
    """Mels in dB to a waveform, as one graph."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator.eval()

    def forward(self, mel_db: Tensor) -> Tensor:
        """`[n_mels, T]` to `[N]`."""
        waveform: Tensor = self.generator(mel_log(mel_db)[None])[0, 0]
        return waveform


def export(
    folder: str | Path, *, model: AcousticModel | None, scaler: Scaler, generator: Generator | None
) -> list[ExportReport]:
    """Write `acoustic.onnx` and `vocoder.onnx`, each held against PyTorch before it appears.

    Args:
        folder: Where to.
        model: The acoustic model; None leaves it out.
        scaler: Of its mels.
        generator: The vocoder, without weight norm; None leaves it out.

    Raises:
        MissingOnnxError: If the extra is not installed.
        FileError: If ONNX Runtime computes something else than PyTorch; no such file appears.
        ConfigError: If the vocoder takes other mels than the scaler is of.
    """
    require_onnx()
    if generator is not None:
        generator.config.require_mel(scaler.mel)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    about = {
        "sample_rate": str(scaler.mel.sample_rate),
        "hop_length": str(scaler.mel.hop_length),
        "mel": json.dumps(asdict(scaler.mel)),
    }
    generated = torch.Generator().manual_seed(0)
    reports = []
    if model is not None:
        size = IMAGE_SIZE
        frames = torch.rand(_CHECKED, size, size, generator=generated)
        about_model = {**about, "image_size": str(size), "acoustic": json.dumps(asdict(model.config))}
        graph = AcousticGraph(model, scaler)
        reports.append(_export(graph, frames, target / "acoustic.onnx", "frames", "mel_db", about_model))
    if generator is not None:
        mel_db = -60 + 15 * torch.randn(generator.config.num_mels, _CHECKED, generator=generated)
        reports.append(
            _export(VocoderGraph(generator), mel_db, target / "vocoder.onnx", "mel_db", "waveform", about)
        )
    return reports


def require_onnx() -> None:
    """Refuse to go on without the extra.

    Raises:
        MissingOnnxError: If it is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("onnx") is None or importlib.util.find_spec("onnxruntime") is None:
        raise MissingOnnxError("ONNX needs onnx and onnxruntime; run: pip install 'mri2speech[onnx]'")


def _export(
    graph: nn.Module, example: Tensor, path: Path, given: str, made: str, about: Mapping[str, str]
) -> ExportReport:
    import onnx

    axis = 0 if given == "frames" else 1
    # The exporter puts the mode back that it finds, for all submodules.
    graph = graph.eval()
    traced = example.narrow(axis, 0, _TRACED).contiguous()
    names = {given: {axis: "T"}, made: {1: "T"} if made == "mel_db" else {0: "N"}}
    with torch.inference_mode(), warnings.catch_warnings(), atomic_path(path) as temporary:
        warnings.simplefilter("ignore")  # the tracer's, about shapes that are checked below
        torch.onnx.export(
            graph,
            (traced,),
            str(temporary),
            input_names=[given],
            output_names=[made],
            dynamic_axes=names,
            opset_version=OPSET,
            dynamo=False,
        )
        stored = onnx.load(str(temporary))
        onnx.helper.set_model_props(stored, dict(about))
        onnx.save(stored, str(temporary))
        expected = graph(example)
        found = torch.from_numpy(_session(temporary).run(None, {given: example.numpy()})[0])
        difference = float((found - expected).abs().max() / expected.abs().max())
        if not difference <= TOLERANCE:
            wanted = f"at most {TOLERANCE:g} of the largest value"
            raise FileError(path, f"ONNX Runtime {difference:.1e} away from PyTorch", wanted)
    return ExportReport(path, path.stat().st_size / 1e6, difference)


def _session(path: Path) -> Any:  # noqa: ANN401 - onnxruntime has no types
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
    except Exception as error:
        # ONNX Runtime raises classes of its own for each kind of defect.
        raise FileError(path, "no model for ONNX Runtime", "a file of mri2speech export") from error


def _mel_of(session: Any, path: Path) -> MelConfig:  # noqa: ANN401 - see _session
    try:
        return MelConfig(**json.loads(session.get_modelmeta().custom_metadata_map["mel"]))
    except (KeyError, ValueError, TypeError) as error:
        raise FileError(path, f"metadata without {error}", "a file of mri2speech export") from error


class OnnxSynthesizer:
    """The exported models in ONNX Runtime.

    Args:
        folder: With `acoustic.onnx` and `vocoder.onnx`.

    Attributes:
        mel_config: Settings of the mels.

    Raises:
        MissingOnnxError: If the extra is not installed.
        FileError: If a file is missing or no such model, or the two are of different mels.
    """

    def __init__(self, folder: str | Path) -> None:
        require_onnx()
        root = Path(folder)
        for name in ("acoustic.onnx", "vocoder.onnx"):
            if not (root / name).is_file():
                raise FileError(root / name, "no such file", "a folder written by mri2speech export")
        self._acoustic, self._vocoder = _session(root / "acoustic.onnx"), _session(root / "vocoder.onnx")
        self.mel_config = _mel_of(self._acoustic, root / "acoustic.onnx")
        if differs := _mel_of(self._vocoder, root / "vocoder.onnx").difference(self.mel_config):
            wanted = f"{differs[1]}, as acoustic.onnx has it"
            raise FileError(root / "vocoder.onnx", f"a vocoder of {differs[0]}", wanted)

    def mel(self, frames: np.ndarray) -> Tensor:
        """See `Synthesizer.mel`."""
        return torch.from_numpy(self._acoustic.run(None, {"frames": np.asarray(frames, dtype=np.float32)})[0])

    def vocode(self, mel_db: Tensor) -> Tensor:
        """See `Synthesizer.vocode`."""
        return torch.from_numpy(self._vocoder.run(None, {"mel_db": mel_db.float().numpy()})[0])

    def speech(self, frames: np.ndarray) -> Tensor:
        """`vocode` of `mel`."""
        return self.vocode(self.mel(frames))
