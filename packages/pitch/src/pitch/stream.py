"""The pitch of a signal while it is still coming: samples in, final frames out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_io import StreamResampler
from audio_io.errors import ConfigError
from pitch.config import LAG, TrackConfig
from pitch.constants import SAMPLE_RATE, WINDOW_SIZE
from pitch.engine import Engine
from pitch.framing import Framer
from pitch.tracking import PosteriorDecoder, one_channel, split_batches
from pitch.voicing import VoicingGate, level

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Frames:
    """Frames that have become final.

    Attributes:
        times: Of the frames' centres, in s after the first sample.
        frequency: Pitch in Hz, voiced or not.
        confidence: The network's confidence that it is a pitch, from 0 to 1.
        voiced: Whether each frame is voiced.

    Shape:
        each `[N]`, N often 0
    """

    times: npt.NDArray[np.float64]
    frequency: Floats
    confidence: Floats
    voiced: Bools

    def __len__(self) -> int:
        return len(self.times)


class Stream:
    """Tracks pitch live, at constant memory and bounded latency.

    The answer depends on the samples alone, not on how they are cut into blocks (up to the rounding of
    networks that see batches of different sizes, about 1e-6). It is that of `Tracker`, frame by frame, where
    the paths through the posteriors agree within `lag` frames. Elsewhere a frame is decided by the best path
    so far and can differ: on the shipped phrase in 11 of 571 frames with a lag of 10, none of them voiced, in
    25 with a lag of 5, one of them voiced. Without a path (`argmax`, `weighted_argmax`) nothing can differ.

    Larger blocks are cheaper, since their frames share a batch: on one core of a server CPU a frame took 3.6
    ms in blocks of 10 ms and 0.7 ms in blocks of 100 ms with `tiny`, 19 ms and 5 ms with `full`.

    Args:
        config: How to track. Batches are as large as the blocks allow, up to its batch size; with `compile`
            each is filled up to it, so that it should be small.
        sample_rate: Of the samples pushed, in Hz.
        lag: Frames that the Viterbi decoders wait at most for the best path, 0 or more.
        device: Where the network runs, as torch names it.
        weights: A weight file to use instead of the installed one; see `pitch.weights.load_model`.

    Raises:
        WeightsNotFoundError: If the weights of the capacity are not installed.
        ConfigError: If a setting cannot be used; it is named.

    Example:
        >>> stream = Stream(TrackConfig(model="tiny"), sample_rate=16000)
        >>> frames = stream.push(torch.zeros(16000))
        >>> len(frames) + len(stream.finish())
        101
    """

    def __init__(
        self,
        config: TrackConfig | None = None,
        *,
        sample_rate: int = SAMPLE_RATE,
        lag: int = LAG,
        device: str | torch.device = "cpu",
        weights: str | Path | None = None,
    ) -> None:
        self.config = config if config is not None else TrackConfig()
        self.sample_rate = sample_rate
        if lag < 0:
            raise ConfigError("lag", lag, "at least 0 frames")
        if sample_rate <= 2 * self.config.fmin:
            raise ConfigError(
                "sample_rate", f"{sample_rate} Hz", f"above {2 * self.config.fmin:g} Hz, twice fmin"
            )
        # Finds out what of the rate cannot be used before the network is loaded.
        self._resampler_delay = _resampler_delay(sample_rate)
        self._engine = Engine(self.config, device=device, weights=weights)
        self._framer = Framer(self.config.hop_length)
        self._decoder = PosteriorDecoder(self.config, lag=lag)
        self._gate = VoicingGate(self.config)
        self.reset()

    def reset(self) -> None:
        """Forget everything pushed so far; the next sample is at time 0."""
        self._resampler = StreamResampler(self.sample_rate, SAMPLE_RATE, 1)
        self._framer.reset()
        self._decoder.reset()
        self._gate.reset()
        # Levels wait for the decoder, pitch waits for the gate.
        self._levels = np.zeros(0, dtype=np.float32)
        self._pitch = np.zeros((2, 0), dtype=np.float32)
        self._given_out = 0

    @property
    def latency(self) -> int:
        """Greatest delay in samples at `sample_rate`.

        A frame centred on sample t is given out at the latest by the push that brings the sample count to t
        + latency: half a window, what decoder and voicing wait for, and what the resampler looks ahead (77 ms
        at 48 kHz and 84 ms at 44.1 kHz; nothing at 16 kHz).
        """
        waiting = WINDOW_SIZE // 2 + (self._decoder.lookahead + self._gate.lookahead) * self.config.hop_length
        return -(-waiting * self.sample_rate // SAMPLE_RATE) + self._resampler_delay

    @property
    def latency_ms(self) -> float:
        """The same in ms; what the network takes to compute comes on top."""
        return 1000 * self.latency / self.sample_rate

    def push(self, samples: Tensor | npt.NDArray[np.generic]) -> Frames:
        """The frames that have become final.

        Args:
            samples: The next floating-point samples, nominally within ±1; several channels are mixed unless
                the configuration names one.

        Shape:
            - samples: `[t]` or `[C, t]` with any t, 0 included

        Raises:
            ConfigError: If they are no such samples, not finite, or have no such channel; the stream is then
                as it was before.
        """
        mono = one_channel(samples, self.config.channel, field="samples")
        return self._take(self._resampler.process(mono[None])[0], ended=False)

    def finish(self) -> Frames:
        """The frames that were still waiting; then the stream is ready for another signal."""
        frames = self._take(self._resampler.flush()[0], ended=True)
        self.reset()
        return frames

    @torch.inference_mode()
    def _take(self, samples: Tensor, *, ended: bool) -> Frames:
        voiced: list[Bools] = []
        parts = [self._framer.push(samples), *([self._framer.finish()] if ended else [])]
        for frames in (batch for part in parts for batch in split_batches(part, self.config.batch_size)):
            self._levels = np.concatenate([self._levels, level(frames)])
            voiced.append(self._decide(*self._decoder.push(self._engine(frames))))
        if ended:
            voiced += [self._decide(*self._decoder.finish()), self._gate.finish()]
        return self._give_out(np.concatenate([np.zeros(0, dtype=np.bool_), *voiced]))

    def _decide(self, frequency: Floats, confidence: Floats) -> Bools:
        final, self._levels = np.split(self._levels, [len(confidence)])
        self._pitch = np.concatenate([self._pitch, np.stack([frequency, confidence])], axis=1)
        return self._gate.push(confidence, final)

    def _give_out(self, voiced: Bools) -> Frames:
        final, self._pitch = np.split(self._pitch, [len(voiced)], axis=1)
        numbers = np.arange(self._given_out, self._given_out + len(voiced), dtype=np.float64)
        self._given_out += len(voiced)
        return Frames(
            times=numbers * (self.config.hop_length / SAMPLE_RATE),
            frequency=final[0],
            confidence=final[1],
            voiced=voiced,
        )


def _resampler_delay(sample_rate: int) -> int:
    """Samples by which the resampler's input runs ahead of its output, at most; found by trying."""
    resampler = StreamResampler(sample_rate, SAMPLE_RATE, 1)
    if sample_rate == SAMPLE_RATE:
        return 0
    step = max(1, sample_rate // 4000)
    silence = torch.zeros(1, step, dtype=torch.float32, device="cpu")
    delay = taken = given = 0
    # Its output comes in bursts; a second shows the longest wait.
    while taken < sample_rate:
        delay = max(delay, taken + step - given * sample_rate // SAMPLE_RATE)
        given += resampler.process(silence).shape[1]
        taken += step
    return delay
