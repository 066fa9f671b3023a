"""`mri2speech vocoder`: train HiFi-GAN, make its mels, compare and convert its checkpoints."""

import argparse
import contextlib
from pathlib import Path

from audio_io import cli
from audio_io.errors import ConfigError
from audio_io.settings import add_arguments, from_arguments
from mri2speech.commands.parsers import Commands, sub_parser
from mri2speech.vocoder import EMBEDDED, checkpoint_of
from mri2speech.vocoder.config import CONFIG_NAME, TrainConfig, VocoderConfig, VocoderData

TRAIN = """\
Train HiFi-GAN on recordings, or fine-tune it with --fine-tuning on mels that an acoustic model predicted.

The same command goes on with a run that was interrupted; checkpoints of the original project in the folder of
the run are gone on with as well. In that folder: g_XXXXXXXX, do_XXXXXXXX, config.json, metrics.csv,
curves.png, and TensorBoard events with sound. The names of the original script's options do as well."""
EXPORT = """\
Write the mels of a preprocessed data set as the vocoder's fine-tuning reads them: mels_gt_log/<ID>.npy from
the recordings and, with --acoustic, mels_ft_log_normalized/<ID>.npy as that model predicts them."""
COMPARE = """\
Run several vocoders on the mels of the same recordings: a table (comparison.csv, .json), the sounds, and
index.html to listen to them."""
CONVERT = """\
Write a generator's checkpoint with its weight norm folded into the weights, or in half precision. Any
spelling of the weight norm's keys is read; what is written is the original project's."""


def add_command(commands: Commands) -> None:
    """Add the parsers."""
    parser = commands.add_parser("vocoder", help="HiFi-GAN: train, export mels, compare, convert")
    own = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(sub_parser(own, "train", "train or fine-tune HiFi-GAN", TRAIN, train))
    _add_export(sub_parser(own, "export-mels", "mels for fine-tuning", EXPORT, export_mels))
    _add_compare(sub_parser(own, "compare", "several vocoders on the same mels", COMPARE, compare))
    _add_convert(sub_parser(own, "convert", "fold weight norm, halve precision", CONVERT, convert))


