"""Settings of the preprocessing. Free of torch and numpy, for the command line's help."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from audio_io.errors import ConfigError
from audio_io.settings import check, setting
from mri2speech.config import IMAGE_SIZE

Pairs = Literal["index", "npz", "npy", "both", "none"]


@dataclass(frozen=True)
class PreprocessConfig:
    """How films and sound become samples; the defaults are those of the brief.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    ref_frames: int = setting(4, "frames in a window, the latest included", minimum=1)
    image_size: int = setting(IMAGE_SIZE, "height and width of the frames", unit="pixels", minimum=8)
    resize: Literal["stretch", "letterbox"] = setting(
        "stretch", "films that are not square: stretch them, or keep their shape and pad with 0"
    )
    interpolation: Literal["linear", "nearest"] = setting(
        "linear", "the frame at a mel frame's time: mean of its two neighbours by distance, or the nearer one"
    )
    fps: float | None = setting(None, "frame rate of the films; none takes their own time stamps", unit="Hz")
    audio_offset: float = setting(0.0, "when the sound begins after the first frame shows", unit="s")
    audio_offsets: str | None = setting(
        None, "CSV (id,seconds) or JSON ({id: seconds}) with the offsets of single samples"
    )
    audio_suffix: str = setting("", "prefer sound files whose name ends so, such as _denoised")
    denoise: bool = setting(False, "reduce stationary noise of the sound (extra denoise)")
    length_tolerance: float = setting(
        1.0, "refuse a film whose end and the end of its sound are further apart", unit="s", minimum=0.0
    )
    mask_dir: str | None = setting(
        None, "a mask (.png, .npy) for all, or a folder of <ID>.*, <speaker>.* or mask.*"
    )
    apply_mask: bool = setting(True, "multiply the frames by the mask")
    dtype: Literal["float32", "float16"] = setting("float32", "numbers in mri.npy")
    pairs: Pairs = setting(
        "index", "windows: an index into the samples; npz, npy or both: copies; or none of these"
    )
    scaler: Literal["all", "training"] = setting(
        "all", "mels that scaler.json describes; training leaves out those of the split by utterance"
    )
    validation_fraction: float = setting(
        0.1, "share of the samples in hifigan_filelists/validation.txt", minimum=0.0, maximum=0.9
    )
    speaker_pattern: str | None = setting(
        None,
        "regular expression whose group 1 in the film's path is the speaker; none: folder or name prefix",
    )
    seed: int = setting(42, "seed of the file lists", minimum=0)

    def __post_init__(self) -> None:
        check(self)
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ConfigError("fps", self.fps, "above 0")
        if not math.isfinite(self.audio_offset):
            raise ConfigError("audio_offset", self.audio_offset, "a number of seconds")
        if self.speaker_pattern is not None:
            try:
                groups = re.compile(self.speaker_pattern).groups
            except re.error as error:
                raise ConfigError(
                    "speaker_pattern", repr(self.speaker_pattern), f"a regular expression ({error})"
                ) from error
            if groups < 1:
                raise ConfigError("speaker_pattern", repr(self.speaker_pattern), "a group in parentheses")

    @property
    def pairs_folder(self) -> str:
        """`pairs_ref4`."""
        return f"pairs_ref{self.ref_frames}"
