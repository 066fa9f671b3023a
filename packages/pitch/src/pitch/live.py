"""Sound as it comes, from a microphone or a pipe, and its pitch as it goes, as lines or as a meter."""

import json
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, TextIO

import numpy as np
import numpy.typing as npt

from audio_io.errors import ConfigError, UserError
from pitch.config import SampleFormat
from pitch.extras import how_to_add
from pitch.notes import note_name
from pitch.result import CSV_HEADER, csv_row
from pitch.stream import Frames, Stream

Samples = npt.NDArray[np.float32]

# Type and full scale of the samples in a pipe.
FORMATS: dict[SampleFormat, tuple[str, float]] = {"s16le": ("<i2", 32768.0), "f32le": ("<f4", 1.0)}

# Bytes asked of a pipe at once; it gives what it has.
PIPE_BYTES = 1 << 16

# A microphone's sound may wait this long, in s, before it is dropped.
PATIENCE = 1.0
MICROPHONE_BLOCK = 0.01  # s


@dataclass(frozen=True)
class Block:
    """Consecutive samples.

    Attributes:
        samples: Nominally within ±1, `[C, t]`.
        lost: Samples that were dropped between the block before and this one.
    """

    samples: Samples
    lost: int = 0


class MicrophoneError(UserError):
    """The microphone cannot be used; the message says why."""


def pipe_blocks(pipe: BinaryIO, sample_format: SampleFormat, channels: int) -> Iterator[Block]:
    """Blocks of raw interleaved samples, as soon as they are there.

    A pipe waits for its reader, so nothing is ever lost.

    Args:
        pipe: Such as `sys.stdin.buffer`.
        sample_format: A key of `FORMATS`.
        channels: In each sample frame.

    Raises:
        ConfigError: If the pipe ends within a sample frame: it holds another format.
    """
    kind, full_scale = FORMATS[sample_format]
    frame_bytes = np.dtype(kind).itemsize * channels
    # `read1` returns what is there; `read` would wait for all of it.
    read = getattr(pipe, "read1", pipe.read)
    rest = b""
    while data := read(PIPE_BYTES):
        data = rest + data
        whole = len(data) // frame_bytes * frame_bytes
        rest = data[whole:]
        if whole:
            samples = np.frombuffer(data[:whole], dtype=kind).reshape(-1, channels).T
            yield Block(samples.astype(np.float32) / np.float32(full_scale))
    if rest:
        expected = f"whole frames of {channels} x {sample_format} ({frame_bytes} bytes)"
        raise ConfigError("stdin", f"{len(rest)} bytes left over at the end", expected)


class Inbox:
    """Blocks between the thread that records and the one that tracks; full, it drops the new ones.

    Args:
        capacity: Blocks that may wait.
    """

    def __init__(self, capacity: int) -> None:
        self._waiting: queue.Queue[Block] = queue.Queue(maxsize=capacity)
        self._lost = 0
        self._is_closed = threading.Event()

    def put(self, samples: Samples) -> None:
        """Take a block, or drop it; returns at once."""
        try:
            self._waiting.put_nowait(Block(samples, self._lost))
        except queue.Full:
            self._lost += samples.shape[1]
        else:
            self._lost = 0

    def close(self) -> None:
        """No block will follow."""
        self._is_closed.set()

    def blocks(self) -> Iterator[Block]:
        """The blocks until it is closed; those that wait together come as one."""
        while True:
            try:
                # A wait without end could not be interrupted by Ctrl-C on Windows.
                first = self._waiting.get(timeout=0.1)
            except queue.Empty:
                if self._is_closed.is_set():
                    return
                continue
            together = [first]
            while not self._waiting.empty():
                block = self._waiting.get_nowait()
                if block.lost:
                    yield _joined(together)
                    together = []
                together.append(block)
            yield _joined(together)


def _joined(blocks: list[Block]) -> Block:
    return Block(np.concatenate([block.samples for block in blocks], axis=1), blocks[0].lost)


