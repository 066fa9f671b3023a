"""Measure the phantom: what `docs/mri2speech_phantom.md` says of it.

    python measure_phantom.py OUT

prints the formants of the vowels (published, the tube's, and those found in the sound by linear prediction),
those of 12 utterances, the range of 60 speakers, how wide the airway is in the picture, and what each
articulator does to F1 and F2; writes `OUT/mri2speech_phantom_causes.png`, where the picture holds F1 and F2.
"""

import argparse
import itertools
from collections import defaultdict
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
from scipy import ndimage, signal

from audio_io.figures import new_figure
from mri2speech.evaluate.formants import formants
from mri2speech.phantom.anatomy import reference_speaker, speaker
from mri2speech.phantom.causal import STEP, causal_map, sensitivity
from mri2speech.phantom.corpus import MEL, utterance
from mri2speech.phantom.gestures import compose, perform, sustained
from mri2speech.phantom.outline import ARTICULATORS, PHARYNX_LINES, POLAR_LINES
from mri2speech.phantom.phones import FORMANTS, VOWELS
from mri2speech.phantom.render import Painter
from mri2speech.phantom.tube import resonances

Values = npt.NDArray[np.float64]

LOW_PITCH = 70.0  # Hz: harmonics close enough to show the resonances between them
SPEAKERS = 60
SHOWN = ("i", "ɑ", "u")
STILL = 5  # a frame in the middle of the sustained vowel
NARROW = 4  # pixels, below which partial volume leaves no air
HALF = 0.3  # brightness


def predicted(waveform: npt.NDArray[np.float32], rate: int, order: int = 14) -> Values:
    """The two lowest resonances by linear prediction, in Hz."""
    emphasised = signal.lfilter([1, -0.97], [1], waveform.astype(np.float64)) * np.hamming(len(waveform))
    roots = np.roots(librosa.lpc(emphasised, order=order))
    roots = roots[np.imag(roots) > 0]
    hz, width = np.angle(roots) * rate / (2 * np.pi), -np.log(np.abs(roots)) * rate / np.pi
    return np.asarray(np.sort(hz[(width < 500) & (hz > 150)])[:2])


def tube(phone: str, index: int | None = None) -> tuple[Values, float]:
    """F1 to F3 in Hz, and the length of the tract in cm, of the reference speaker or of another."""
    who = reference_speaker() if index is None else speaker(index)
    outline = perform(sustained(phone, who), [0.5]).outline(who)
    return resonances(outline.area, outline.lengths)[0], float(outline.lengths.sum())


def vowels() -> None:
    """Published, made, and heard formants."""
    print("| vowel | Peterson & Barney | tube | linear prediction | length (cm) |\n|---|---|---|---|---|")
    for phone, published in FORMANTS.items():
        made = utterance(sustained(phone, reference_speaker(), 1.0, f0=LOW_PITCH), size=32)
        heard = predicted(made.waveform[4000:8000], made.sample_rate)
        hz, length = tube(phone)
        cells = (", ".join(f"{value:.0f}" for value in row) for row in (published, hz, heard))
        print(f"| {phone} | {' | '.join(cells)} | {length:.1f} |")


def utterances() -> None:
    """The tube's formants against those that are followed in the sound, in voiced frames of vowels."""
    rows = defaultdict(list)
    for index, number in itertools.product(range(6), range(2)):
        made = utterance(compose(speaker(index), number), size=32)
        chosen = np.isin(made.phones, VOWELS) & (made.f0 > 0)
        heard = formants(made.waveform, made.sample_rate, np.arange(len(made.f0)) / made.fps, chosen)
        rows[speaker(index).kind].append((heard - made.formants)[chosen])
    print("\n| utterances of | frames | median error of F1, F2, F3 (Hz) | root mean square (Hz) |")
    print("|---|---|---|---|")
    for kind, parts in rows.items():
        errors = np.concatenate(parts)
        middle, square = np.nanmedian(np.abs(errors), axis=0), np.sqrt(np.nanmean(errors**2, axis=0))
        cells = (", ".join(f"{value:.0f}" for value in row) for row in (middle, square))
        print(f"| {kind} | {len(errors)} | {' | '.join(cells)} |")


