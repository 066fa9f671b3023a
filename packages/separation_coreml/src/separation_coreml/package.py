"""Writing `.mlpackage` folders that are either complete or absent."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from audio_io.errors import ConfigError
from separation_coreml.core_ml_tools import coremltools

SUFFIX = ".mlpackage"


def check_path(path: str | Path) -> Path:
    """The path of a package to write.

    Raises:
        ConfigError: If it has another suffix, or is there and not a package.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ConfigError("output", str(path), f"a name that ends in {SUFFIX}")
    if path.exists() and not (path / "Manifest.json").is_file():
        raise ConfigError("output", f"{path}, which is there and no package", "a new name or a package")
    return path


@contextlib.contextmanager
def atomic_package(target: str | Path) -> Iterator[Path]:
    """A temporary package path beside `target`, renamed to it when the block ends without an exception.

    A folder cannot replace another in one step, so an earlier package steps aside first and is deleted last;
    on any exception it stays as it was.

    Args:
        target: Where the finished package shall be; missing parent folders are made.

    Yields:
        The path to write to.
    """
    final = Path(target).resolve()
    final.parent.mkdir(parents=True, exist_ok=True)
    stem = f".{final.stem}.{os.getpid()}-{secrets.token_hex(4)}"
    temporary, aside = (final.with_name(f"{stem}.{kind}{SUFFIX}") for kind in ("tmp", "old"))
    try:
        yield temporary
        if final.exists():
            final.replace(aside)
        try:
            temporary.replace(final)
        except OSError:
            if aside.exists():
                aside.replace(final)
            raise
    finally:
        for leftover in (temporary, aside):
            shutil.rmtree(leftover, ignore_errors=True)


def add_metadata(package: str | Path, texts: Mapping[str, str]) -> None:
    """Write further texts into the metadata of a package that is not in use yet."""
    specification = coremltools().utils.load_spec(str(package))
    specification.description.metadata.userDefined.update(texts)
    file = Path(package) / "Data" / "com.apple.CoreML" / "model.mlmodel"
    file.write_bytes(specification.SerializeToString())


def size_mb(path: str | Path) -> float:
    """Size of a package in MB (10^6 bytes)."""
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file()) / 1e6
