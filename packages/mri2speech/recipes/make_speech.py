"""Make synthetic speech for the embedded vocoder: the phantom, espeak-ng and flite.

    python make_speech.py OUT

writes `OUT/wavs/<name>.wav` at 11,413 Hz and `OUT/{training,validation}.txt`. The names begin with the
program that made the sound, and every tenth recording of each is for validation. espeak-ng (GPL-3.0, formant
synthesis) and flite (BSD-like; the voices rms, slt and awb from CMU ARCTIC recordings, kal16 of diphones) are
the Debian packages of these names; none of their sound is part of the package. The sentences are drawn from
small lists of words, Japanese ones from syllables, and there are vowel-consonant-vowel sequences as the
phantom speaks them. The same seed gives the same sentences and voices.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

import audio_io
from audio_io.atomic import write_text
from mri2speech.phantom.anatomy import speaker
from mri2speech.phantom.corpus import speak
from mri2speech.phantom.gestures import compose

SAMPLE_RATE = 11413
VALIDATION_EVERY = 10
# The pauses of synthetic speech are zeros, which no recording has; the rest get a little noise.
NOISY_SHARE = 0.8
# Seeds of the phantom from here on, so that the demo's speakers, of small seeds, stay unheard.
PHANTOM_SEEDS = 1000

SUBJECTS = (
    "the old sailor", "a young doctor", "my neighbour", "the teacher", "every child", "our cousin",
    "the judge", "a quiet woman", "the tall boy", "nobody here", "the farmer's wife", "one of the engineers",
)  # fmt: skip
VERBS = (
    "watched", "carried", "forgot about", "was looking for", "painted", "would buy", "never saw",
    "sang about", "measured", "threw away", "should have fixed", "described",
)  # fmt: skip
OBJECTS = (
    "the blue boat", "five green apples", "a shiny key", "the noisy machine", "a pair of shoes",
    "the yellow moon", "his father's watch", "an empty jar", "the garden fence", "a good question",
    "thirty years of rain", "the mouth of the cave",
)  # fmt: skip
ENDS = (
    "yesterday.", "in the early morning.", "without a word.", "near the bridge?", "because of the weather.",
    "on Thursday.", "again and again.", "with both hands.", "before the meeting!", "as usual.",
)  # fmt: skip
KANA = (
    "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわ"
    "がぎぐげござじずぜぞだでどばびぶべぼぱぴぷぺぽん"
)
VOWELS = ("a", "i", "u", "e", "o")
CONSONANTS = ("p", "t", "k", "b", "d", "g", "m", "n", "s", "S", "l", "r", "f", "z", "w", "j", "")
VARIANTS = (*(f"m{i}" for i in range(1, 8)), *(f"f{i}" for i in range(1, 6)), "klatt", "klatt2", "klatt4")
FLITE_VOICES = ("rms", "slt", "awb", "kal16")

Maker = Callable[[np.random.Generator, Path], None]


def sentence(random: np.random.Generator) -> str:
    """An English sentence."""
    return " ".join(str(random.choice(words)) for words in (SUBJECTS, VERBS, OBJECTS, ENDS))


def kana(random: np.random.Generator) -> str:
    """Six made-up Japanese words."""
    words = ("".join(random.choice(list(KANA), size=random.integers(2, 5))) for _ in range(6))
    return "、".join(words) + "。"


def phonemes(random: np.random.Generator) -> str:
    """Vowels with consonants between them, in espeak-ng's phoneme letters."""
    words = []
    for _ in range(4):
        syllables = [
            random.choice(CONSONANTS) + mark + random.choice(VOWELS) + random.choice([":", ""])
            for mark in ("", "'", "")
        ]
        words.append("".join(syllables))
    return f"[[{'_ '.join(words)}]]"


