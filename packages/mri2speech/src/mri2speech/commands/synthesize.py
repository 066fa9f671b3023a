"""`mri2speech synthesize`: speech from films."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from audio_io import cli
from audio_io.errors import ConfigError, FileError, UserError
from mri2speech.commands.parsers import Commands
from mri2speech.config import IMAGE_SIZE
from mri2speech.preprocess.config import PreprocessConfig
from mri2speech.vocoder import EMBEDDED

if TYPE_CHECKING:
    from mri2speech.synthesize import Speech, Synthesizer

DESCRIPTION = """\
Make speech of films: OUT/<film>.wav at the mels' sample rate and OUT/<film>.png with the predicted mels.

Films may be files, or folders whose films are all taken; OUT has the sub-folders of these. With
--every-checkpoint the same is done for each checkpoint in a folder, acoustic models (*.pt) or vocoders (g_*),
into OUT/<checkpoint>/. A film or checkpoint that cannot be used is reported, and the rest goes on. Exit code:
0; 1 if some could not be used; 2 if no speech could be made."""


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "synthesize",
        help="make speech of films",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("films", nargs="+", type=Path, metavar="FILM", help="a film, or a folder of films")
    parser.add_argument("--acoustic", type=Path, metavar="FILE", help="acoustic model, best.pt")
    parser.add_argument(
        "--vocoder",
        default=EMBEDDED,
        metavar="FILE",
        help="embedded, griffin-lim, or a checkpoint g_* with its config.json (default: embedded)",
    )
    parser.add_argument(
        "--scaler", "--scaler-json", type=Path, metavar="FILE", help="scaler.json instead of the model's own"
    )
    parser.add_argument(
        "--every-checkpoint", type=Path, metavar="DIR", help="use each checkpoint of this folder in turn"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    prepared = parser.add_argument_group("how the films are prepared, as for the training")
    prepared.add_argument("--image-size", type=int, default=IMAGE_SIZE, metavar="PIXELS")
    prepared.add_argument("--resize", choices=("stretch", "letterbox"), default="stretch")
    prepared.add_argument("--interpolation", choices=("linear", "nearest"), default="linear")
    prepared.add_argument("--fps", type=float, help="frame rate, where the film itself does not tell")
    prepared.add_argument(
        "--mask",
        type=Path,
        metavar="FILE",
        help="the speaker's mask, if the data set of the training had one",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """`mri2speech synthesize`."""
    config = PreprocessConfig(
        image_size=arguments.image_size,
        resize=arguments.resize,
        interpolation=arguments.interpolation,
        fps=arguments.fps,
    )
    from mri2speech.synthesize import Synthesizer

    films = _films(arguments.films)
    device = cli.pick_device(arguments.device)
    made = failed = 0
    for folder, acoustic, vocoder in _models(arguments):
        try:
            synthesizer = Synthesizer.load(acoustic, vocoder, scaler=arguments.scaler, device=device)
        except UserError as error:
            print(f"mri2speech: {error}", file=sys.stderr)
            failed += len(films)
            continue
        for name, film in films.items():
            target = folder / f"{name}.wav"
            try:
                speech = synthesizer.film(film, config, mask=arguments.mask)
                _write(target, speech, synthesizer)
            except UserError as error:
                print(f"mri2speech: {error}", file=sys.stderr)
                failed += 1
                continue
            made += 1
            seconds = speech.waveform.shape[-1] / speech.sample_rate
            print(
                f"{film.name}: {seconds:.2f} s of speech at {speech.real_time_factor:.2f} times its length, "
                f"{target}"
            )
    return 0 if not failed else 1 if made else 2


def _films(paths: list[Path]) -> dict[str, Path]:
    """The films by the names of their results, below the folder that was given."""
    from mri2speech.preprocess.sources import find_films

    films: dict[str, Path] = {}
    for path in paths:
        for film in find_films(path):
            inside = film.relative_to(path) if film != path else Path(film.resolve().name)
            name = (inside if film.is_dir() else inside.with_suffix("")).as_posix()
            if (other := films.setdefault(name, film)) != film:
                found = f"{other} and {film}, whose speech would be one file, {name}.wav"
                raise ConfigError("films", found, "films of different names")
    if not films:
        raise ConfigError("films", "folders without a film", "at least one film")
    return films


def _models(arguments: argparse.Namespace) -> list[tuple[Path, Path, str | Path]]:
    """Folder of the results, acoustic model and vocoder, for each run."""
    output: Path = arguments.output
    if arguments.every_checkpoint is None:
        if arguments.acoustic is None:
            raise ConfigError("acoustic", "none", "the checkpoint of an acoustic model, --acoustic best.pt")
        return [(output, arguments.acoustic, arguments.vocoder)]
    folder: Path = arguments.every_checkpoint
    vocoders = sorted(path for path in folder.glob("g_*") if path.is_file())
    models = sorted(folder.glob("*.pt"))
    if vocoders and arguments.acoustic is None:
        raise ConfigError("acoustic", "none", "the acoustic model that the vocoders are compared with")
    runs: list[tuple[Path, Path, str | Path]] = [
        (output / path.name, arguments.acoustic, path) for path in vocoders
    ]
    runs += [(output / path.stem, path, arguments.vocoder) for path in models]
    if not runs:
        raise FileError(folder, "no checkpoints", "acoustic models *.pt, or vocoders g_*")
    return runs


def _write(target: Path, speech: "Speech", synthesizer: "Synthesizer") -> None:
    from audio_io import save
    from audio_io.figures import new_figure

    target.parent.mkdir(parents=True, exist_ok=True)
    save(target, speech.waveform[None], speech.sample_rate)
    rate = synthesizer.mel_config.frame_rate
    mels = speech.mel_db.numpy()
    with new_figure(target.with_name(f"{target.stem}.png"), width=10.0, height=4.0) as figure:
        axes = figure.add_subplot()
        extent = (-0.5 / rate, (mels.shape[1] - 0.5) / rate, -0.5, mels.shape[0] - 0.5)
        image = axes.imshow(mels, origin="lower", aspect="auto", extent=extent, interpolation="nearest")
        axes.set(xlabel="time in s", ylabel="mel band", title=f"{target.stem}: mels read off the film")
        axes.grid(visible=False)
        figure.colorbar(image, ax=axes, label="dB", pad=0.01)