def microphone(
    inbox: Inbox, sample_rate: int, channels: int, device: str | None
) -> AbstractContextManager[Any]:
    """A recording that fills the inbox while the context is open.

    Args:
        inbox: Where the blocks go.
        sample_rate: In Hz.
        channels: To record.
        device: Number, or part of the name, of an input; None for the default one.

    Raises:
        MicrophoneError: If sounddevice or PortAudio is missing or the input cannot be opened so.
    """
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise MicrophoneError(f"the microphone needs the package sounddevice; {how_to_add('live')}") from None
    except OSError as error:
        raise MicrophoneError(
            f"the microphone needs the PortAudio library ({error}); install it (Debian: libportaudio2), or "
            "pipe the sound in with --stdin"
        ) from None

    def receive(samples: Samples, _frames: int, _time: object, _status: object) -> None:
        inbox.put(samples.T.copy())

    try:
        stream: AbstractContextManager[Any] = sounddevice.InputStream(
            samplerate=sample_rate,
            blocksize=round(sample_rate * MICROPHONE_BLOCK),
            device=int(device) if device is not None and device.isdecimal() else device,
            channels=channels,
            dtype="float32",
            callback=receive,
            finished_callback=inbox.close,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        wanted = f"{channels} channel(s) at {sample_rate} Hz"
        raise MicrophoneError(f"no input gives {wanted}: {error}") from None
    return stream


Writer = Callable[[Frames], None]


def csv_writer(out: TextIO) -> Writer:
    """Writes the lines of `Track.save_csv`, each at once."""
    print(CSV_HEADER, file=out, flush=True)

    def write(frames: Frames) -> None:
        rows = zip(frames.times, frames.frequency, frames.confidence, frames.voiced, strict=True)
        out.writelines(csv_row(*row) for row in rows)
        out.flush()

    return write


def json_writer(out: TextIO) -> Writer:
    """Writes a JSON object a line: `time` in s, `frequency` in Hz, `confidence`, `voiced`."""

    def write(frames: Frames) -> None:
        for time, frequency, confidence, voiced in zip(
            frames.times, frames.frequency, frames.confidence, frames.voiced, strict=True
        ):
            row = {
                "time": round(float(time), 6),
                "frequency": round(float(frequency), 3),
                "confidence": round(float(confidence), 6),
                "voiced": bool(voiced),
            }
            out.write(json.dumps(row) + "\n")
        out.flush()

    return write


def meter_writer(out: TextIO) -> Writer:
    """Shows the newest frame on one line that is written over: note, frequency, and a needle in cents."""

    def write(frames: Frames) -> None:
        if len(frames):
            out.write("\r" + meter(float(frames.frequency[-1]), voiced=bool(frames.voiced[-1])))
            out.flush()

    return write


def meter(frequency: float, *, voiced: bool, width: int = 41) -> str:
    """One line of the meter, always of the same length.

    Args:
        frequency: In Hz.
        voiced: Whether there is a pitch to show.
        width: Of the scale from -50 to +50 cents, in characters, odd.

    Example:
        >>> meter(440.0, voiced=True, width=11)
        'A4   +0 cents    440.0 Hz  [-----o-----]'
        >>> meter(446.0, voiced=True, width=11)
        'A4  +23 cents    446.0 Hz  [-----|-o---]'
        >>> meter(440.0, voiced=False, width=11)
        '--                         [-----|-----]'
    """
    middle = width // 2
    scale = ["-"] * width
    scale[middle] = "|"
    if not voiced:
        return f"{'--':<27}[{''.join(scale)}]"
    name, cents, _ = note_name(frequency).split()
    scale[middle + round(int(cents) / 50 * middle)] = "o"
    return f"{name:<3}{cents:>4} cents {frequency:>8.1f} Hz  [{''.join(scale)}]"


def follow(blocks: Iterator[Block], stream: Stream, write: Writer) -> int:
    """Track blocks as they come and write the frames as they become final, until the blocks end or Ctrl-C.

    Where samples were lost the stream starts afresh, and the times go on where the sound does.

    Args:
        blocks: From `pipe_blocks` or `Inbox.blocks`.
        stream: Of the blocks' sample rate.
        write: Called with the frames; times are in s since the first sample.

    Returns:
        Number of samples that were lost.
    """
    # Samples before the one that the stream takes as its first.
    start = position = lost = 0

    def shifted(frames: Frames) -> Frames:
        times = frames.times + start / stream.sample_rate
        return Frames(times, frames.frequency, frames.confidence, frames.voiced)

    while (block := _next_or_none(blocks)) is not None:
        try:
            if block.lost:
                write(shifted(stream.finish()))
                if not lost:
                    _say("the network cannot keep pace: sound is being dropped; try a smaller --model")
                lost += block.lost
                start = position = position + block.lost
            write(shifted(stream.push(block.samples)))
            position += block.samples.shape[1]
        except KeyboardInterrupt:
            # It may have been in the middle of a change.
            stream.reset()
            break
    write(shifted(stream.finish()))
    if lost:
        seconds, total = (n / stream.sample_rate for n in (lost, position))
        _say(f"{seconds:.2f} s of {total:.2f} s of sound were dropped, since the network cannot keep pace")
    return lost


def _next_or_none(blocks: Iterator[Block]) -> Block | None:
    try:
        return next(blocks, None)
    except KeyboardInterrupt:
        # The usual end of listening.
        return None


def _say(sentence: str) -> None:
    print(f"pitch: {sentence}", file=sys.stderr, flush=True)
