"""`mri2speech preprocess`: films and sound files to a data set."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from audio_io.settings import add_arguments, from_arguments
from mri2speech.commands.parsers import Commands
from mri2speech.config import MelConfig
from mri2speech.preprocess.config import PreprocessConfig

if TYPE_CHECKING:
    from mri2speech.preprocess.corpus import Report

DESCRIPTION = """\
Make a data set of films of the vocal tract: frames of 256x256 at the times of the mel frames of the speech.

Films: MP4, MOV, AVI, MKV, WebM, MPEG; arrays (.npy, .npz) [T, H, W]; DICOM files or folders with a series
(extra dicom). Sound: the file of the same name in --audio-dir (by default beside the film), else the
film's own sound track. Written are samples/<ID>/{mri,mel_db,mask}.npy, wavs, scaler.json, meta.json,
hifigan_filelists, pairs_ref4_npy/index.npy, report.json, and preprocess.png, to be looked at.

A run that was interrupted goes on where it was. A film that cannot be used is reported, in report.json too,
and the rest goes on. Exit code: 0; 1 if films were dropped; 2 if none could be used.

The names of the original script do as well: --sr, --preemph, and underscores instead of hyphens."""

# The options of the original script whose names are not those of the settings.
_ALIASES = {"sr": "sample_rate", "preemph": "preemphasis"}


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "preprocess",
        help="films and sound files to a data set",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--data-dir", "--data_dir", type=Path, required=True, metavar="DIR", help="folder of the films"
    )
    parser.add_argument(
        "--audio-dir", "--audio_dir", type=Path, metavar="DIR", help="folder of the sound files"
    )
    parser.add_argument(
        "--out-dir", "--out_dir", type=Path, required=True, metavar="DIR", help="where the data set goes"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    add_arguments(parser, MelConfig, title="mel spectrogram")
    add_arguments(parser, PreprocessConfig, title="frames and files")
    _add_original_names(parser)
    parser.set_defaults(command=run)


def _add_original_names(parser: argparse.ArgumentParser) -> None:
    names = {**_ALIASES, "n_mels": "", "n_fft": "", "hop_length": "", "win_length": "", "ref_frames": ""}
    kinds = {
        field.name: type(field.default)
        for config in (MelConfig, PreprocessConfig)
        for field in dataclasses.fields(config)
    }
    for name, field in names.items():
        target = field or name
        parser.add_argument(
            f"--{name}", dest=target, type=kinds[target], default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def run(arguments: argparse.Namespace) -> int:
    """`mri2speech preprocess`."""
    mel, config = from_arguments(MelConfig, arguments), from_arguments(PreprocessConfig, arguments)

    from mri2speech.preprocess.corpus import preprocess

    report = preprocess(
        arguments.data_dir,
        arguments.out_dir,
        config,
        mel,
        audio_dir=arguments.audio_dir,
        workers=arguments.workers,
    )
    _print(report, arguments.out_dir, mel)
    if report.meta is None:
        return 2
    return 1 if report.dropped else 0


def _print(report: "Report", out_dir: Path, mel: MelConfig) -> None:
    for film, reason in report.dropped:
        # Most reasons begin with the path of the film.
        sentence = reason if film in reason else f"{film}: {reason}"
        print(f"mri2speech: dropped: {sentence}", file=sys.stderr)
    if report.unused_offsets:
        names = ", ".join(report.unused_offsets)
        print(f"mri2speech: audio_offsets names samples that are not there: {names}", file=sys.stderr)
    if report.meta is None:
        print("mri2speech: error: no film could be used", file=sys.stderr)
        return
    samples = report.meta.samples
    for sample in samples:
        for note in sample.notes:
            print(f"mri2speech: note: {sample.id}: {note}", file=sys.stderr)
    seconds = report.meta.frames / mel.frame_rate
    speakers = len({sample.speaker for sample in samples})
    print(
        f"{len(samples)} samples ({report.kept} were there already) of {speakers} speakers, "
        f"{report.meta.frames} frames, {seconds:.1f} s, in {out_dir}; {len(report.dropped)} dropped"
    )
