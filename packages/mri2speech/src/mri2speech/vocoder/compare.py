"""Several vocoders on the same mels: a table, the sounds, and a page to listen to them.

The folder gets `comparison.csv` (means by vocoder), `comparison.json` (each recording), the sounds as
`<vocoder>/<name>.wav`, and `index.html`, which has them in it and needs no other file.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name

import audio_io
from audio_io.atomic import write_json, write_text
from audio_io.errors import ConfigError, FileError
from audio_io.progress import Progress
from mri2speech.config import MelConfig
from mri2speech.features import DB_TO_LOG, mel_db, mel_log
from mri2speech.vocoder import EMBEDDED, load
from mri2speech.vocoder.checkpoint import latest
from mri2speech.vocoder.data import read_mel
from mri2speech.vocoder.generator import Generator
from mri2speech.vocoder.griffin_lim import griffin_lim
from mri2speech.vocoder.losses import stft_distance
from mri2speech.vocoder.page import Sound, write_page

REFERENCE, GRIFFIN_LIM = "recording", "griffin-lim"

Vocoder = Callable[[Tensor], Tensor]  # [n_mels, T] in dB to [T * hop_length]


@dataclass(frozen=True)
class Score:
    """One recording through one vocoder.

    Attributes:
        vocoder: Its name.
        recording: Its name.
        mel_db: Mean distance of the output's mel to the recording's, in dB.
        stft: Multi-resolution STFT distance to the recording, see `losses.stft_distance`.
        real_time_factor: Time taken as a share of the sound's length.
    """

    vocoder: str
    recording: str
    mel_db: float
    stft: float
    real_time_factor: float


def compare(
    checkpoints: Sequence[str | Path],
    recordings: Sequence[Path],
    folder: str | Path,
    *,
    mels: Path | None = None,
    baseline: bool = True,
    heard: int = 12,
    device: torch.device | None = None,
) -> list[Score]:
    """Run every vocoder on every recording's mel.

    Args:
        checkpoints: Files `g_*`, folders whose newest one is meant, or "embedded".
        recordings: What the mels are of, and what the outputs are compared with.
        folder: Where the results go.
        mels: Folder with `<name>.npy` that are used instead of the recordings' own, such as predicted ones.
        baseline: Whether Griffin-Lim takes part.
        heard: Recordings on the page, the first ones.
        device: Where the networks run; the CPU if None.

    Returns:
        A score for each vocoder and recording.

    Raises:
        FileError: If a file cannot be used, or the checkpoints have different mel settings.
        ConfigError: If there is no recording, or two have one name.
    """
    if not recordings:
        raise ConfigError("recordings", "none", "at least one sound file")
    known: dict[str, Path] = {}
    for path in recordings:
        if (other := known.setdefault(path.stem, path)) != path:
            raise ConfigError("recordings", f"{other} and {path}", "names that differ before the suffix")
    folder = Path(folder)
    vocoders, mel_config = _vocoders(checkpoints, baseline, torch.device("cpu") if device is None else device)
    scores: list[Score] = []
    page: dict[str, list[Sound]] = {}
    with Progress("comparing vocoders", len(recordings) * len(vocoders), "recordings") as progress:
        for path in recordings:
            waveform, given = _recording(path, mel_config, mels)
            sounds = [Sound(REFERENCE, waveform, mel_db(waveform, mel_config))]
            for name, vocode in vocoders.items():
                started = time.perf_counter()
                made = vocode(given)
                seconds = time.perf_counter() - started
                audio_io.save(
                    folder / name / f"{path.stem}.wav", made[None].clamp(-1, 1), mel_config.sample_rate
                )
                sounds.append(Sound(name, made, mel_db(made, mel_config)))
                scores.append(
                    Score(
                        vocoder=name,
                        recording=path.stem,
                        mel_db=float((sounds[0].mel - sounds[-1].mel).abs().mean()),
                        stft=float(stft_distance(waveform, made)),
                        real_time_factor=seconds * mel_config.sample_rate / len(made),
                    )
                )
                progress.advance(1)
            if len(page) < heard:
                page[path.stem] = sounds
    table = summary(scores)
    heads = ("vocoder", "recordings", "mel_db", "stft", "real_time_factor")
    lines = [",".join(heads), *(",".join(str(row[head]) for head in heads) for row in table)]
    write_text(folder / "comparison.csv", "\n".join(lines) + "\n")
    write_json(
        folder / "comparison.json", {"means": table, "recordings": [asdict(score) for score in scores]}
    )
    write_page(folder / "index.html", table, page, mel_config)
    return scores


def summary(scores: Sequence[Score]) -> list[dict[str, str | int | float]]:
    """The means by vocoder, in the order of their first score."""
    rows: list[dict[str, str | int | float]] = []
    for name in dict.fromkeys(score.vocoder for score in scores):
        own = [score for score in scores if score.vocoder == name]
        means = {
            key: round(sum(getattr(score, key) for score in own) / len(own), 4)
            for key in ("mel_db", "stft", "real_time_factor")
        }
        rows.append({"vocoder": name, "recordings": len(own), **means})
    return rows


def vocode(generator: Generator, mel: Tensor) -> Tensor:
    """The waveform that a generator makes of mels in dB, on the device where it is.

    Shape:
        - mel: `[num_mels, T]`
        - output: `[T * hop_size]`, on the CPU
    """
    device = next(generator.parameters()).device
    with torch.inference_mode():
        waveform: Tensor = generator(mel_log(mel)[None].to(device))[0, 0].cpu()
    # Made anew, so that it can be used outside inference mode.
    return waveform.clone()


def _vocoders(
    checkpoints: Sequence[str | Path], baseline: bool, device: torch.device
) -> tuple[dict[str, Vocoder], MelConfig]:
    vocoders: dict[str, Vocoder] = {}
    mel: MelConfig | None = None
    for checkpoint in checkpoints:
        path = latest(checkpoint, "g_") if Path(checkpoint).is_dir() else checkpoint
        generator = load(path, mel=mel).to(device)
        mel = generator.config.mel
        vocoders[_label(path, vocoders)] = partial(vocode, generator)
    mel = MelConfig() if mel is None else mel
    if baseline:
        vocoders[GRIFFIN_LIM] = partial(griffin_lim, config=mel)
    return vocoders, mel


def _label(path: str | Path, taken: Mapping[str, Vocoder]) -> str:
    if str(path) == EMBEDDED:
        return EMBEDDED
    # Checkpoints of two runs may have the same number.
    name = Path(path).name
    return name if name not in taken else f"{Path(path).resolve().parent.name}_{name}_{len(taken)}"


def _recording(path: Path, config: MelConfig, mels: Path | None) -> tuple[Tensor, Tensor]:
    """A recording cut to whole hops, and the mel in dB for the vocoders, of as many frames."""
    loaded, _ = audio_io.load(path, sample_rate=config.sample_rate, channels="mono")
    waveform = loaded[0]
    if len(waveform) < config.n_fft:
        raise FileError(path, f"{len(waveform)} samples", f"at least {config.n_fft}, the length of a window")
    frames = len(waveform) // config.hop_length
    given = mel_db(waveform, config)
    if mels is not None:
        given = read_mel(mels / f"{path.stem}.npy", config.n_mels) / DB_TO_LOG
        frames = min(frames, given.shape[1])
    length = frames * config.hop_length
    return F.pad(waveform[:length], (0, max(0, length - len(waveform)))), given[:, :frames]
