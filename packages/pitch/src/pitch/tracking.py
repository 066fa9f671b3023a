"""From a recording of any length to its pitch, at constant memory.

Blocks of samples flow through framing, the network and the decoder; what is kept is frequency, confidence
and level of each frame, and an overview of the posteriors for the figure.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import audio_io
from audio_io.errors import AudioError, ConfigError
from audio_io.progress import Progress
from pitch import decode
from pitch.config import TrackConfig
from pitch.constants import PITCH_BINS, SAMPLE_RATE
from pitch.convert import bins_to_frequency
from pitch.core import mask_bins, periodicity
from pitch.engine import Engine
from pitch.framing import Framer
from pitch.result import Overview, Track
from pitch.viterbi import MAX_PENDING, REACH, ViterbiDecoder
from pitch.voicing import VoicingGate, level
from pitch.weights import weights_digest

Floats = npt.NDArray[np.float32]

# 10 s at 16 kHz: small beside the activations of the network.
BLOCK_LENGTH = 10 * SAMPLE_RATE


AT_LEAST = f"at least the duration of one sample at {SAMPLE_RATE} Hz"


class Tracker:
    """Tracks the pitch of recordings with one loaded network.

    Args:
        config: How to track.
        device: Where the network runs, as torch names it.
        weights: A weight file to use instead of the installed one; see `pitch.weights.load_model`.

    Raises:
        WeightsNotFoundError: If the weights of the capacity are not installed.
        ConfigError: If engine or precision do not go with the device.
    """

    def __init__(
        self,
        config: TrackConfig | None = None,
        *,
        device: str | torch.device = "cpu",
        weights: str | Path | None = None,
    ) -> None:
        self.config = config if config is not None else TrackConfig()
        self.device = torch.device(device)
        self.weights_digest = weights_digest(self.config.model, weights)
        self.engine = Engine(self.config, device=self.device, weights=weights)

    def track_file(self, path: str | Path, *, progress: Progress | None = None) -> Track:
        """The pitch of an audio file, or of the sound track of a video, of any length.

        Args:
            path: The file.
            progress: Advanced in seconds of audio.

        Raises:
            AudioError: If the file cannot be used or has no such channel; the message says why.
        """
        channel = self.config.channel
        found = audio_io.info(path)
        available = found.channels
        if self._lacks_range(found.sample_rate):
            expected = f"one above {2 * self.config.fmin:g} Hz, twice fmin"
            raise AudioError(path, f"a sample rate of {found.sample_rate} Hz", expected)
        if channel is not None and channel >= available:
            raise AudioError(path, f"channels 0 to {available - 1}", f"a channel {channel}")
        with audio_io.stream(
            path,
            block_length=BLOCK_LENGTH,
            sample_rate=SAMPLE_RATE,
            channels="mono" if channel is None else channel,
        ) as blocks:
            nothing = AudioError(path, f"{found.frames} samples at {found.sample_rate} Hz", AT_LEAST)
            return self._track(_not_empty(blocks, nothing), progress)

    def track(self, waveform: Tensor | npt.NDArray[np.generic], sample_rate: int) -> Track:
        """The pitch of a waveform in memory.

        Args:
            waveform: Floating-point samples, nominally within ±1; several channels are mixed unless the
                configuration names one.
            sample_rate: In Hz.

        Shape:
            - waveform: `[T]` or `[C, T]`

        Raises:
            ConfigError: If the waveform is empty, not finite, no floating-point, or has no such channel.
        """
        mono = one_channel(waveform, self.config.channel, field="waveform")
        if self._lacks_range(sample_rate):
            expected = f"above {2 * self.config.fmin:g} Hz, twice fmin"
            raise ConfigError("sample_rate", f"{sample_rate} Hz", expected)
        block = audio_io.resample(mono[None], sample_rate, SAMPLE_RATE)
        if block.shape[1] == 0:
            raise ConfigError("waveform", f"{len(mono)} samples at {sample_rate} Hz", AT_LEAST)
        return self._track([block], None)

    def _lacks_range(self, sample_rate: int) -> bool:
        """Whether such a recording can hold no pitch from fmin on; a low fmax alone spoils nothing."""
        return sample_rate <= 2 * self.config.fmin

    @torch.inference_mode()
    def _track(self, blocks: Iterable[Tensor], progress: Progress | None) -> Track:
        config = self.config
        decoder = PosteriorDecoder(config)
        gate = VoicingGate(config)
        overview = Overview()
        frequency: list[Floats] = []
        confidence: list[Floats] = []
        levels: list[Floats] = []
        samples = 0

        def counted() -> Iterator[Tensor]:
            nonlocal samples
            for block in blocks:
                samples += block.shape[1]
                yield block

        for frames in frame_stream(counted(), config.hop_length, config.batch_size):
            posteriors = self.engine(frames)  # [N, 360]
            overview.add(posteriors.numpy())
            levels.append(level(frames))
            for row, part in zip((frequency, confidence), decoder.push(posteriors), strict=True):
                row.append(part)
            if progress is not None:
                progress.advance(len(frames) * config.hop_length / SAMPLE_RATE)
        for row, part in zip((frequency, confidence), decoder.finish(), strict=True):
            row.append(part)
        certainty = np.concatenate(confidence)
        return Track(
            frequency=np.concatenate(frequency),
            confidence=certainty,
            hop_seconds=config.hop_length / SAMPLE_RATE,
            duration=samples / SAMPLE_RATE,
            threshold=config.threshold,
            overview=overview,
            decided=np.concatenate([gate.push(certainty, np.concatenate(levels)), gate.finish()]),
            model=config.model,
        )


def one_channel(samples: Tensor | npt.NDArray[np.generic], channel: int | None, *, field: str) -> Tensor:
    """The mean of the channels, or one of them, in float32 on the CPU.

    Args:
        samples: Floating-point samples.
        channel: Its number from 0 on; None for the mean of all.
        field: Name of the argument, for the errors.

    Raises:
        ConfigError: If the samples are no such samples, not finite, or have no such channel.

    Shape:
        - samples: `[t]` or `[C, t]`
        - Output: `[t]`
    """
    if not isinstance(samples, Tensor):
        samples = torch.tensor(np.ascontiguousarray(samples), device="cpu")
    channels = (samples[None] if samples.ndim == 1 else samples).detach()
    if channels.ndim != 2 or len(channels) == 0:
        raise ConfigError(field, f"shape {tuple(samples.shape)}", "(samples,) or (channels, samples)")
    if not channels.is_floating_point():
        # Their full scale cannot be told from them, and silence is judged by the level.
        expected = "floating-point samples within ±1, such as 16-bit integers divided by 32768"
        raise ConfigError(field, f"samples of {samples.dtype}", expected)
    if not torch.isfinite(channels).all():
        raise ConfigError(field, "NaN or infinity", "finite samples")
    if channel is None:
        return channels.cpu().float().mean(dim=0)
    if channel >= len(channels):
        raise ConfigError("channel", channel, f"0 to {len(channels) - 1}")
    return channels[channel].cpu().float()


def _not_empty(blocks: Iterable[Tensor], nothing: AudioError) -> Iterator[Tensor]:
    """The blocks; the error if there is none."""
    is_empty = True
    for block in blocks:
        is_empty = False
        yield block
    if is_empty:
        raise nothing


def frame_stream(blocks: Iterable[Tensor], hop_length: int, batch_size: int) -> Iterator[Tensor]:
    """Batches of frames; see `pitch.framing.Framer`.

    Args:
        blocks: Consecutive pieces of one channel at 16 kHz.
        hop_length: In samples.
        batch_size: Greatest number of frames in a batch; only the last has fewer.

    Shape:
        - blocks: each `[1, t]`
        - Output: each `[N, 1024]`
    """
    framer = Framer(hop_length, multiple=batch_size)
    for block in blocks:
        yield from split_batches(framer.push(block[0]), batch_size)
    yield from split_batches(framer.finish(), batch_size)


def split_batches(frames: Tensor, batch_size: int) -> Iterator[Tensor]:
    """The frames in pieces of at most a batch.

    Shape:
        - frames: `[N, 1024]`
    """
    for start in range(0, len(frames), batch_size):
        yield frames[start : start + batch_size]


class PosteriorDecoder:
    """Turns posteriors into frequency and confidence as they come.

    Args:
        config: Decoder and frequency range.
        lag: Greatest number of frames held back; see `pitch.viterbi.ViterbiDecoder`.
    """

    def __init__(self, config: TrackConfig, *, lag: int = MAX_PENDING) -> None:
        self.config = config
        self._follows_path = config.decoder in ("viterbi", "weighted_viterbi")
        weighted = config.decoder == "weighted_viterbi"
        self._floor = decode.PROBABILITY_FLOOR if weighted else None
        reach = decode.reach_of_hop(config.hop_length) if weighted else REACH
        self._path = ViterbiDecoder(reach=reach, lag=lag)
        self.reset()

    @property
    def lookahead(self) -> int:
        """Greatest number of frames held back."""
        return self._path.lag if self._follows_path else 0

    def reset(self) -> None:
        """Forget all frames; the decoder is ready for another recording."""
        self._path.reset()
        self._waiting = torch.zeros(0, PITCH_BINS, dtype=torch.float32, device="cpu")

    def push(self, posteriors: Tensor) -> tuple[Floats, Floats]:
        """Frequency in Hz and confidence of the frames that became final.

        Shape:
            - posteriors: `[N, 360]`
            - Output: twice `[M]`
        """
        masked = mask_bins(posteriors.T[None], self.config.fmin, self.config.fmax)  # [1, 360, N]
        if not self._follows_path:
            bins, pitch = decode.DECODERS[self.config.decoder](masked)
            return _as_arrays(pitch, periodicity(masked, bins))
        self._waiting = torch.cat([self._waiting, masked[0].T])  # [W, 360]
        probabilities = decode.path_probabilities(masked, floor=self._floor)
        return self._give_out(self._path.push(probabilities[0].T.numpy()))

    def finish(self) -> tuple[Floats, Floats]:
        """Frequency and confidence of the frames that were still waiting; then it is ready for another."""
        if not self._follows_path:
            return np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.float32)
        return self._give_out(self._path.finish())

    def _give_out(self, path: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        final, self._waiting = self._waiting[: len(path)], self._waiting[len(path) :].clone()
        masked, bins = final.T[None], torch.from_numpy(path)[None]
        if self.config.decoder == "viterbi":
            pitch = bins_to_frequency(bins, dither=False)
        else:
            pitch = decode.local_average(masked, bins)
        return _as_arrays(pitch, periodicity(masked, bins))


def _as_arrays(*rows: Tensor) -> tuple[Floats, Floats]:
    pitch, certainty = (row[0].float().numpy() for row in rows)
    return pitch, certainty
