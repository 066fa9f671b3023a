"""`mri2speech train`: the acoustic model learns mels from films."""

import argparse
import dataclasses
import os
from pathlib import Path
from typing import TypeVar

from audio_io import cli
from audio_io.errors import ConfigError
from audio_io.settings import add_arguments, from_arguments
from mri2speech.acoustic.config import AcousticConfig, FitConfig, LossConfig
from mri2speech.commands.parsers import Commands

DESCRIPTION = """\
Train the acoustic model on a data set of `mri2speech preprocess`.

Without --data, the whole pipeline is shown on the embedded phantom: films with exactly known sound are made,
preprocessed and learned, utterances that the model has not seen are spoken, their formants compared with the
truth, and heat maps drawn; index.html in --output-dir (default: mri2speech_demo) shows it all.

The same command goes on with a run that was interrupted. In the folder of the run:
  best.pt       the model with the lowest validation loss, with its scaler and mel settings
  curves.png    losses, and the error of each formant's bands, over the epochs
  metrics.csv, split.json, last.ckpt, and logs/ for TensorBoard

The names of the original script do as well: underscores instead of hyphens."""

MOST_WORKERS = 8  # processes that make films; each needs a few hundred MB
T = TypeVar("T")

CONFIGS = {
    "architecture": AcousticConfig,
    "training": FitConfig,
    "loss": LossConfig,
}


def add_command(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "train",
        help="train the acoustic model",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="data set that preprocess wrote; without, the demo is run"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a smaller demo, which only shows that all works"
    )
    parser.add_argument(
        "-o", "--output-dir", "--output_dir", type=Path, metavar="DIR", help="folder of the run"
    )
    parser.add_argument(
        "--out-ckpt", "--out_ckpt", type=Path, metavar="FILE", help="the best model (default: DIR/best.pt)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    parser.add_argument(
        "--pretrained", action="store_true", help="start the CNN from timm's ImageNet weights"
    )
    parser.add_argument(
        "--backbone-weights", type=Path, metavar="FILE", help="start the CNN from this file of timm's weights"
    )
    for title, config in CONFIGS.items():
        add_arguments(parser, config, title=title)
        _add_original_names(parser, config)
    parser.set_defaults(command=run)


def _add_original_names(parser: argparse.ArgumentParser, config: type) -> None:
    for field in dataclasses.fields(config):
        if "_" in field.name:
            is_flag = isinstance(field.default, bool)
            parser.add_argument(
                f"--{field.name}",
                dest=field.name,
                default=argparse.SUPPRESS,
                help=argparse.SUPPRESS,
                **({"action": argparse.BooleanOptionalAction} if is_flag else {"type": type(field.default)}),
            )


def run(arguments: argparse.Namespace) -> int:
    """`mri2speech train`."""
    if arguments.data is None:
        for option in ("out_ckpt", "pretrained", "backbone_weights"):
            if getattr(arguments, option):
                name = option.replace("_", "-")
                raise ConfigError("data", "none", f"a data set, as --{name} is given, which the demo has not")
        return run_demo(arguments)
    if arguments.quick:
        raise ConfigError("quick", "--data as well", "one of them: --quick is a smaller demo")
    if arguments.output_dir is None:
        raise ConfigError("output-dir", "none", "a folder for the run: --output-dir DIR")
    architecture = from_arguments(AcousticConfig, arguments)
    config, loss = from_arguments(FitConfig, arguments), from_arguments(LossConfig, arguments)
    device = cli.pick_device(arguments.device)

    from mri2speech.acoustic.train import fit

    fit(
        arguments.data,
        arguments.output_dir,
        config,
        architecture=architecture,
        loss=loss,
        out_ckpt=arguments.out_ckpt,
        device=device,
        pretrained=arguments.pretrained,
        backbone_weights=arguments.backbone_weights,
    )
    return 0


def run_demo(arguments: argparse.Namespace) -> int:
    """`mri2speech train` without --data: the demo."""
    from mri2speech.demo.config import FULL, OUTPUT_DIR, QUICK

    preset = QUICK if arguments.quick else FULL
    config = dataclasses.replace(
        preset.of_seed(arguments.seed),
        acoustic=_changed(preset.acoustic, arguments),
        loss=_changed(preset.loss, arguments),
        training=_changed(preset.training, arguments),
    )
    device = cli.pick_device(arguments.device)

    from mri2speech.demo.run import run as run_stages

    workers = min(os.cpu_count() or 1, MOST_WORKERS)
    run_stages(arguments.output_dir or Path(OUTPUT_DIR), config, device=device, workers=workers)
    return 0


def _changed(preset: T, arguments: argparse.Namespace) -> T:
    """The demo's settings, with those of the command line that are not the brief's defaults."""
    given = {
        field.name: value
        for field in dataclasses.fields(preset)  # type: ignore[arg-type]  # a configuration
        if (value := getattr(arguments, field.name)) != field.default
    }
    return dataclasses.replace(preset, **given)  # type: ignore[type-var]
