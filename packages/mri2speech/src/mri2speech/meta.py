"""`meta.json`: what a preprocessed data set holds. Free of torch.

The folder is laid out as in the brief::

    samples/<ID>/mri.npy       float32 (or float16) [T, 256, 256], 0 to 1
    samples/<ID>/mel_db.npy    float32 [T, 64], dB, not normalised
    samples/<ID>/mask.npy      float32 [256, 256], 0 to 1; ones where no mask was given
    samples/<ID>/sample.json   the entry of meta.json, and the fingerprint of what it was made from
    wavs/<ID>.wav              16-bit sound of the T mel frames, for HiFi-GAN
    pairs_ref4_npy/index.npy   int64 [P, 2]: sample and first frame of every window of 4 frames
    hifigan_filelists/training.txt, validation.txt
    scaler.json, meta.json, report.json, preprocess.png
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audio_io.atomic import write_json
from audio_io.errors import FileError
from mri2speech.config import MelConfig

META_NAME = "meta.json"
SCALER_NAME = "scaler.json"


@dataclass(frozen=True)
class Alignment:
    """How pictures and sound were brought together.

    Attributes:
        audio_start: When the sound begins on the clock of the pictures, in s.
        first_mel: Mel frame of the sound that became frame 0.
        video_duration: Length of the film in s.
        audio_duration: Length of the sound in s.
        end_difference: End of the sound minus end of the film in s; only what both cover was kept.
    """

    audio_start: float
    first_mel: int
    video_duration: float
    audio_duration: float
    end_difference: float


@dataclass(frozen=True)
class Sample:
    """An utterance of the data set.

    Attributes:
        id: Name of its folder below `samples`.
        speaker: Who speaks.
        frames: Length T in frames.
        source: The film, below the folder of the films.
        audio: The sound file, below its folder; None for the film's own sound track.
        mask: The mask's file name; None where there is none.
        fps: Frame rate of the film, before it was brought to the mel frames.
        alignment: See there.
        notes: What is unusual about it, a sentence each.
    """

    id: str
    speaker: str
    frames: int
    source: str
    audio: str | None
    mask: str | None
    fps: float
    alignment: Alignment
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Sample":
        """The sample that `asdict` wrote; fields of later versions are passed over."""
        known = {key: stored[key] for key in cls.__dataclass_fields__}
        return cls(
            **{
                **known,
                "alignment": Alignment(**stored["alignment"]),
                "notes": tuple(stored["notes"]),
            }
        )


@dataclass(frozen=True)
class Meta:
    """The samples of a data set and what they have in common.

    Attributes:
        samples: In the order of their films' names.
        mel: Settings of the mels.
        image_size: Height and width of the frames in pixels.
        ref_frames: Frames R in a window.
    """

    samples: tuple[Sample, ...]
    mel: MelConfig
    image_size: int
    ref_frames: int

    @property
    def frames(self) -> int:
        """Frames of all samples."""
        return sum(sample.frames for sample in self.samples)

    def save(self, folder: str | Path) -> None:
        """Write `meta.json` into the folder of the data set."""
        write_json(Path(folder) / META_NAME, asdict(self))

    @classmethod
    def load(cls, folder: str | Path) -> "Meta":
        """Read `meta.json`.

        Raises:
            FileError: If the folder has none, or it is damaged.
        """
        path = Path(folder) / META_NAME
        wanted = "the meta.json that `mri2speech preprocess` writes"
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                samples=tuple(map(Sample.from_json, stored["samples"])),
                mel=MelConfig(**stored["mel"]),
                image_size=int(stored["image_size"]),
                ref_frames=int(stored["ref_frames"]),
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileError(path, "no such file", wanted) from error
        except (ValueError, KeyError, TypeError) as error:
            raise FileError(path, f"no description of a data set ({error!r})", wanted) from error


def sample_folder(folder: str | Path, sample: str) -> Path:
    """Where the arrays of a sample are."""
    return Path(folder) / "samples" / sample


def windows(frames: Sequence[int], ref_frames: int) -> list[int]:
    """Number of windows of each sample: one for every frame that has `ref_frames - 1` before it."""
    return [max(0, count - ref_frames + 1) for count in frames]
