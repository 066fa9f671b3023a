"""Code written for torchcrepe, run by this package: `patch_torchcrepe` and torchcrepe's command line."""

import argparse
import inspect
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pitch
from audio_io import cli
from audio_io.errors import ConfigError
from pitch.capacities import CAPACITIES

_MODULES = ("convert", "decode", "filter", "load", "loudness", "threshold")

# What was replaced: module, name, the original.
_originals: list[tuple[ModuleType, str, Any]] = []


def patch_torchcrepe() -> None:
    """Make `torchcrepe.predict` and all its other public functions those of this package.

    Code that calls `torchcrepe.something` then has the six capacities and the fast network. Names that were
    imported one by one before (`from torchcrepe import predict`) stay as they are. Undone by
    `unpatch_torchcrepe`.

    Raises:
        ModuleNotFoundError: If torchcrepe is not installed.
    """
    import torchcrepe

    if _originals:
        return
    for name in torchcrepe.core.__all__:
        ours = getattr(pitch, name)
        for module in (torchcrepe, torchcrepe.core):
            _replace(module, name, ours)
    _replace(torchcrepe, "Crepe", pitch.Crepe)
    for module_name in _MODULES:
        theirs = getattr(torchcrepe, module_name)
        for name in [name for name, value in vars(theirs).items() if _is_own(value)]:
            _replace(theirs, name, getattr(getattr(pitch, module_name), name))


def unpatch_torchcrepe() -> None:
    """Undo `patch_torchcrepe`."""
    while _originals:
        module, name, original = _originals.pop()
        setattr(module, name, original)


def _replace(module: ModuleType, name: str, ours: object) -> None:
    _originals.append((module, name, getattr(module, name)))
    setattr(module, name, ours)


def _is_own(value: object) -> bool:
    is_code = inspect.isfunction(value) or inspect.isclass(value)
    return is_code and str(getattr(value, "__module__", "")).startswith("torchcrepe")


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m pitch` with the flags of `python -m torchcrepe`."""
    parser = argparse.ArgumentParser(prog="pitch")
    parser.add_argument("--audio_files", nargs="+", required=True, help="audio files to process")
    parser.add_argument("--output_files", nargs="+", required=True, help="where to save pitch or embedding")
    parser.add_argument("--hop_length", type=int, help="samples between frames (default: 10 ms)")
    parser.add_argument(
        "--output_harmonicity_files", nargs="+", help="old name of --output_periodicity_files"
    )
    parser.add_argument("--output_periodicity_files", nargs="+", help="where to save the periodicity")
    parser.add_argument("--embed", action="store_true", help="save the embedding instead of the pitch")
    parser.add_argument("--fmin", type=float, default=50.0, help="lowest pitch in Hz")
    parser.add_argument("--fmax", type=float, default=pitch.MAX_FMAX, help="highest pitch in Hz")
    parser.add_argument("--model", default="full", help="one of " + ", ".join(CAPACITIES))
    parser.add_argument(
        "--decoder", default="viterbi", help="argmax, weighted_argmax, viterbi, weighted_viterbi"
    )
    parser.add_argument("--batch_size", type=int, help="frames that go through the network at once")
    parser.add_argument("--gpu", type=int, help="number of the CUDA device (default: the CPU)")
    parser.add_argument("--no_pad", action="store_true", help="do not pad the audio")
    parser.set_defaults(command=_run)
    return cli.run(parser, arguments)


def _run(arguments: argparse.Namespace) -> int:
    device = cli.pick_device("cpu" if arguments.gpu is None else f"cuda:{arguments.gpu}")
    shared = {
        "hop_length": arguments.hop_length,
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "device": device,
        "pad": not arguments.no_pad,
    }
    if arguments.embed:
        pitch.embed_from_files_to_files(arguments.audio_files, arguments.output_files, **shared)
        return 0
    if arguments.decoder not in pitch.decode.DECODERS:
        raise ConfigError("decoder", repr(arguments.decoder), "one of " + ", ".join(pitch.decode.DECODERS))
    pitch.predict_from_files_to_files(
        arguments.audio_files,
        arguments.output_files,
        output_periodicity_files=arguments.output_periodicity_files or arguments.output_harmonicity_files,
        fmin=arguments.fmin,
        fmax=arguments.fmax,
        decoder=getattr(pitch.decode, arguments.decoder),
        **shared,
    )
    return 0