def espeak(random: np.random.Generator, target: Path) -> None:
    """Write what espeak-ng says."""
    kind = random.choice(["sentence", "kana", "phonemes"], p=[0.4, 0.35, 0.25])
    text = {"sentence": sentence, "kana": kana, "phonemes": phonemes}[str(kind)](random)
    language = {"sentence": str(random.choice(["en-us", "en-gb"])), "kana": "ja", "phonemes": "de"}[str(kind)]
    pitch, speed = random.integers(10, 80), random.integers(110, 190)
    voice = f"{language}+{random.choice(VARIANTS)}"
    run("espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "-w", str(target), text)


def flite(random: np.random.Generator, target: Path) -> None:
    """Write what flite says."""
    stretch, shift = random.uniform(0.85, 1.3), random.uniform(0.85, 1.2)
    voice = str(random.choice(FLITE_VOICES, p=[0.35, 0.35, 0.2, 0.1]))
    options = ["--setf", f"duration_stretch={stretch:.3f}", "--setf", f"f0_shift={shift:.3f}"]
    run("flite", "-voice", voice, *options, "-t", sentence(random), "-o", str(target))


def run(program: str, *arguments: str) -> None:
    """Run a program of the system."""
    found = shutil.which(program)
    if found is None:
        raise SystemExit(f"{program} is not installed: apt-get install {program}")
    subprocess.run([found, *arguments], check=True)  # noqa: S603 - our own arguments


MAKERS: dict[str, Maker] = {"espeak": espeak, "flite": flite}


def phantom(seed: int, index: int) -> torch.Tensor:
    """An utterance of the phantom, at its own level and without noise, as the demo has it."""
    seed += PHANTOM_SEEDS
    plan = compose(speaker(index, seed), index, seed)
    return torch.from_numpy(speak(plan))[None]


def synthetic(maker: Maker, random: np.random.Generator) -> torch.Tensor:
    """An utterance of a program, at a level of its own, mostly with a little noise."""
    with tempfile.TemporaryDirectory() as temporary:
        raw = Path(temporary) / "raw.wav"
        maker(random, raw)
        waveform, _ = audio_io.load(raw, sample_rate=SAMPLE_RATE, channels="mono")
    waveform *= random.uniform(0.25, 0.9) / waveform.abs().amax().clamp(min=1e-4)
    if random.random() < NOISY_SHARE:
        noise = random.normal(0, 10 ** random.uniform(-4.5, -3), waveform.shape)
        waveform += torch.from_numpy(noise)
    return waveform.clamp(-1, 1)


def make(program: str, count: int, folder: Path, seed: int) -> list[str]:
    """Recordings of a program; those that are there already are kept."""

    def one(index: int) -> str:
        name = f"{program}_{index:04d}"
        target = folder / f"{name}.wav"
        if not target.is_file():
            random = np.random.default_rng([seed, sum(program.encode()), index])
            waveform = phantom(seed, index) if program == "phantom" else synthetic(MAKERS[program], random)
            audio_io.save(target, waveform, SAMPLE_RATE)
        return name

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, range(count)))


def main() -> None:
    """Read the command line and make what it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--espeak", type=int, default=400, help="recordings by espeak-ng")
    parser.add_argument("--flite", type=int, default=400, help="recordings by flite")
    parser.add_argument("--phantom", type=int, default=600, help="utterances of the phantom")
    parser.add_argument("--seed", type=int, default=1, help="of sentences, voices and speakers")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.output / "wavs"
    folder.mkdir(parents=True, exist_ok=True)
    lists: dict[str, list[str]] = {"training": [], "validation": []}
    for program in ("phantom", "espeak", "flite"):
        for index, name in enumerate(make(program, getattr(arguments, program), folder, arguments.seed)):
            lists["validation" if index % VALIDATION_EVERY == 0 else "training"].append(name)
    for kind, names in lists.items():
        write_text(arguments.output / f"{kind}.txt", "\n".join(names) + "\n")
        print(f"{kind}: {len(names)} recordings")


if __name__ == "__main__":
    main()