def speakers() -> None:
    """Tract, pitch and the neutral vowel's formants by kind of speaker."""
    rows = defaultdict(list)
    for index in range(SPEAKERS):
        hz, length = tube("ə", index)
        rows[speaker(index).kind].append((length, speaker(index).f0, *hz))
    print("\n| speakers | number | length (cm) | pitch (Hz) | F1 | F2 | F3 of /ə/ (Hz) |\n|" + "---|" * 7)
    for kind, values in rows.items():
        low, high = np.min(values, axis=0), np.max(values, axis=0)
        spans = [
            f"{a:.1f} to {b:.1f}" if a < 50 else f"{a:.0f} to {b:.0f}" for a, b in zip(low, high, strict=True)
        ]
        print(f"| {kind} | {len(values)} | {' | '.join(spans)} |")


def causes(target: Path) -> None:
    """What each articulator does to F1 and F2, as a table and as pictures."""
    effects = {
        phone: sensitivity(sustained(phone, reference_speaker()), STILL, fps=MEL.frame_rate)
        for phone in SHOWN
    }
    print("\n| articulator | step | " + " | ".join(f"/{phone}/ F1, F2" for phone in SHOWN) + " |")
    print("|" + "---|" * (2 + len(SHOWN)))
    for number, name in enumerate(ARTICULATORS):
        # As if its value had been raised by the step, whichever way it was moved.
        cells = [
            ", ".join(f"{value * STEP[name] / row[number].delta:+.0f}" for value in row[number].formants[:2])
            for row in effects.values()
        ]
        print(f"| {name} | {STEP[name]:g} | {' | '.join(cells)} |")
    painter = Painter(reference_speaker())
    with new_figure(target, width=6.0, height=4.4) as figure:
        grid = figure.subplots(2, len(SHOWN))
        for column, phone in enumerate(SHOWN):
            plan = sustained(phone, reference_speaker())
            outline = perform(plan, [STILL / MEL.frame_rate]).outline(plan.speaker)
            picture = painter.signal(outline, 1)[0]
            for formant in range(2):
                heat = ndimage.gaussian_filter(causal_map(effects[phone], formant), 1.0)
                axes = grid[formant, column]
                axes.imshow(picture[80:225, 45:190], cmap="gray", vmin=0, vmax=1)
                shown = heat[80:225, 45:190] / heat.max()
                axes.imshow(shown, cmap="inferno", alpha=np.sqrt(shown), vmin=0, vmax=1)
                axes.set_title(f"/{phone}/, F{formant + 1}")
                axes.set_axis_off()


def widths() -> None:
    """Width of the airway in the picture, where it is half as bright as tissue, against the outline.

    From the larynx to the hard palate: at the teeth and the lips the walls are not of one brightness.
    """
    who = reference_speaker()
    painter, errors = Painter(who), []
    for phone in FORMANTS:
        outline = perform(sustained(phone, who), [0.5]).outline(who)
        picture = painter.anatomy(outline, 0)
        lines = slice(1, PHARYNX_LINES + POLAR_LINES)
        inner, outer = (painter.pixels(points[0, lines]) for points in (outline.inner, outline.outer))
        for near, far in zip(inner, outer, strict=True):
            wide = float(np.linalg.norm(far - near))
            if wide < NARROW:
                continue
            along = np.arange(-3.0, wide + 3.0, 0.02)
            x, y = near[:, None] + (far - near)[:, None] / wide * along
            dark = ndimage.map_coordinates(picture, [y, x], order=1) < HALF
            found, _ = ndimage.label(dark)
            errors.append(0.02 * np.sum(found == found[len(along) // 2]) - wide)
    off = np.abs(errors)
    print(f"\nwidth of the airway in {len(off)} places: median error {np.median(off):.2f} pixels, ", end="")
    print(f"95 % below {np.quantile(off, 0.95):.2f}")


def main() -> None:
    """Print and write everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    vowels()
    utterances()
    speakers()
    widths()
    causes(out / "mri2speech_phantom_causes.png")


if __name__ == "__main__":
    main()
