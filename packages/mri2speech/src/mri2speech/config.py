"""Settings that the whole pipeline shares. Free of torch and numpy, for the command line's help."""

from dataclasses import dataclass, fields

from audio_io.errors import ConfigError
from audio_io.settings import check, setting

IMAGE_SIZE = 256  # height and width of a frame in pixels
MEL_FLOOR = 1e-10  # least power of a mel band, -100 dB; as an amplitude 1e-5, HiFi-GAN's own floor


@dataclass(frozen=True)
class MelConfig:
    """The mel spectrogram that joins video, acoustic model and vocoder.

    The defaults are those of the brief: at 11,413 Hz a hop of 420 samples is one frame of a 27.17 fps film.

    Raises:
        ConfigError: If a value cannot be used; it names the field.
    """

    sample_rate: int = setting(11413, "sample rate of the speech", unit="Hz", minimum=2000)
    n_mels: int = setting(64, "mel bands", minimum=1)
    n_fft: int = setting(2048, "length of the transform", unit="samples", minimum=16)
    win_length: int = setting(2048, "length of the window", unit="samples", minimum=16)
    hop_length: int = setting(420, "step between mel frames", unit="samples", minimum=1)
    preemphasis: float = setting(0.97, "coefficient of the pre-emphasis", minimum=0.0, maximum=0.999)
    fmin: float = setting(0.0, "lower edge of the lowest band", unit="Hz", minimum=0.0)
    fmax: float | None = setting(None, "upper edge of the highest band; none is half the rate", unit="Hz")

    def __post_init__(self) -> None:
        check(self)
        if self.win_length > self.n_fft:
            raise ConfigError("win_length", self.win_length, f"at most n_fft, {self.n_fft}")
        if self.fmax is not None and not self.fmin < self.fmax <= self.sample_rate / 2:
            raise ConfigError("fmax", self.fmax, f"above fmin and at most {self.sample_rate / 2:g} Hz")

    @property
    def frame_rate(self) -> float:
        """Mel frames a second, 27.17 with the defaults."""
        return self.sample_rate / self.hop_length

    def difference(self, wanted: "MelConfig") -> tuple[str, str] | None:
        """The first setting in which this differs, as `("n_mels = 80", "n_mels = 64")`; None if none does."""
        for field in fields(self):
            found, other = getattr(self, field.name), getattr(wanted, field.name)
            if found != other:
                return f"{field.name} = {found}", f"{field.name} = {other}"
        return None
