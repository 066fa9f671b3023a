"""Settings of an export. Free of torch, so that the command line can show its help at once."""

from dataclasses import dataclass
from typing import Literal

from audio_io.errors import ConfigError
from audio_io.settings import check, setting
from pitch.capacities import CapacityName

FormatName = Literal["onnx", "torchscript", "exported"]
InputName = Literal["frames", "waveform"]
DecodeName = Literal["none", "argmax", "local_average"]

# The exporter's own default; below the bounds it falls back to another version without failing.
DEFAULT_OPSET = 20
DEFAULT_HOP_LENGTH = 160


@dataclass(frozen=True)
class ExportConfig:
    """What goes into an exported file; every field is an option of `pitch export`.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    model: CapacityName = setting("full", "size of the network")
    format: FormatName = setting("onnx", "ONNX, TorchScript, or a program of torch.export")
    input: InputName = setting("frames", "frames [N, 1024], or waveforms [B, T] that the file cuts itself")
    hop_length: int = setting(
        DEFAULT_HOP_LENGTH, "step between frames of a waveform", unit="samples at 16 kHz", minimum=1
    )
    decode: DecodeName = setting("none", "how the file gives frequency and periodicity besides posteriors")
    opset: int = setting(DEFAULT_OPSET, "version of ONNX's operators", minimum=18, maximum=23)

    def __post_init__(self) -> None:
        check(self)
        if self.opset != DEFAULT_OPSET and self.format != "onnx":
            raise ConfigError("opset", f"{self.opset} with format {self.format!r}", "format 'onnx'")

        if self.hop_length != DEFAULT_HOP_LENGTH and self.input != "waveform":
            raise ConfigError(
                "hop_length", f"{self.hop_length} with input {self.input!r}", "input 'waveform', which is cut"
            )

    @property
    def output_names(self) -> tuple[str, ...]:
        """What the file gives, in order."""
        return ("posteriors",) if self.decode == "none" else ("posteriors", "frequency", "periodicity")
