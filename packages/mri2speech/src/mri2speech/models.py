"""An acoustic model with the scaler that the user names."""

from pathlib import Path

from audio_io.errors import ConfigError
from mri2speech.acoustic import checkpoint
from mri2speech.acoustic.model import AcousticModel
from mri2speech.config import MelConfig
from mri2speech.features import Scaler


def load_acoustic(
    path: str | Path, scaler_json: str | Path | None = None
) -> tuple[AcousticModel, Scaler, MelConfig]:
    """Read a model, ready for inference on the CPU.

    Args:
        path: Checkpoint of `mri2speech train`, or bare weights of the original scripts.
        scaler_json: A scaler instead of the checkpoint's own; bare weights need one.

    Returns:
        As `acoustic.checkpoint.load`.

    Raises:
        FileError: If a file cannot be used, or the scaler belongs to other mels than the model makes; the
            sentence names the first setting that differs.
        ConfigError: If bare weights come without a scaler.
    """
    if scaler_json is None:
        return checkpoint.load(path)
    scaler = Scaler.load(scaler_json)
    try:
        model, _, mel = checkpoint.load(path)
    except ConfigError:  # bare weights, whose mels only the scaler knows
        return checkpoint.load(path, scaler=scaler)
    return model, Scaler.load(scaler_json, expected=mel), mel
