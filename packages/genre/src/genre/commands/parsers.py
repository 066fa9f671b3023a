"""What several sub-commands' parsers have in common."""

import argparse
from typing import TYPE_CHECKING

from audio_io.settings import add_arguments, from_arguments
from genre.run_config import PredictConfig, Settings
from genre.settings_file import add_settings, read_settings

if TYPE_CHECKING:
    from genre.layouts import Corpus
    from genre.predict import Predictor

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = argparse._SubParsersAction


def add_parser(commands: Commands, name: str, words: str, description: str) -> argparse.ArgumentParser:
    """The parser of a sub-command; its description keeps its line breaks."""
    return commands.add_parser(
        name,
        help=words,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_corpus(parser: argparse.ArgumentParser) -> None:
    """DATA, and how it is organised."""
    parser.add_argument("data", metavar="DATA", help="the corpus; see `genre separate --help`")
    parser.add_argument(
        "--layout",
        choices=("auto", "contest", "folders", "csv"),
        default="auto",
        help="how DATA is organised (default: auto)",
    )


def add_artists(parser: argparse.ArgumentParser) -> None:
    """A table of artists, for `open_corpus`."""
    parser.add_argument("--artists", metavar="CSV", help="table with the columns path and artist")


def open_corpus(arguments: argparse.Namespace) -> "Corpus":
    """The corpus of a parser from `add_corpus` and perhaps `add_artists`.

    Raises:
        LabelError: If a table cannot be read, or no track can be used.
    """
    from genre.folds import read_artists
    from genre.layouts import read_corpus

    corpus = read_corpus(arguments.data, arguments.layout)
    table = getattr(arguments, "artists", None)
    return read_artists(table, corpus) if table else corpus


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where the network runs."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """How many processes separate."""
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="INT", help="processes that separate (default: 1)"
    )


def add_predictor(parser: argparse.ArgumentParser) -> None:
    """A network, recordings, and what `open_predictor` reads besides."""
    parser.add_argument("model", metavar="MODEL", help="the checkpoint, such as best_model.pth")
    parser.add_argument("files", nargs="+", metavar="FILE", help="recordings, or folders of recordings")
    add_device(parser)
    add_arguments(parser, PredictConfig, title="windows")
    add_settings(parser, "separation", note=" (what is not given is as in training, whatever the default)")


def open_predictor(arguments: argparse.Namespace) -> "Predictor":
    """The network of a parser from `add_predictor`.

    Raises:
        FileError: If it is no checkpoint, or the file of settings cannot be read.
        ConfigError: If a setting cannot be used.
    """
    windows = from_arguments(PredictConfig, arguments)

    from genre import checkpoint as checkpoints
    from genre.predict import Predictor

    checkpoint = checkpoints.load(arguments.model)
    separation = read_settings(arguments, Settings(separation=checkpoint.separation)).separation
    return Predictor(checkpoint, windows, device=arguments.device, separation=separation)
