"""HiFi-GAN: from mel frames to a waveform.

`load()` gives a generator ready for inference: the embedded small one, or any checkpoint `g_*` of ours or of
the original project with its `config.json` beside it. Importing this package costs nothing.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from mri2speech.config import MelConfig
    from mri2speech.vocoder.generator import Generator

EMBEDDED = "embedded"


def load(name_or_path: "str | Path" = EMBEDDED, *, mel: "MelConfig | None" = None) -> "Generator":
    """A generator in evaluation mode, its weight norm folded into the weights.

    Args:
        name_or_path: "embedded" for the small vocoder that comes with the package, or a checkpoint `g_*`.
        mel: The mels that it shall speak.

    Raises:
        FileError: If the checkpoint or its `config.json` cannot be used, or it speaks other mels.
    """
    from audio_io.errors import ConfigError, FileError
    from mri2speech.vocoder.checkpoint import load_generator

    with checkpoint_of(name_or_path) as path:
        generator = load_generator(path)
    try:
        if mel is not None:
            generator.config.require_mel(mel)
    except ConfigError as error:
        raise FileError(name_or_path, f"a vocoder, {error.found}", error.expected) from error
    return generator


@contextlib.contextmanager
def checkpoint_of(name_or_path: "str | Path" = EMBEDDED) -> "Iterator[Path]":
    """The file of a vocoder, its `config.json` beside it; within the context it exists.

    Args:
        name_or_path: See `load`.
    """
    from importlib import resources
    from pathlib import Path

    from mri2speech.vocoder.checkpoint import latest

    if str(name_or_path) != EMBEDDED:
        yield Path(name_or_path)
        return
    with resources.as_file(resources.files("mri2speech") / "data" / "vocoder") as folder:
        yield latest(folder, "g_")
