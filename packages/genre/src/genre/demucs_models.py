"""Demucs models by name: which files they need, where those are, and how they are read without running code.

A name is that of a bag (a `.yaml` with the signatures of its models) or a signature. Files are called
`<signature>-<first digits of the SHA-256>.th`. The official ones are kept where `torch.hub` keeps them
(`~/.cache/torch/hub/checkpoints`, moved by TORCH_HOME), so what demucs has fetched is found.

Reference: `demucs.repo` and `demucs.states` of https://github.com/adefossez/demucs, whose formats these are.
"""

from dataclasses import dataclass
from fractions import Fraction
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
import yaml  # type: ignore[import-untyped]
from demucs.apply import BagOfModels
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from demucs.pretrained import REMOTE_ROOT, _parse_remote_files
from demucs.states import load_model

from audio_io.atomic import atomic_path, file_digest
from audio_io.errors import ConfigError, FileError, UserError
from genre.config import STEMS, SeparationConfig

_CLASSES = [HTDemucs, HDemucs, Demucs, Fraction]


class WeightsNotFoundError(UserError):
    """The weights of a model are neither on this machine nor to be had."""


@dataclass(frozen=True)
class WeightFile:
    """One file of weights.

    Attributes:
        path: Where it is, or would be kept.
        url: Where it comes from; None in a local folder.
    """

    path: Path
    url: str | None = None

    @property
    def signature(self) -> str:
        """What bags call it."""
        return self.path.stem.split("-", 1)[0]

    @property
    def digest(self) -> str:
        """First digits of its SHA-256 according to its name; empty if it names none."""
        return self.path.stem.partition("-")[2]

    @property
    def identity(self) -> str:
        """Tells it from every other content: its name, or without a digest there, that and its digest.

        Raises:
            WeightsNotFoundError: If only the content could tell, and it is not there.
        """
        if self.digest:
            return self.path.stem
        if not self.path.is_file():
            raise WeightsNotFoundError(f"{self.path}: found no file, expected the weights of a Demucs model")
        return f"{self.path.stem}-{file_digest(self.path)[:8]}"


@dataclass(frozen=True)
class _Bag:
    """Models whose outputs are averaged; `weights` and `segment` as demucs's `BagOfModels` takes them."""

    files: tuple[WeightFile, ...]
    weights: list[list[float]] | None = None
    segment: float | None = None


def model_files(config: SeparationConfig) -> tuple[WeightFile, ...]:
    """The files that a model consists of, whether they are there or not.

    Raises:
        ConfigError: If the folder or the model does not exist; it names the field.
    """
    return _find_bag(config).files


def load_demucs(config: SeparationConfig) -> BagOfModels:
    """The model of a configuration, on the CPU and in evaluation mode.

    Raises:
        ConfigError: If the folder or the model does not exist, or it lacks one of the four stems; it names
            the field.
        WeightsNotFoundError: If its weights are not here and cannot be downloaded.
        FileError: If a file is damaged or no Demucs model.
    """
    name, bag = config.separation_model, _find_bag(config)
    model = BagOfModels([_read(file, name) for file in bag.files], bag.weights, bag.segment)
    missing = [stem for stem in STEMS if stem not in model.sources]
    if missing:
        found = f"a model with the stems {', '.join(model.sources)}"
        raise ConfigError("separation_model", f"{name!r}, {found}", f"one that gives {', '.join(missing)}")
    model.eval().requires_grad_(False)
    return model


def _find_bag(config: SeparationConfig) -> _Bag:
    name, files = config.separation_model, _files_by_signature(config)
    if name in files:
        return _Bag((files[name],))
    # A local folder may hold the weights alone: which ones a bag consists of is known from demucs.
    folders = [REMOTE_ROOT] if config.separation_repo is None else [Path(config.separation_repo), REMOTE_ROOT]
    path = next((path for folder in folders if (path := folder / f"{name}.yaml").is_file()), None)
    if path is None:
        known = {path.stem for folder in folders for path in folder.glob("*.yaml")}
        raise ConfigError("separation_model", repr(name), "one of " + ", ".join(sorted(known)))
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for signature in content["models"]:
        if signature not in files:
            found = f"no file {signature}-*.th in {config.separation_repo}"
            raise ConfigError("separation_repo", found, f"the weights that {name!r} consists of")
    listed = tuple(files[signature] for signature in content["models"])
    return _Bag(listed, content.get("weights"), content.get("segment"))


def _files_by_signature(config: SeparationConfig) -> dict[str, WeightFile]:
    if config.separation_repo is None:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        urls = _parse_remote_files(REMOTE_ROOT / "files.txt")
        return {sig: WeightFile(folder / url.rsplit("/", 1)[-1], url) for sig, url in urls.items()}
    folder = Path(config.separation_repo)
    if not folder.is_dir():
        found = "a file" if folder.is_file() else "nothing"
        raise ConfigError("separation_repo", f"{found} at {folder}", "a folder with Demucs models")
    files: dict[str, WeightFile] = {}
    for path in sorted(folder.glob("*.th")):
        file = WeightFile(path)
        if file.signature in files:
            both = f"{files[file.signature].path.name} and {path.name} in {folder}"
            raise ConfigError("separation_repo", both, "one file for each signature")
        files[file.signature] = file
    return files


def _read(file: WeightFile, model: str) -> Any:  # noqa: ANN401 - a network of any of demucs's classes
    path, expected = file.path, "a Demucs model as demucs saves it"
    if not path.is_file():
        _download(file, model)
    if file.digest and (found := file_digest(path)[: len(file.digest)]) != file.digest:
        raise FileError(path, f"SHA-256 {found}…", f"{file.digest}…, as its name says")
    try:
        with torch.serialization.safe_globals(_CLASSES):
            package = torch.load(path, map_location="cpu", weights_only=True)
        quantized = "__quantized" in package["state"]
        network = None if quantized else load_model(package)  # type: ignore[no-untyped-call]
    except OSError:
        raise
    except Exception as error:
        # Damaged files fail in as many ways as unpickling has steps; all of them mean the same.
        raise FileError(path, "a file that cannot be read as weights", expected) from error
    if network is None:
        raise FileError(path, "a quantized model (DiffQ)", "one that is not, such as mdx_extra or htdemucs")
    return network


def _download(file: WeightFile, model: str) -> None:
    reason = "it is not in the folder"
    if file.url is not None:
        try:
            with atomic_path(file.path) as temporary:
                torch.hub.download_url_to_file(file.url, str(temporary), progress=False)
        except (OSError, HTTPException) as error:
            reason = f"{file.url} could not be downloaded ({type(error).__name__})"
        else:
            return
    raise WeightsNotFoundError(
        f"the weights of the Demucs model {model!r} are missing: {reason}; fetch that file on a machine with "
        f"access and save it as {file.path}, or in a folder that --separation-repo names"
    )
