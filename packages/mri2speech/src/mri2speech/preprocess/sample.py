"""One film and its sound to one sample: a folder that is whole or not there."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.format import open_memmap
from torch.nn import functional

import audio_io
from audio_io.atomic import fingerprint, write_json
from audio_io.errors import FileError
from mri2speech.config import MelConfig
from mri2speech.features import mel_db
from mri2speech.film import Video, VideoError
from mri2speech.meta import Alignment, Sample, sample_folder
from mri2speech.preprocess.config import PreprocessConfig
from mri2speech.preprocess.frames import Floats, load_mask, mel_times, network_frames, within
from mri2speech.preprocess.sources import Source
from mri2speech.video import open_video

_VERSION = 1  # of what is written; a change makes all samples anew
_TEMPORARY = ".tmp-"
# Settings of the corpus, which leave its samples as they are.
_NOT_OF_A_SAMPLE = (
    "audio_offset", "audio_offsets", "audio_suffix", "mask_dir", "pairs", "scaler", "seed", "speaker_pattern",
    "validation_fraction",
)  # fmt: skip


@dataclass(frozen=True)
class SampleTask:
    """Makes samples; can be sent to another process.

    Attributes:
        out_dir: Folder of the data set.
        config: How frames are made.
        mel: How mels are made.
    """

    out_dir: Path
    config: PreprocessConfig
    mel: MelConfig

    def __call__(self, source: Source) -> Sample:
        """See `make_sample`."""
        return make_sample(source, self.out_dir, self.config, self.mel)


def current_sample(source: Source, out_dir: Path, config: PreprocessConfig, mel: MelConfig) -> Sample | None:
    """The sample, if it is there, whole, and of this source with these settings."""
    try:
        record = json.loads((sample_folder(out_dir, source.id) / "sample.json").read_text(encoding="utf-8"))
        if (
            record["fingerprint"] != _fingerprint(source, config, mel)
            or not _wav(out_dir, source.id).is_file()
        ):
            return None
        return Sample.from_json(record["sample"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def make_sample(source: Source, out_dir: Path, config: PreprocessConfig, mel: MelConfig) -> Sample:
    """Write `samples/<ID>` and `wavs/<ID>.wav`.

    Raises:
        FileError: If the film, the sound or the mask cannot be used: VideoError, AudioError among them.
    """
    before = _fingerprint(source, config, mel)
    size = config.image_size
    mask = None if source.mask is None else load_mask(source.mask, size)
    video = open_video(source.video, fps=config.fps)
    waveform, audio_start, notes = _sound(source, video, config, mel)
    if len(waveform) < mel.n_fft:
        found = f"a sound of {len(waveform)} samples at {mel.sample_rate} Hz"
        raise FileError(source.audio or source.video, found, f"at least n_fft = {mel.n_fft}")
    mels = mel_db(waveform, mel).T.numpy()  # [T, n_mels]
    times = mel_times(len(mels), mel, audio_start)
    audio_duration = len(waveform) / mel.sample_rate
    rows = _common_rows(source, video, times, audio_duration, config)
    alignment = Alignment(
        audio_start=round(audio_start, 6),
        first_mel=rows.start,
        video_duration=round(video.duration, 6),
        audio_duration=round(audio_duration, 6),
        end_difference=round(audio_start + audio_duration - video.duration, 6),
    )
    folder = sample_folder(out_dir, source.id)
    temporary = folder.with_name(f"{_TEMPORARY}{source.id}-{os.getpid()}-{secrets.token_hex(4)}")
    temporary.mkdir(parents=True)
    try:
        frames = network_frames(video, times[rows], config, mask)
        shape = (rows.stop - rows.start, size, size)
        flat = _write_frames(temporary / "mri.npy", frames, shape, config.dtype)
        notes += _notes(source, video, flat, shape[0])
        np.save(temporary / "mel_db.npy", np.ascontiguousarray(mels[rows], dtype=np.float32))
        np.save(temporary / "mask.npy", np.ones((size, size), np.float32) if mask is None else mask)
        sample = Sample(
            id=source.id,
            speaker=source.speaker,
            frames=shape[0],
            source=source.name,
            audio=source.audio_name,
            mask=None if source.mask is None else source.mask.name,
            fps=round(video.fps, 6),
            alignment=alignment,
            notes=tuple(notes),
        )
        write_json(temporary / "sample.json", {"sample": asdict(sample), "fingerprint": before})
        speech = _speech_of(waveform, rows, mel.hop_length)
        audio_io.save(_wav(out_dir, source.id), speech, mel.sample_rate, subtype="PCM_16")
        _replace_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sample


def remove_temporaries(out_dir: Path) -> None:
    """Remove what a run that was killed has left half-written."""
    for place in (out_dir / "samples", out_dir / "wavs", out_dir):
        for path in place.glob(".*") if place.is_dir() else ():
            if path.is_dir() and path.name.startswith(_TEMPORARY):
                shutil.rmtree(path)
            elif path.is_file() and ".tmp" in path.suffixes:  # of `atomic_path`
                path.unlink()


def _sound(
    source: Source, video: Video, config: PreprocessConfig, mel: MelConfig
) -> tuple[torch.Tensor, float, list[str]]:
    """The sound `[N]` at the rate of the mels, when it begins on the clock of the film, and remarks."""
    start = source.offset
    path = source.audio
    if path is None:
        if not video.has_sound:
            raise VideoError(
                source.name, "no sound track", "one, or a sound file of the same name in audio_dir"
            )
        path = source.video
        start += audio_io.info(path).start_time - video.start_time
    waveform = audio_io.load(path, sample_rate=mel.sample_rate, channels="mono")[0][0]  # [N]
    notes = []
    if config.denoise:
        waveform = _denoised(waveform, mel.sample_rate)
    peak = float(waveform.abs().max()) if len(waveform) else 0.0
    if peak == 0.0:
        notes.append("the sound is silent")
    if peak > 1.0:
        notes.append(f"the sound was scaled by {1 / peak:.3f} to stay within full scale")
        waveform /= peak
    return waveform, start, notes


def _denoised(waveform: torch.Tensor, sample_rate: int) -> torch.Tensor:
    # Spectral gating, T. Sainburg et al. 2020, https://doi.org/10.1371/journal.pcbi.1008228
    import noisereduce

    reduced = noisereduce.reduce_noise(y=waveform.numpy(), sr=sample_rate, stationary=True)
    return torch.from_numpy(np.asarray(reduced, dtype=np.float32))


def _common_rows(
    source: Source,
    video: Video,
    times: npt.NDArray[np.float64],
    audio_duration: float,
    config: PreprocessConfig,
) -> slice:
    """The mel frames that film and sound both cover."""
    difference = float(times[0]) + audio_duration - video.duration
    if abs(difference) > config.length_tolerance:
        found = (
            f"a film of {video.duration:.3f} s and a sound that ends {abs(difference):.3f} s "
            f"{'after' if difference > 0 else 'before'} it"
        )
        expected = f"ends within length_tolerance = {config.length_tolerance:g} s"
        raise VideoError(source.name, found, expected)
    rows = within(video, times)
    if rows.stop - rows.start < config.ref_frames:
        found = f"{max(0, rows.stop - rows.start)} frames that film and sound share"
        raise VideoError(source.name, found, f"at least {config.ref_frames}, ref_frames")
    return rows


def _speech_of(waveform: torch.Tensor, rows: slice, hop_length: int) -> torch.Tensor:
    """The sound of these mel frames, `hop_length` samples for each: from the centre of the first one on."""
    speech = waveform[rows.start * hop_length : rows.stop * hop_length]
    return functional.pad(speech, (0, (rows.stop - rows.start) * hop_length - len(speech)))


def _write_frames(path: Path, frames: Iterator[Floats], shape: tuple[int, int, int], dtype: str) -> list[int]:
    """Write frames one by one; the indices of those that are zero throughout."""
    array = open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    flat = []
    for index, frame in enumerate(frames):
        array[index] = frame
        if not frame.any():
            flat.append(index)
    array.flush()
    return flat


def _notes(source: Source, video: Video, flat: list[int], count: int) -> list[str]:
    notes = []
    if len(flat) == count:
        raise VideoError(source.name, "frames of one grey value throughout", "pictures")
    if flat:
        notes.append(
            f"{len(flat)} of {count} frames are of one grey value and became 0, the first is {flat[0]}"
        )
    if video.is_variable:
        notes.append("the frame rate varies; time stamps were followed")
    if video.colours.met:
        notes.append("the film is in colour; its luma was taken")
    return notes


def _replace_folder(temporary: Path, folder: Path) -> None:
    for path in temporary.iterdir():
        # Flushed as `atomic_path` does, so that the rename is never ahead of the content.
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    if folder.exists():
        old = temporary.with_name(temporary.name + "-old")
        folder.replace(old)
        shutil.rmtree(old, ignore_errors=True)
    temporary.replace(folder)


def _wav(out_dir: Path, identity: str) -> Path:
    return out_dir / "wavs" / f"{identity}.wav"


def _fingerprint(source: Source, config: PreprocessConfig, mel: MelConfig) -> str:
    settings = {key: value for key, value in asdict(config).items() if key not in _NOT_OF_A_SAMPLE}
    files = [_state(path) for path in (source.video, source.audio, source.mask)]
    # The folders that they are in may be named in another way the next time.
    described = asdict(source) | {"video": "", "audio": "", "mask": ""}
    return fingerprint([_VERSION, settings, asdict(mel), files, described])


def _state(path: Path | None) -> list[tuple[str, int, int]] | None:
    """Size and time of change of a file, or of the files in a folder."""
    if path is None:
        return None
    files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
