"""Reading 5 s of four stems from the cache, against `np.savez_compressed` as the brief's cache has it.

    uv run --package genre python packages/genre/benchmarks/cache.py [--repeats 20]

Both files hold the same 30 s of four mono stems at 22,050 Hz (decaying noise bursts, which compress no better
than music does); each read gives float32 `[4, N]` of a random span. Reads are warm and take turns; the times
are the median processor time of this process.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from genre.config import STEMS, FeatureConfig, SeparationConfig
from genre.layouts import Track
from genre.stem_archive import Samples, write_archive
from genre.stem_cache import StemCache

RATE, SECONDS, SPAN = 22050, 30, 5


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    stems = make_stems()
    with tempfile.TemporaryDirectory() as folder:
        cache = StemCache(SeparationConfig(separator="none", separation_cache_dir=folder), FeatureConfig())
        track = Track("track", Path("track"))
        brief = Path(folder) / "brief.npz"
        writes = {
            "brief": timed(
                lambda: np.savez_compressed(
                    brief, original=stems.sum(axis=0), **dict(zip(STEMS, stems, strict=True))
                )
            ),
            "genre": timed(lambda: write_archive(cache.path(track), stems, {})),
        }
        reads: dict[str, Callable[[int], Samples]] = {
            "brief": lambda start: read_compressed(brief, start),
            "genre": lambda start: cache.read(track, start, SPAN * RATE),
        }
        difference = np.abs(reads["brief"](RATE) - reads["genre"](RATE)).max() / np.abs(stems).max()
        times: dict[str, list[float]] = {name: [] for name in reads}
        generator = np.random.default_rng(1)
        for _ in range(repeats):
            start = int(generator.integers((SECONDS - SPAN) * RATE))
            for name, read in reads.items():
                times[name].append(timed(lambda read=read, start=start: read(start)))  # type: ignore[misc]
        sizes = {"brief": brief.stat().st_size, "genre": cache.path(track).stat().st_size}
    medians = {name: statistics.median(values) for name, values in times.items()}
    print("| cache | MB | write, ms | read 5 s, ms |\n|---|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {sizes[name] / 1e6:.1f} | {1e3 * writes[name]:.0f} | {1e3 * median:.2f} |")
    ratio = medians["brief"] / medians["genre"]
    print(f"\nread: {ratio:.0f} times less; greatest difference {difference:.1e} of the peak")


def make_stems() -> Samples:
    """Noise whose level decays anew every half second, `[4, N]`."""
    generator = np.random.default_rng(0)
    envelope = np.exp(-6 * (np.arange(SECONDS * RATE) % (RATE // 2)) / RATE)
    return (0.2 * envelope * generator.standard_normal((4, SECONDS * RATE))).astype(np.float32)


def read_compressed(path: Path, start: int) -> Samples:
    """Four arrays as a whole, of which a span is used."""
    with np.load(path) as archive:
        return np.stack([archive[stem][start : start + SPAN * RATE] for stem in STEMS])


def timed(call: Callable[[], object]) -> float:
    """Seconds of processor time."""
    started = time.process_time()
    call()
    return time.process_time() - started


if __name__ == "__main__":
    main()
