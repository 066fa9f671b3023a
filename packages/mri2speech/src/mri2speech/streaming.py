"""Speech while the film is still going on.

A frame of a uni-directional model becomes mels at once; its samples follow when the mels that the vocoder's
convolutions reach beyond it are there, so the speech is that of the whole film, late by this reach. A
bidirectional model wants the future too: here it sees a window that ends `look_ahead` frames after the frame,
which is an approximation, the better the longer the wait.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_io.errors import ConfigError
from mri2speech.acoustic.model import AcousticModel, State
from mri2speech.features import Scaler, mel_log
from mri2speech.vocoder.generator import Generator, receptive_frames

Floats = npt.NDArray[np.float32]

LOOK_BACK = 48  # frames before a frame that the window of a bidirectional model holds


@dataclass(frozen=True)
class Latency:
    """How late the samples of a frame come, in frames: for the model and for the vocoder."""

    acoustic: int
    vocoder: int
    frame_rate: float

    @property
    def milliseconds(self) -> float:
        """Of both together."""
        return 1000 * (self.acoustic + self.vocoder) / self.frame_rate


class SpeechStream:
    """Frames in, samples out.

    Args:
        model: The acoustic model, in evaluation mode.
        scaler: Of its mels.
        generator: The vocoder, on the same device as the model.
        look_ahead: Frames that a bidirectional model waits for; a uni-directional one needs none.
        block: Frames of which the vocoder makes samples at once: more is less work and a longer wait.

    Raises:
        ConfigError: If `look_ahead` or `block` cannot be used, or the vocoder takes other mels than the
            scaler is of.
    """

    def __init__(
        self,
        model: AcousticModel,
        scaler: Scaler,
        generator: Generator,
        *,
        look_ahead: int = 8,
        block: int = 4,
    ) -> None:
        if look_ahead < 0:
            raise ConfigError("look_ahead", look_ahead, "at least 0")
        if block < 1:
            raise ConfigError("block", block, "at least 1")
        generator.config.require_mel(scaler.mel)
        self.model, self.scaler, self.generator = model, scaler, generator
        self.look_ahead = look_ahead if model.config.bidirectional else 0
        self.block = block
        self.reach = receptive_frames(generator.config)
        self._device = next(generator.parameters()).device
        self._begin()

    def _begin(self) -> None:
        self._state: State | None = None
        self._seen = 0
        self._window: list[Tensor] = []  # what the CNN made of the latest frames
        self._mels: list[Tensor] = []  # the mels that later samples depend on
        self._first = 0  # number of the first of them
        self._spoken = 0  # frames whose samples are out

    @property
    def latency(self) -> Latency:
        """Between a frame and its samples."""
        return Latency(self.look_ahead, self.reach + self.block - 1, self.scaler.mel.frame_rate)

    def push(self, frame: Tensor | Floats) -> Tensor:
        """Take one more frame: they come at the rate of the mels, as `preprocess.frames.prepared` makes them.

        Shape:
            - frame: `[H, W]`, 0 to 1
            - output: `[N]`, the samples that are ready, perhaps none; on the CPU
        """
        with torch.no_grad():
            image = torch.as_tensor(frame, device=self._device)[None]
            if not self.model.config.bidirectional:
                mel, self._state = self.model.step(image, self._state)
                self._mels.append(mel[0])
            else:
                self._window.append(self.model.encode(image)[0])
                del self._window[: -(LOOK_BACK + 1 + self.look_ahead)]
                if self._seen >= self.look_ahead:
                    mels = self.model.sequence(torch.stack(self._window)[None])[0]
                    self._mels.append(mels[-1 - self.look_ahead])
            self._seen += 1
            return self._speak(final=False)

    def finish(self) -> Tensor:
        """The samples that were waiting for frames that do not come; the next frame begins another film."""
        with torch.no_grad():
            if self.model.config.bidirectional and self._window:
                mels = self.model.sequence(torch.stack(self._window)[None])[0]
                missing = self._seen - self._first - len(self._mels)
                self._mels.extend(mels[len(mels) - missing :])
            samples = self._speak(final=True)
        self._begin()
        return samples

    def _speak(self, *, final: bool) -> Tensor:
        known = self._first + len(self._mels)
        ready = known if final else known - self.reach
        if ready <= self._spoken or (not final and ready - self._spoken < self.block):
            return torch.zeros(0)
        hop = self.generator.config.hop_size
        log = mel_log(self.scaler.denormalise(torch.stack(self._mels))).T[None]
        wave: Tensor = self.generator(log)[0, 0]
        samples = wave[(self._spoken - self._first) * hop : (ready - self._first) * hop].cpu().clone()
        self._spoken = ready
        keep = max(self._spoken - self.reach, 0)
        del self._mels[: keep - self._first]
        self._first = keep
        return samples
