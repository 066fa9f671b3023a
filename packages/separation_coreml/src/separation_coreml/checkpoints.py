"""Weights from files: found or fetched, checked against pinned hashes, read without running their code.

Fetched files are kept where `torch.hub` keeps them (`~/.cache/torch/hub/checkpoints`; the variable TORCH_HOME
moves it), so files that demucs or Open-Unmix have fetched are found, and the other way round.
"""

import contextlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audio_io.atomic import atomic_path, file_digest
from audio_io.errors import FileError, UserError

_DAMAGE = (EOFError, LookupError, OSError, RuntimeError, ValueError)


class CheckpointError(FileError):
    """A file of weights is damaged, of another model, or not the one it is said to be."""


class WeightsNotFoundError(UserError):
    """The official weights are neither on this machine nor to be had."""


@dataclass(frozen=True)
class WeightFile:
    """One published file.

    Attributes:
        url: Where it is.
        digest: The first digits of its SHA-256, or all; None where its authors publish none.
        folder: Below the folder of `torch.hub`.
    """

    url: str
    digest: str | None
    folder: str = "checkpoints"

    @property
    def cached(self) -> Path:
        """Where it is kept on this machine."""
        return Path(torch.hub.get_dir()) / self.folder / self.url.rsplit("/", 1)[-1]

    def fetch(self) -> Path:
        """The file on this machine, downloaded if need be.

        Raises:
            WeightsNotFoundError: If it cannot be downloaded.
            CheckpointError: If it is not the one that was published.
        """
        if not self.cached.is_file():
            self._download()
        else:
            self._check(self.cached, f"{self.digest}… (of {self.url}); delete it to fetch it again")
        return self.cached

    def _check(self, path: Path, expected: str) -> None:
        if self.digest is None:
            return
        found = file_digest(path)[: len(self.digest)]
        if found != self.digest:
            raise CheckpointError(self.cached, f"SHA-256 {found}…", expected)

    def _download(self) -> None:
        try:
            with atomic_path(self.cached) as temporary:
                torch.hub.download_url_to_file(self.url, str(temporary), progress=False)
                # A connection that breaks off looks like the end of the file.
                self._check(temporary, f"{self.digest}… from {self.url}")
        except (OSError, HTTPException) as error:
            raise WeightsNotFoundError(
                f"{self.url}: could not be downloaded ({type(error).__name__}); fetch it on a machine with "
                f"access and save it as {self.cached}"
            ) from error


def read_checkpoint(path: Path, *, classes: Iterable[type] = ()) -> dict[str, Any]:
    """What a `.pth`, `.th`, `.pt` or `.safetensors` file holds, read without running code from it.

    Args:
        path: The file.
        classes: Classes whose names may occur in it, besides tensors and built-in types.

    Raises:
        CheckpointError: If there is no such file or it holds no dictionary.
    """
    expected = "a dictionary of tensors saved by torch.save, or a safetensors file"
    if not path.is_file():
        raise CheckpointError(path, "a folder" if path.is_dir() else "no file", expected)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        with torch.serialization.safe_globals(list(classes)):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # Damaged files fail in as many ways as unpickling has steps; all of them mean the same.
        raise CheckpointError(path, "a file that cannot be read as weights", expected) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(path, f"a {type(content).__name__}", expected)
    return dict(content)


@contextlib.contextmanager
def reading_archive(path: Path, expected: str) -> Iterator[None]:
    """Raises CheckpointError for what a damaged archive, or one of other content, makes a reader raise."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, *_DAMAGE) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise CheckpointError(path, "another kind of file", expected) from error


def network_state(content: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict of a checkpoint, whatever the training program put around it."""
    for key in ("state_dict", "state", "best_state", "model_state_dict"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    # Checkpoints of several GPUs have a prefix.
    return {key.removeprefix("module."): value for key, value in content.items()}


def fill(
    module: nn.Module, state: Mapping[str, Any], path: Path, *, title: str, spare: Iterable[str] = ()
) -> None:
    """Put a state dict into a module, whose parameters it has to match exactly.

    Args:
        module: The network.
        state: Tensors by name; half precision becomes float32.
        path: Where they come from, for the message.
        title: What the network is called in the message.
        spare: Names of tensors that the file may hold besides, or lack.

    Raises:
        CheckpointError: If a tensor is missing, of another shape, or unknown; the first one is named.
    """
    check_fit(module, state, path, title=title, spare=spare)
    unused = set(spare)
    wanted = module.state_dict()
    tensors = {key: state[key].to(wanted[key].dtype) for key in wanted if key in state and key not in unused}
    module.load_state_dict(tensors, strict=False)


def check_fit(
    module: nn.Module, state: Mapping[str, Any], path: Path, *, title: str, spare: Iterable[str] = ()
) -> None:
    """The check of `fill` alone."""
    unused, wanted = set(spare), module.state_dict()
    for key, value in wanted.items():
        if key in unused:
            continue
        if not isinstance(state.get(key), Tensor):
            raise CheckpointError(path, f"no tensor {key!r}", f"the parameters of {title}")
        if state[key].shape != value.shape:
            found = f"{key!r} of shape {tuple(state[key].shape)}"
            raise CheckpointError(path, found, f"shape {tuple(value.shape)}, as {title} has it")
    unknown = next((key for key in state if key not in wanted and key not in unused), None)
    if unknown is not None:
        raise CheckpointError(path, f"a tensor {unknown!r}", f"only the parameters of {title}")


def only_file(folder: Path, pattern: str) -> Path:
    """The file of a folder that a pattern matches.

    Raises:
        CheckpointError: If there is none, or several.
    """
    with contextlib.suppress(ValueError):
        (found,) = folder.glob(pattern)
        return found
    raise CheckpointError(folder, f"{len(list(folder.glob(pattern)))} files {pattern}", "one of them")
