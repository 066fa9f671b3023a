"""What every command line of the workspace shares: exit codes, device, seed.

Exit codes: 0 done; 1 the work was done and its result is negative (a check that failed); 2 the input cannot
be used, one sentence on stderr; 130 interrupted by Ctrl-C. A traceback always means a defect in our code.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import TYPE_CHECKING

from audio_io.errors import ConfigError, UserError

if TYPE_CHECKING:
    import torch

Command = Callable[[argparse.Namespace], int]


def build_parser(distribution: str, description: str) -> argparse.ArgumentParser:
    """A parser named after a distribution, with `--version` and help that keeps its line breaks."""
    parser = argparse.ArgumentParser(
        prog=distribution,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {metadata.version(distribution)}")
    return parser


def run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> int:
    """Parse, run the chosen command, and turn errors of the user's into one sentence and an exit code.

    A command is the function that its sub-parser stored with `set_defaults(command=…)`; without one the
    help is printed.

    Args:
        parser: From `build_parser`, with the sub-commands added.
        arguments: What follows the program name; `sys.argv[1:]` if None.

    Returns:
        The exit code, for `sys.exit`.
    """
    _print_anything()
    parsed = parser.parse_args(arguments)
    command: Command | None = getattr(parsed, "command", None)
    if command is None:
        parser.print_help()
        return 0
    try:
        return command(parsed)
    except UserError as error:
        return _fail(parser.prog, str(error))
    except BrokenPipeError:
        # The reader (head, less) has gone; stdout is replaced so that Python's own flush at exit stays
        # silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        # A full disk or a folder without write permission is the user's to mend; without a path it is our
        # defect.
        if error.filename is None:
            raise
        return _fail(parser.prog, f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        print(f"\n{parser.prog}: interrupted", file=sys.stderr)
        return 130


def _print_anything() -> None:
    """Let file names and musical signs be printed where the terminal's encoding lacks them (as a `?`)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _fail(program: str, sentence: str) -> int:
    print(f"{program}: error: {sentence}", file=sys.stderr)
    return 2


def pick_device(name: str) -> "torch.device":
    """The torch device of a name, checked to be there.

    Args:
        name: `auto` (CUDA, else Apple's MPS, else CPU), or any name that torch knows: `cpu`, `cuda`,
            `cuda:1`, `mps`.

    Raises:
        ConfigError: If there is no such device on this machine.
    """
    import torch

    present = ["cpu"]
    if torch.backends.mps.is_available():
        present.insert(0, "mps")
    if torch.cuda.is_available():
        present = [f"cuda:{index}" for index in range(torch.cuda.device_count())] + present
    if name == "auto":
        return torch.device(present[0])
    if name not in present and name not in {entry.split(":")[0] for entry in present}:
        raise ConfigError("device", repr(name), "auto or one that is here: " + ", ".join(present))
    return torch.device(name)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices), so that a run can be repeated."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries that draw from the global state are the reason
    torch.manual_seed(seed)