def _add_train(parser: argparse.ArgumentParser) -> None:
    def add(name: str, original: str, text: str, *, metavar: str = "DIR", required: bool = False) -> None:
        parser.add_argument(name, original, type=Path, metavar=metavar, required=required, help=text)

    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="config.json (default: that beside --start; without, the brief's figures)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="preprocessed data set, for wavs and file lists"
    )
    parser.add_argument(
        "--split",
        type=Path,
        metavar="FILE",
        help="split.json of the acoustic model instead of lists",
    )
    add("--wavs", "--input_wavs_dir", "folder of the recordings")
    add("--training-list", "--input_training_file", "recordings to train on", metavar="FILE")
    add("--validation-list", "--input_validation_file", "recordings to validate on", metavar="FILE")
    add("--output-dir", "--checkpoint_path", "folder of the run", required=True)
    parser.add_argument(
        "--start", metavar="FILE", help="g_* that a new run starts from, or embedded for the package's own"
    )
    parser.add_argument(
        "--fine-tuning", "--fine_tuning", nargs="?", const=True, default=False, type=_flag, metavar="1",
        help="take the mels from --mels instead of the recordings",
    )  # fmt: skip
    add("--mels", "--input_mels_dir", "predicted mels, <ID>.npy")
    add("--extra-mels", "--extra_mels_dir", "ground-truth mels, <ID>.npy")
    parser.add_argument(
        "--extra-mels-weight", "--extra_mels_weight", type=float, default=0.8, metavar="SHARE",
        help="share of the samples that take --extra-mels (default: 0.8)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add_arguments(parser, TrainConfig, title="training")
    # The original's names of four of them.
    for name, target in (
        ("--training_epochs", "epochs"),
        ("--checkpoint_interval", "checkpoint_interval"),
        ("--validation_interval", "validation_interval"),
        ("--summary_interval", "log_interval"),
    ):
        parser.add_argument(name, dest=target, type=int, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def train(arguments: argparse.Namespace) -> int:
    """`mri2speech vocoder train`."""
    settings = from_arguments(TrainConfig, arguments)
    device = cli.pick_device(arguments.device)
    from mri2speech.vocoder.train import train as run

    start = contextlib.nullcontext() if arguments.start is None else checkpoint_of(arguments.start)
    with start as path:
        file = arguments.config or (path and path.with_name(CONFIG_NAME))
        config = VocoderConfig() if file is None else VocoderConfig.load(file)
        target = run(config, settings, _data(arguments), arguments.output_dir, start=path, device=device)
    print(f"wrote {target}, {target.with_name('curves.png')}")
    return 0


def _data(arguments: argparse.Namespace) -> VocoderData:
    wavs, training, validation = arguments.wavs, arguments.training_list, arguments.validation_list
    if arguments.split is not None:
        from mri2speech.vocoder.data import write_filelists

        if arguments.data is None or training or validation:
            raise ConfigError("split", arguments.split, "with it --data, and no lists")
        training, validation = write_filelists(arguments.data, arguments.split, arguments.output_dir)
    if (folder := arguments.data) is not None:
        lists = folder / "hifigan_filelists"
        wavs = wavs or folder / "wavs"
        training, validation = training or lists / "training.txt", validation or lists / "validation.txt"
    for field, value in (("wavs", wavs), ("training-list", training), ("validation-list", validation)):
        if value is None:
            raise ConfigError(field, "nothing", f"--{field}, or a preprocessed data set with --data")
    mels = arguments.mels
    if not arguments.fine_tuning:
        return VocoderData(wavs, training, validation)
    if mels is None:
        raise ConfigError("mels", "nothing", "with --fine-tuning, the folder of predicted mels (--mels)")
    return VocoderData(wavs, training, validation, mels, arguments.extra_mels, arguments.extra_mels_weight)


def _flag(text: str) -> bool:
    if text.lower() not in ("0", "1", "true", "false"):
        raise argparse.ArgumentTypeError(f"found {text}, expected 1 or 0")
    return text.lower() in ("1", "true")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="preprocessed data set")
    parser.add_argument("--acoustic", type=Path, metavar="FILE", help="checkpoint of the acoustic model")
    parser.add_argument("--scaler", type=Path, metavar="FILE", help="scaler.json instead of the model's own")
    parser.add_argument(
        "-o", "--output-dir", type=Path, metavar="DIR", help="where (default: in the data set)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")


def export_mels(arguments: argparse.Namespace) -> int:
    """`mri2speech vocoder export-mels`."""
    device = cli.pick_device(arguments.device)
    from mri2speech.vocoder.export import export_mels as run

    written = run(
        arguments.data,
        arguments.output_dir,
        acoustic=arguments.acoustic,
        scaler=arguments.scaler,
        device=device,
    )
    for name, count in written.items():
        print(f"wrote {count} mels to {(arguments.output_dir or arguments.data) / name}")
    return 0


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoints", nargs="*", default=[EMBEDDED], metavar="CHECKPOINT",
        help="g_*, a folder whose newest one is meant, or embedded (default: embedded)",
    )  # fmt: skip
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="DIR", help="preprocessed data set: its validation list")
    source.add_argument("--wavs", type=Path, metavar="DIR", help="folder of recordings")
    parser.add_argument(
        "--mels", type=Path, metavar="DIR", help="mels to use instead, such as predicted ones"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="use the first N recordings")
    parser.add_argument("--no-griffin-lim", action="store_true", help="leave the baseline out")
    parser.add_argument("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="where")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")


def compare(arguments: argparse.Namespace) -> int:
    """`mri2speech vocoder compare`."""
    device = cli.pick_device(arguments.device)
    from mri2speech.vocoder.compare import compare as run
    from mri2speech.vocoder.compare import summary
    from mri2speech.vocoder.data import recordings

    if arguments.limit is not None and arguments.limit < 1:
        raise ConfigError("limit", arguments.limit, "at least 1")
    paths = recordings(arguments.wavs, arguments.data)[: arguments.limit]
    scores = run(
        arguments.checkpoints,
        paths,
        arguments.output_dir,
        mels=arguments.mels,
        baseline=not arguments.no_griffin_lim,
        device=device,
    )
    print(f"{'vocoder':<28}{'mel (dB)':>10}{'STFT':>10}{'real time':>12}")
    for row in summary(scores):
        print(
            f"{row['vocoder']:<28}{row['mel_db']:>10.2f}{row['stft']:>10.3f}{row['real_time_factor']:>12.3f}"
        )
    print(f"wrote {arguments.output_dir / 'index.html'}, comparison.csv, comparison.json and the sounds")
    return 0


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="CHECKPOINT", help="g_*, with its config.json beside it")
    parser.add_argument("target", type=Path, metavar="TARGET", help="file to write, config.json beside it")
    parser.add_argument(
        "--remove-weight-norm", action="store_true", help="fold the weight norm into plain weights"
    )
    parser.add_argument("--half", action="store_true", help="store in half precision")


def convert(arguments: argparse.Namespace) -> int:
    """`mri2speech vocoder convert`."""
    from mri2speech.vocoder.checkpoint import load_generator, save_generator

    generator = load_generator(arguments.source, remove_weight_norm=arguments.remove_weight_norm)
    save_generator(arguments.target, generator, half=arguments.half)
    print(f"wrote {arguments.target} and {arguments.target.with_name('config.json')}")
    return 0
