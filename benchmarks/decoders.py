"""How often each decoder finds the true pitch, on melodies that are known exactly.

    uv run --package pitch python benchmarks/decoders.py

Prints a Markdown table: share of voiced frames within 50 cents, and the median error.
"""

import argparse

import numpy as np
import torch

from pitch import TrackConfig, Tracker, evaluate
from pitch.synth import PHRASE, Note, sung_phrase

DECODERS = ("argmax", "viterbi", "weighted_viterbi")


def melody(seconds: float, notes: int = 24) -> tuple[Note, ...]:
    """Random notes over two and a half octaves, with a rest after every third."""
    rng = np.random.default_rng(0)
    sung: list[Note] = []
    for index in range(notes):
        sung.append(Note(float(rng.integers(48, 80)), seconds, str(rng.choice(list("aeio")))))
        if index % 3 == 2:
            sung.append(Note(None, 0.7 * seconds))
    return tuple(sung)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--hop-length", type=int, default=160)
    options = parser.parse_args()

    materials = {
        "the shipped phrase": PHRASE,
        "melody, notes of 0.5 s": melody(0.5),
        "melody, notes of 0.25 s": melody(0.25),
        "melody, notes of 0.12 s": melody(0.12),
    }
    print("| material | SNR | " + " | ".join(f"`{name}`" for name in DECODERS) + " |")
    print("|---" * (2 + len(DECODERS)) + "|")
    trackers = {
        name: Tracker(TrackConfig(model=options.model, decoder=name, hop_length=options.hop_length))
        for name in DECODERS
    }
    for title, notes in materials.items():
        phrase = sung_phrase(notes)
        noise = np.random.default_rng(1).standard_normal(len(phrase.waveform))
        for snr in (None, 0):
            level = 0.0 if snr is None else np.sqrt(np.mean(phrase.waveform**2) / 10 ** (snr / 10))
            waveform = torch.from_numpy(phrase.waveform + level * noise)
            cells = []
            for tracker in trackers.values():
                track = tracker.track(waveform, phrase.sample_rate)
                scores = evaluate.score(track.frequency, track.voiced, phrase.f0_at(track.times))
                cells.append(f"{scores.raw_pitch_accuracy:.1%} / {scores.median_cents:.1f}")
            print(f"| {title} | {'clean' if snr is None else f'{snr} dB'} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
