"""Rendered songs on disk, as training draws from them: 16 bits, memory-mapped, made once."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio_io.atomic import write_json
from audio_io.errors import FileError
from audio_io.progress import Progress
from separation_coreml.stems.render import render
from separation_coreml.stems.song import STEMS, compose

_FULL_SCALE = 32767


class Bank:
    """Stems of songs in one file; a bank whose making was interrupted goes on where it stopped.

    Args:
        path: The file; which songs it holds, and how many are finished, is kept beside it (`.json`).
        songs: How many.
        seconds: Length of each.
        seed: Of the first song; the next have the next seeds.

    Raises:
        FileError: If the file holds other songs.

    Shape:
        - samples: `[songs, stems, 2, T]`, 16 bits
    """

    def __init__(self, path: str | Path, *, songs: int, seconds: float, seed: int) -> None:
        path = Path(path)
        shape = (songs, len(STEMS), 2, compose(seconds, seed).length)
        size = 2 * int(np.prod(shape))
        if path.exists() and path.stat().st_size != size:
            raise FileError(path, f"{path.stat().st_size} bytes", f"{size}, which these songs have")
        record, held = path.with_suffix(".json"), {"seconds": seconds, "seed": seed}
        done = _finished(record, held, songs) if path.exists() and record.is_file() else 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self.samples: npt.NDArray[np.int16] = np.memmap(
            path, np.int16, "r+" if path.exists() else "w+", shape=shape
        )
        with Progress("render", songs, "songs") as progress:
            progress.advance(done)
            for index in range(done, songs):
                stems = render(seconds, seed + index)
                for place, name in enumerate(STEMS):
                    self.samples[index, place] = np.rint(stems[name] * _FULL_SCALE)
                self.samples.flush()
                write_json(record, {**held, "finished": index + 1})
                progress.advance(1)

    def batch(
        self, rng: np.random.Generator, size: int, length: int, *, remix: float
    ) -> npt.NDArray[np.float32]:
        """Stems of excerpts, whose sum is the mixture.

        Args:
            rng: What excerpts are drawn with.
            size: Number of excerpts.
            length: Of each, in samples.
            remix: Share of the excerpts whose stems come from different songs.

        Shape:
            - result: `[size, stems, 2, length]`
        """
        songs, stems, channels, frames = self.samples.shape
        batch = np.empty((size, stems, channels, length), np.float32)
        for excerpt in batch:
            apart = rng.random() < remix
            song, start = rng.integers(songs), rng.integers(frames - length + 1)
            for stem in range(stems):
                if apart:
                    song, start = rng.integers(songs), rng.integers(frames - length + 1)
                gain = 10 ** (rng.uniform(-6, 6) / 20) / _FULL_SCALE
                sides = slice(None, None, -1) if rng.random() < 0.5 else slice(None)
                excerpt[stem] = gain * self.samples[song, stem, sides, start : start + length]
        return batch


def _finished(record: Path, held: dict[str, float], songs: int) -> int:
    """How many songs are there, according to a record of the same songs."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        same, count = {key: found[key] for key in held}, int(found["finished"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(record, "no record of rendered songs", "what the training has written") from error
    if same != held or not 0 <= count <= songs:
        raise FileError(record, f"songs of {same}", f"{held}, or another folder")
    return count
