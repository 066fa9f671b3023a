"""What speaks mels in the demo: the embedded vocoder."""

from collections.abc import Callable
from importlib import resources

from torch import Tensor

from mri2speech import vocoder
from mri2speech.config import MelConfig
from mri2speech.vocoder.compare import vocode
from mri2speech.vocoder.griffin_lim import griffin_lim

Voice = Callable[[Tensor], Tensor]  # [n_mels, T] in dB to [T * hop_length]


def load_voice(mel: MelConfig) -> tuple[str, Voice]:
    """Name and function of the embedded vocoder, or of Griffin-Lim where the package has no weights."""
    if not resources.files("mri2speech").joinpath("data", "vocoder").is_dir():
        return "Griffin-Lim", lambda db: griffin_lim(db, mel)
    generator = vocoder.load()
    return "the embedded vocoder", lambda db: vocode(generator, db)
