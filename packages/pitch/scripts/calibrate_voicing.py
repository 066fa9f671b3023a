"""Fit the calibration of voicing in `pitch.voicing` and say how reliable it is.

    python packages/pitch/scripts/calibrate_voicing.py [CAPACITY ...]

For each capacity and for all together: the curve's values at the knots, the expected calibration error
on other phrases and other noise than those it was fitted on, and voicing recall and false alarms of several
settings. Voiced and unvoiced frames have the same weight.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import nnls

from pitch import TrackConfig, Tracker, synth
from pitch.framing import Framer
from pitch.voicing import KNOTS, VoicingGate, level

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

RATE = 16000  # Hz
LEVELS_DB = (None, 20.0, 10.0, 0.0, -5.0)  # of the voice above the noise
NOISE_ALONE_DB = -30.0  # of full scale
FAINT_NOISE_DB = -75.0  # of full scale: what a silent room leaves of a microphone
BINS = 15  # of the reliability diagram
SETTINGS = {
    "threshold 0.5, no gate": TrackConfig(silence_db=None),
    "threshold 0.5": TrackConfig(),
    "0.5, ends below 0.4": TrackConfig(threshold_low=0.4),
    "0.5, ends below 0.3": TrackConfig(threshold_low=0.3),
    "0.5, ends below 0.2": TrackConfig(threshold_low=0.2),
    "0.6, ends below 0.3": TrackConfig(threshold=0.6, threshold_low=0.3),
    "0.4, no hysteresis": TrackConfig(threshold=0.4),
    "0.5/0.3, at least 30 ms": TrackConfig(threshold_low=0.3, min_voiced=0.03, min_unvoiced=0.03),
}


@dataclass(frozen=True)
class Observation:
    """One waveform as the network sees it: `[K]` each."""

    name: str
    confidence: npt.NDArray[np.float32]
    levels: npt.NDArray[np.float32]
    voiced: Bools


def main() -> None:
    """Fit and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("capacities", nargs="*", default=["tiny", "full"], metavar="CAPACITY")
    everything: list[list[Observation]] = [[], []]
    for name in parser.parse_args().capacities:
        tracker = Tracker(TrackConfig(model=name))
        seen, unseen = (observe(tracker, seed) for seed in (0, 1))
        report(name, fit(seen), unseen)
        decisions(unseen)
        everything[0].extend(seen)
        everything[1].extend(unseen)
    report("all", fit(everything[0]), everything[1])


def material(seed: int) -> Iterator[tuple[str, Floats, synth.Phrase]]:
    """Names, waveforms and the phrases that they hold (of no pitch for noise and silence)."""
    rng = np.random.default_rng(seed)
    for register in (45.0, 57.0, 69.0):  # MIDI numbers: A2, A3, A4
        phrase = synth.sung_phrase(_melody(rng, register), sample_rate=RATE, seed=seed)
        power = np.mean(phrase.waveform[phrase.f0 > 0] ** 2)
        for snr in LEVELS_DB:
            noise = 0.0 if snr is None else np.sqrt(power) * 10 ** (-snr / 20)
            waveform = phrase.waveform + noise * _noise(rng, len(phrase.waveform))
            yield "clean" if snr is None else f"{snr:g} dB", waveform, phrase
    silent = synth.Phrase(np.zeros(3 * RATE), np.zeros(3 * RATE), RATE)
    for name, decibels in (
        ("noise alone", NOISE_ALONE_DB),
        ("faint noise", FAINT_NOISE_DB),
        ("zeros", -np.inf),
    ):
        yield name, 10 ** (decibels / 20) * _noise(rng, 3 * RATE), silent


def observe(tracker: Tracker, seed: int) -> list[Observation]:
    """What the network says of the material, and what is true."""
    observations = []
    for name, waveform, phrase in material(seed):
        samples = torch.from_numpy(waveform).float()
        track = tracker.track(samples, RATE)
        framer = Framer(tracker.config.hop_length)
        levels = np.concatenate([level(framer.push(samples)), level(framer.finish())])
        observations.append(Observation(name, track.confidence, levels, phrase.f0_at(track.times) > 0))
    return observations


