"""From a film to speech: frames, mels, waveform.

The CNN sees the frames in portions as they are decoded and the vocoder makes the waveform in portions, so a
film of any length needs memory for its mels only. A portion of the waveform is made from its own mels and
those around it that the vocoder's convolutions reach, which gives the samples of the whole.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_io.errors import ConfigError
from mri2speech import vocoder as vocoders
from mri2speech.acoustic import checkpoint
from mri2speech.acoustic.model import AcousticModel
from mri2speech.config import MelConfig
from mri2speech.features import Scaler, mel_log
from mri2speech.preprocess.config import PreprocessConfig
from mri2speech.preprocess.frames import load_mask, mel_times, network_frames, within
from mri2speech.streaming import SpeechStream
from mri2speech.video import open_video
from mri2speech.vocoder.generator import Generator, receptive_frames
from mri2speech.vocoder.griffin_lim import griffin_lim

Floats = npt.NDArray[np.float32]

GRIFFIN_LIM = "griffin-lim"
CNN_FRAMES = 32  # frames that the CNN sees at once
VOCODER_FRAMES = 256  # mel frames of which the waveform is made at once


class Acoustic(Protocol):
    """What makes mels of frames: `AcousticModel`, or the same model in ONNX Runtime."""

    def encode(self, frames: Tensor) -> Tensor:
        """`[N, H, W]` to `[N, C]`."""

    def sequence(self, pooled: Tensor) -> Tensor:
        """`[B, T, C]` to `[B, T, n_mels]`."""


@dataclass(frozen=True)
class Speech:
    """What was made of a film.

    Attributes:
        waveform: Full scale 1, `[N]`.
        sample_rate: In Hz.
        mel_db: Predicted mels in dB, `[n_mels, T]`.
        seconds: Time that it took, decoding of the film included, in s.
    """

    waveform: Tensor
    sample_rate: int
    mel_db: Tensor
    seconds: float

    @property
    def real_time_factor(self) -> float:
        """Time that it took over the length of the speech; below 1 is faster than it is spoken."""
        return self.seconds * self.sample_rate / max(self.waveform.shape[-1], 1)


class Synthesizer:
    """An acoustic model and a vocoder.

    Args:
        acoustic: Makes normalised mels of frames.
        scaler: Of the mels.
        generator: The vocoder; Griffin-Lim if None.
        device: Where they run.

    Raises:
        ConfigError: If the vocoder takes other mels than the scaler is of.
    """

    def __init__(
        self,
        acoustic: Acoustic,
        scaler: Scaler,
        generator: Generator | None = None,
        *,
        device: torch.device | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        if generator is not None:
            generator.config.require_mel(scaler.mel)
        self.acoustic, self.scaler, self.generator = acoustic, scaler, generator
        for model in (acoustic, generator):
            if isinstance(model, torch.nn.Module):
                model.to(self.device)

    @classmethod
    def load(
        cls,
        acoustic: str | Path,
        vocoder: str | Path = vocoders.EMBEDDED,
        *,
        scaler: str | Path | None = None,
        device: torch.device | None = None,
    ) -> "Synthesizer":
        """Read the models.

        Args:
            acoustic: Checkpoint of `mri2speech train`.
            vocoder: `embedded`, `griffin-lim`, or a checkpoint `g_*`.
            scaler: A scaler.json instead of the checkpoint's own.
            device: Where they run.

        Raises:
            FileError: If a file cannot be used, or scaler or vocoder are of other mels than the model makes.
        """
        model, own, mel = checkpoint.load(acoustic, scaler=scaler)
        generator = None if str(vocoder) == GRIFFIN_LIM else vocoders.load(vocoder, mel=mel)
        return cls(model, own, generator, device=device)

    @property
    def mel_config(self) -> MelConfig:
        """Settings of the mels between the two models."""
        return self.scaler.mel

    def mel(self, frames: Floats | Tensor | Iterable[Floats]) -> Tensor:
        """Mels in dB of frames as `mri2speech preprocess` makes them.

        Args:
            frames: Values from 0 to 1; one after the other if they come from an iterator.

        Shape:
            - frames: `[T, H, W]`
            - output: `[n_mels, T]`
        """
        with torch.inference_mode():
            parts = [self.acoustic.encode(part.to(self.device)) for part in _portions(frames)]
            normalised = self.acoustic.sequence(torch.cat(parts)[None])[0]
        return self.scaler.denormalise(normalised.float().cpu()).T.clone()

    def vocode(self, mel_db: Tensor) -> Tensor:
        """The waveform of mels.

        Shape:
            - mel_db: `[n_mels, T]`
            - output: `[T * hop_length]`
        """
        if self.generator is None:
            return griffin_lim(mel_db, self.mel_config)
        generator = self.generator
        reach, hop = receptive_frames(generator.config), generator.config.hop_size
        log, total = mel_log(mel_db).to(self.device), mel_db.shape[1]
        parts = []
        with torch.inference_mode():
            for start in range(0, total, VOCODER_FRAMES):
                stop = min(start + VOCODER_FRAMES, total)
                first, last = max(start - reach, 0), min(stop + reach, total)
                wave = generator(log[None, :, first:last])[0, 0]
                parts.append(wave[(start - first) * hop : (stop - first) * hop].cpu())
        return torch.cat(parts).clone()

    def speech(self, frames: Floats | Tensor | Iterable[Floats]) -> Tensor:
        """`vocode` of `mel`."""
        return self.vocode(self.mel(frames))

    def stream(self, *, look_ahead: int = 8, block: int = 4) -> SpeechStream:
        """Speech frame by frame, for a film that is still going on; see `SpeechStream`.

        Raises:
            ConfigError: If a setting cannot be used, or the models are not both in PyTorch.
        """
        if not isinstance(self.acoustic, AcousticModel) or self.generator is None:
            found = f"{type(self.acoustic).__name__} and {type(self.generator).__name__}"
            raise ConfigError("stream", found, "a model of mri2speech train and a vocoder that is a network")
        return SpeechStream(self.acoustic, self.scaler, self.generator, look_ahead=look_ahead, block=block)

    def film(
        self, path: str | Path, config: PreprocessConfig | None = None, *, mask: str | Path | None = None
    ) -> Speech:
        """Speech of a film; it begins with the film's first frame.

        Args:
            path: See `mri2speech.video.open_video`; its sound, if it has any, is not heard.
            config: How the pictures are prepared; as for the data set that the model was trained on.
            mask: The speaker's mask, if the data set had one (`load_mask`).

        Raises:
            VideoError: If the film cannot be used.
            FileError: If the mask cannot be used.
        """
        started = time.perf_counter()
        config = config or PreprocessConfig()
        hidden = None if mask is None else load_mask(Path(mask), config.image_size)
        video = open_video(path, fps=config.fps)
        mel = self.mel_config
        times = mel_times(int(video.duration * mel.frame_rate) + 2, mel)
        times = times[within(video, times)]
        mels = self.mel(network_frames(video, times, config, hidden))
        waveform = self.vocode(mels)
        return Speech(waveform, mel.sample_rate, mels, time.perf_counter() - started)


def _portions(frames: Floats | Tensor | Iterable[Floats]) -> Iterator[Tensor]:
    if isinstance(frames, np.ndarray | Tensor):
        yield from torch.split(torch.as_tensor(frames).float(), CNN_FRAMES)
        return
    waiting: list[Floats] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == CNN_FRAMES:
            yield torch.from_numpy(np.stack(waiting)).float()
            waiting = []
    if waiting:
        yield torch.from_numpy(np.stack(waiting)).float()
