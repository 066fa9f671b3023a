"""Measure vocoders by copy synthesis on the held-out recordings of `make_speech.py`.

    python measure_vocoder.py SPEECH OUT [CHECKPOINT ...]

compares the checkpoints ("embedded" if none is named) and Griffin-Lim on the recordings of
`SPEECH/validation.txt`, those of each program apart: the mel distance in dB, the STFT distance, the real-time
factor on one thread, and on the phantom how far F1 to F3, by linear prediction, lie from the recording's in
the frames of vowels. Writes `OUT/<program>/` as `mri2speech vocoder compare` does, and `OUT/measured.csv`.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from make_speech import PHANTOM_SEEDS, SAMPLE_RATE

import audio_io
from audio_io.atomic import write_text
from mri2speech.config import MelConfig
from mri2speech.evaluate.formants import formants
from mri2speech.phantom.anatomy import speaker
from mri2speech.phantom.corpus import frame_times
from mri2speech.phantom.gestures import compose, phone_at
from mri2speech.phantom.phones import VOWELS
from mri2speech.vocoder import EMBEDDED
from mri2speech.vocoder.compare import compare, summary
from mri2speech.vocoder.data import read_filelist

PROGRAMS = ("phantom", "espeak", "flite")
HEADS = (
    "program",
    "vocoder",
    "recordings",
    "mel_db",
    "stft",
    "real_time_factor",
    "f1_rmse_hz",
    "f2_rmse_hz",
    "f3_rmse_hz",
)


def formant_errors(name: str, recording: Path, made: Path, seed: int) -> npt.NDArray[np.float64]:
    """F1 to F3 of a vocoder's output minus those of the recording in Hz, `[T, 3]`, NaN outside vowels."""
    index = int(name.rpartition("_")[2])
    plan = compose(speaker(index, seed + PHANTOM_SEEDS), index, seed + PHANTOM_SEEDS)
    times = frame_times(plan, MelConfig().frame_rate)
    vowels = np.array([phone in VOWELS for phone in phone_at(plan, times)])
    tracks = [
        formants(audio_io.load(path)[0][0].numpy(), SAMPLE_RATE, times, vowels) for path in (recording, made)
    ]
    return tracks[1] - tracks[0]


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("speech", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("checkpoints", nargs="*", default=[EMBEDDED])
    parser.add_argument("--limit", type=int, default=20, help="recordings of each program")
    parser.add_argument("--seed", type=int, default=1, help="that the speech was made with")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = [",".join(HEADS)]
    held_out = read_filelist(arguments.speech / "validation.txt")
    for program in PROGRAMS:
        names = [name for name in held_out if name.startswith(program)][: arguments.limit]
        paths = [arguments.speech / "wavs" / f"{name}.wav" for name in names]
        folder = arguments.output / program
        for row in summary(compare(arguments.checkpoints, paths, folder, heard=4)):
            errors = [""] * 3
            if program == "phantom":
                made = folder / str(row["vocoder"])
                found = [formant_errors(path.stem, path, made / path.name, arguments.seed) for path in paths]
                rmse = np.sqrt(np.nanmean(np.concatenate(found) ** 2, axis=0))
                errors = [f"{value:.1f}" for value in rmse]
            lines.append(",".join([program, *(str(row[head]) for head in HEADS[1:6]), *errors]))
            print(lines[-1], flush=True)
    write_text(arguments.output / "measured.csv", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