def fit(observations: list[Observation]) -> Floats:
    """The rising, piecewise linear curve of least squared error, by its values at the knots."""
    confidence, voiced = joined(observations)
    # Each row holds the weights of the knots on either side of the confidence.
    basis = np.stack([np.interp(confidence, KNOTS, row) for row in np.eye(len(KNOTS))], axis=1)
    # A rising curve is a sum of steps, none of them negative.
    steps = np.tril(np.ones((len(KNOTS), len(KNOTS))))
    root = np.sqrt(balanced(voiced))
    heights, _ = nnls((basis @ steps) * root[:, None], voiced * root)
    curve: Floats = (steps @ heights).clip(max=1.0)
    return curve


def joined(observations: list[Observation]) -> tuple[Floats, Bools]:
    """Confidence and true voicing of all frames."""
    return (
        np.concatenate([o.confidence for o in observations]).astype(np.float64),
        np.concatenate([o.voiced for o in observations]),
    )


def calibration_error(probability: Floats, voiced: Bools) -> tuple[float, list[tuple[float, float]]]:
    """Expected calibration error, and the pairs (mean probability, share of voiced frames) of its bins."""
    weights = balanced(voiced)
    index = np.minimum((probability * BINS).astype(int), BINS - 1)
    error, pairs = 0.0, []
    for number in np.unique(index):
        inside = index == number
        mass = weights[inside].sum()
        claimed = float((weights * probability)[inside].sum() / mass)
        true = float((weights * voiced)[inside].sum() / mass)
        error += mass * abs(claimed - true)
        pairs.append((claimed, true))
    return error, pairs


def report(name: str, curve: Floats, unseen: list[Observation]) -> None:
    """Print what belongs into `pitch.voicing`, and its reliability."""
    confidence, voiced = joined(unseen)
    error, pairs = calibration_error(np.interp(confidence, KNOTS, curve), voiced)
    raw, _ = calibration_error(confidence, voiced)
    print(f"{name}: " + ", ".join(f"{value:.3f}" for value in curve))
    print(f"  expected calibration error {error:.3f} (of the confidence itself: {raw:.3f})")
    print("  claimed/true " + " ".join(f"{claimed:.2f}/{true:.2f}" for claimed, true in pairs), flush=True)


def decisions(unseen: list[Observation]) -> None:
    """Print recall and false alarms of the settings, by material."""
    for title, config in SETTINGS.items():
        counts: dict[str, list[Bools]] = {}
        for seen in unseen:
            gate = VoicingGate(config)
            called = np.concatenate([gate.push(seen.confidence, seen.levels), gate.finish()])
            counts.setdefault(seen.name, []).append(np.stack([called, seen.voiced]))
        cells = []
        for name, rows in counts.items():
            called, voiced = np.concatenate(rows, axis=1)
            recall = f"{called[voiced].mean():.1%}" if voiced.any() else "-"
            cells.append(f"{name} {recall}/{called[~voiced].mean():.1%}")
        print(f"  {title}: recall/false alarms  " + "; ".join(cells), flush=True)


def _melody(rng: np.random.Generator, register: float) -> tuple[synth.Note, ...]:
    notes = []
    for _ in range(4):
        rest = synth.Note(None, float(rng.uniform(0.2, 0.6)))
        sung = [
            synth.Note(
                register + float(rng.integers(0, 13)),
                float(rng.uniform(0.15, 0.6)),
                str(rng.choice(list("aeio"))),
            )
            for _ in range(2)
        ]
        notes += [rest, *sung]
    return (*notes, synth.Note(None, 0.4))


def _noise(rng: np.random.Generator, length: int) -> Floats:
    """Noise of unit power, its spectrum falling by a random 0 to 6 dB an octave."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency = np.maximum(np.arange(len(spectrum)) * RATE / length, 20.0)
    noise = np.fft.irfft(spectrum * frequency ** -rng.uniform(0.0, 1.0), length)
    unit: Floats = noise / np.sqrt(np.mean(noise**2))
    return unit


def balanced(voiced: Bools) -> Floats:
    """Weights that sum to 1, half of it on the voiced frames."""
    return np.where(voiced, 0.5 / voiced.sum(), 0.5 / (~voiced).sum())


if __name__ == "__main__":
    main()
