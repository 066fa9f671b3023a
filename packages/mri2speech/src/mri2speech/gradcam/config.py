"""Settings of the heat maps. Free of torch and numpy, for the command line's help."""

import re
from dataclasses import dataclass
from typing import Literal

from audio_io.errors import ConfigError
from audio_io.settings import check, setting

Method = Literal["gradcam", "gradcam++", "hirescam", "layercam", "eigencam"]


@dataclass(frozen=True)
class FormantBand:
    """A band of frequencies in which a formant is expected, by the name that files get.

    Raises:
        ConfigError: If the band is empty or the name cannot be part of a file's.
    """

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9-]+", self.name):
            raise ConfigError("formant_band", f"the name {self.name!r}", "letters and digits, such as F1")
        if not 0 <= self.low < self.high:
            raise ConfigError("formant_band", str(self), "a lower edge below the upper one, in Hz")

    def __str__(self) -> str:
        return f"{self.name}:{self.low:g}-{self.high:g}"

    @classmethod
    def parse(cls, text: str) -> "FormantBand":
        """The band of `F1:300-900`.

        Raises:
            ConfigError: If the text is of another form.
        """
        match = re.fullmatch(r"([^:]*):(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", text)
        if match is None:
            raise ConfigError("formant_band", repr(text), "a name and two edges in Hz, such as F1:300-900")
        return cls(match[1], float(match[2]), float(match[3]))


# The brief's examples.
FORMANT_BANDS = (FormantBand("F1", 300.0, 900.0), FormantBand("F2", 900.0, 2500.0))


@dataclass(frozen=True)
class GradcamConfig:
    """How heat maps are made; the defaults are Grad-CAM of the last map of the CNN, as in the brief.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    method: Method = setting(
        "gradcam", "how activations and gradients make a map; eigencam takes no gradients, nor so the band"
    )
    layer: str | None = setting(
        None, "module of the CNN whose output is explained, such as blocks.3; none is its last map"
    )
    energy: Literal["log", "power"] = setting(
        "log", "energy of a band: the sum of its predicted log mels, or the level of their summed power"
    )
    influence: Literal["raises", "both"] = setting(
        "raises",
        "keep what raises the energy, as Grad-CAM does, or the magnitude of what raises or lowers it",
    )
    scale: Literal["film", "frame"] = setting(
        "film", "what is 1 in a map: the hottest place of the film, or of each frame"
    )
    chunk: int = setting(16, "frames that are differentiated at once", unit="frames", minimum=1)
    dtype: Literal["float32", "float16"] = setting("float32", "numbers in the sequence files")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class FaithfulnessConfig:
    """On what, and how, heat maps are tested.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    films: int = setting(8, "films that are tested", minimum=1)
    frames: int = setting(4, "frames of each; of the phantom such as show a vowel", minimum=1)
    speakers: int = setting(4, "speakers of the phantom that speak in turn", minimum=1)
    first: int = setting(
        1000, "number of the phantom's first utterance; the demo trains on low ones", minimum=0
    )
    phantom_seed: int = setting(0, "seed of the phantom's speakers; that of the demo", minimum=0)
    top: float = setting(0.1, "share of the image that counts as marked", minimum=0.005, maximum=0.5)
    fill: Literal["inpaint", "blur", "mean"] = setting(
        "inpaint", "what replaces a region: its surroundings, a blurred frame, or the mean of the film"
    )
    random_regions: int = setting(8, "random regions that a marked one is compared with", minimum=1)
    steps: int = setting(10, "steps of the insertion and deletion curves", minimum=2)
    resamples: int = setting(2000, "resamples of the films for the 95 % intervals", minimum=100)
    seed: int = setting(42, "seed of random regions, shuffles and resamples", minimum=0, maximum=2**31 - 1)

    def __post_init__(self) -> None:
        check(self)
