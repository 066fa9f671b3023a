"""The corpus on disk: a folder of stems for each song, and the table of labels and artists."""

import csv
import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import audio_io
from audio_io.atomic import write_text
from audio_io.claims import claim_for
from audio_io.progress import Progress
from genre.config import GENRES, STEMS
from genre.corpus.compose import compose, make_artist
from genre.corpus.config import DemoConfig
from genre.corpus.render import Renderer
from genre.layouts import MIXTURE, TABLE

SETTINGS = "corpus.json"
_VERSION = 1  # of the songs that a seed gives
_SCALE = 2**-15  # exact in float32, so that files hold the integers unchanged


def render_corpus(folder: str | Path, config: DemoConfig | None = None) -> None:
    """Compose and render the corpus; `genre.layouts.read_corpus` reads it.

    Each song is a folder `<genre>/<artist>_<song>` with `mixture` and the four stems, in 16 bit and mono. The
    mixture is the sum of the stems exactly. Songs that are there already are kept, so that what was
    interrupted can go on.

    Args:
        folder: Where; it is made if missing.
        config: Size and seed; the defaults if None.

    Raises:
        FileError: If the folder holds something else, or there is no soundfont.
    """
    config = DemoConfig() if config is None else config
    root = Path(folder)
    claim_for(root / SETTINGS, {**asdict(config), "version": _VERSION}, "a rendered corpus")
    renderer = Renderer(config.sample_rate)
    samples = round(config.duration * config.sample_rate)
    rows = []
    with Progress("render", len(GENRES) * config.artists * config.songs, "songs") as progress:
        for genre in GENRES:
            for number in range(config.artists):
                artist = make_artist(config, genre, number)
                for song in range(config.songs):
                    place = f"{genre}/{artist.name}_{song:02d}"
                    # Each song has its own stream, so that it is the same whichever were there before.
                    rng = np.random.default_rng([config.seed, GENRES.index(genre), number, song])
                    if not _is_complete(root / place, config):
                        stems = renderer.song(compose(config, artist, rng), artist, samples, rng)
                        _write_song(root / place, stems, config)
                    rows.append((place, genre, artist.name))
                    progress.advance(1)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("path", "label", "artist"), *rows])
    write_text(root / TABLE, text.getvalue())


def _files(folder: Path, config: DemoConfig) -> list[Path]:
    return [folder / f"{name}.{config.container}" for name in (*STEMS, MIXTURE)]


def _is_complete(folder: Path, config: DemoConfig) -> bool:
    return all(path.is_file() for path in _files(folder, config))


def _write_song(folder: Path, stems: NDArray[np.int16], config: DemoConfig) -> None:
    tracks = [*stems, stems.sum(axis=0, dtype=np.int32)]
    for path, track in zip(_files(folder, config), tracks, strict=True):
        waveform = torch.from_numpy(track.astype(np.float32) * _SCALE)
        audio_io.save(path, waveform, config.sample_rate, subtype="PCM_16")
