"""Films of heat maps, such as browsers play: in slow motion, or whole and with sound."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import audio_io
from audio_io.errors import ConfigError, FileError
from mri2speech.config import MelConfig
from mri2speech.gradcam.pictures import overlay, with_legend
from mri2speech.gradcam.sequences import band_name, load_sequence
from mri2speech.preprocess.config import PreprocessConfig
from mri2speech.preprocess.frames import load_frames
from mri2speech.video_writer import write_video

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """How the pictures look.

    Attributes:
        alpha: Opacity of the hottest place, 0 to 1.
        width: Of the picture in pixels.
        height: Of the picture in pixels, the legend below it not counted.

    Raises:
        ConfigError: If a value cannot be used.
    """

    alpha: float = 0.7
    width: int = 256
    height: int = 256

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ConfigError("alpha", self.alpha, "from 0 to 1")
        if min(self.width, self.height) < 32 or max(self.width, self.height) > 4096:
            raise ConfigError("resize", f"{self.width} {self.height}", "from 32 to 4096 pixels")


def slow_motion(
    video: str | Path,
    sequence: str | Path,
    output: str | Path,
    *,
    start_frame: int = 0,
    fps: float = 5.0,
    repeat: int = 4,
    look: Look = Look(),
    mel: MelConfig = MelConfig(),  # noqa: B008 - frozen
    preprocess: PreprocessConfig = PreprocessConfig(),  # noqa: B008 - frozen
) -> int:
    """Write heat maps over their frames, slowly and without sound.

    Args:
        video: The film that the maps are of.
        sequence: Its maps or a part of them, from `cut_sequence`.
        output: An `.mp4`.
        start_frame: The frame of the film that the first map is of.
        fps: Frames a second of what is written.
        repeat: How often each frame is shown.
        look: Opacity and size.
        mel: Of the model; its hop is the time between two maps.
        preprocess: How the film becomes frames; as for the maps.

    Returns:
        The number of frames of the film that are shown.

    Raises:
        UserError: If a file or a setting cannot be used.
    """
    if repeat < 1:
        raise ConfigError("repeat", repeat, "at least 1")
    heat = load_sequence(sequence)
    frames, _ = load_frames(video, preprocess, mel)
    if not 0 <= start_frame <= len(frames) - len(heat):
        found = f"{len(heat)} maps from frame {start_frame} on, of a film of {len(frames)} frames"
        raise FileError(sequence, found, "maps of frames that the film has; check --start-frame")

    def pictures() -> Iterator[npt.NDArray[np.uint8]]:
        for number, values in enumerate(heat):
            index = start_frame + number
            note = f"{index / mel.frame_rate:.3f} s"
            picture = _picture(frames[index], [values], [band_name(sequence)], look, note)
            for _ in range(repeat):
                yield picture

    write_video(output, pictures(), fps)
    return len(heat)


def overlay_video(
    video: str | Path,
    heatmaps: Sequence[str | Path],
    output: str | Path,
    *,
    audio: str | Path | None = None,
    look: Look = Look(),
    mel: MelConfig = MelConfig(),  # noqa: B008 - frozen
    preprocess: PreprocessConfig = PreprocessConfig(),  # noqa: B008 - frozen
) -> int:
    """Write a whole film with the maps of one or more bands, and sound.

    Map i is shown at `i * hop_length / sample_rate`, when the sample of that time sounds.

    Args:
        video: The film that the maps are of.
        heatmaps: Its maps, a file for each band.
        output: An `.mp4`: H.264 and AAC.
        audio: Speech that begins with the film, such as `mri2speech synthesize` makes it.
        look: Opacity and size.
        mel: Of the model.
        preprocess: How the film becomes frames; as for the maps.

    Returns:
        The number of frames.

    Raises:
        UserError: If a file or a setting cannot be used, or a sequence is not as long as the film.
    """
    frames, _ = load_frames(video, preprocess, mel)
    heats = [load_sequence(path) for path in heatmaps]
    for path, heat in zip(heatmaps, heats, strict=True):
        if len(heat) != len(frames):
            raise FileError(path, f"{len(heat)} maps", f"{len(frames)}, one for each frame of {video}")
    waveform, rate = (None, None) if audio is None else audio_io.load(audio, channels="mono")
    names = [band_name(path) for path in heatmaps]
    pictures = (
        _picture(frame, [heat[index] for heat in heats], names, look) for index, frame in enumerate(frames)
    )
    write_video(output, pictures, mel.frame_rate, waveform=waveform, sample_rate=rate)
    return len(frames)


def _picture(
    frame: Floats, heats: Sequence[Floats], names: Sequence[str], look: Look, note: str = ""
) -> npt.NDArray[np.uint8]:
    picture = overlay(frame, np.stack([_fitted(heat, frame) for heat in heats]), look.alpha)
    if picture.shape[:2] != (look.height, look.width):
        grows = look.height > picture.shape[0]
        how = cv2.INTER_CUBIC if grows else cv2.INTER_AREA
        picture = np.asarray(
            cv2.resize(picture, (look.width, look.height), interpolation=how), dtype=np.uint8
        )
    return with_legend(picture, names, note)


def _fitted(heat: Floats, frame: Floats) -> Floats:
    if heat.shape == frame.shape:
        return heat
    resized = cv2.resize(heat, frame.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)
