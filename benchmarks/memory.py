"""Peak memory of pitch tracking on ever longer recordings (Linux).

    uv run --package pitch python benchmarks/memory.py

Each recording is tracked in a process of its own, with a hop of 100 ms to keep it short; prints a table.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile

import audio_io
from pitch import demo

PROGRAM = """
import resource, sys, time
import pitch
tracker = pitch.Tracker(pitch.TrackConfig(model="tiny", hop_length=1600))
started = time.perf_counter()
track = tracker.track_file(sys.argv[1])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{len(track.frequency)} | {peak:.0f} MiB | {time.perf_counter() - started:.0f} s")
"""


def write_recording(path: Path, minutes: int) -> None:
    """The shipped phrase over and over, 16 bit, written piece by piece."""
    phrase, sample_rate = audio_io.load(demo.recording())
    samples = minutes * 60 * sample_rate
    with soundfile.SoundFile(path, "w", sample_rate, 1, "PCM_16") as file:
        while file.tell() < samples:
            file.write(phrase[0, : samples - file.tell()].numpy())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 10, 60, 180])
    options = parser.parse_args()
    print("| minutes | frames | peak memory | time |\n|---|---|---|---|")
    for minutes in options.minutes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "long.wav"
            write_recording(path, minutes)
            command = [sys.executable, "-c", PROGRAM, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"| {minutes} | {done.stdout.strip()} |", flush=True)


if __name__ == "__main__":
    main()
