"""Make synthetic speech for the embedded vocoder: espeak-ng and flite (Debian packages), and the phantom.

    python make_speech.py OUT --espeak 400 --flite 400 --phantom 200

writes `OUT/wavs/<name>.wav` at 11,413 Hz and `OUT/{training,validation}.txt`. The names begin with the program
that made the sound, and every tenth recording of each program is for validation. The sentences are drawn from
small lists of words, Japanese ones from syllables, and there are vowel-consonant-vowel sequences as the
phantom speaks them. The same seed gives the same sentences and voices.
"""

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

import audio_io
from audio_io.atomic import write_text

SAMPLE_RATE = 11413
VALIDATION_EVERY = 10

SUBJECTS = (
    "the old sailor", "a young doctor", "my neighbour", "the teacher", "every child", "our cousin", "the judge",
    "a quiet woman", "the tall boy", "nobody here", "the farmer's wife", "one of the engineers",
)  # fmt: skip
VERBS = (
    "watched", "carried", "forgot about", "was looking for", "painted", "would buy", "never saw", "sang about",
    "measured", "threw away", "should have fixed", "described",
)  # fmt: skip
OBJECTS = (
    "the blue boat", "five green apples", "a shiny key", "the noisy machine", "a pair of shoes", "the yellow moon",
    "his father's watch", "an empty jar", "the garden fence", "a good question", "thirty years of rain",
    "the mouth of the cave",
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
VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5", "klatt", "klatt2", "klatt4")
FLITE_VOICES = ("rms", "slt", "awb", "kal16")

Maker = Callable[[np.random.Generator, Path], None]


def sentence(random: np.random.Generator) -> str:
    return " ".join(str(random.choice(words)) for words in (SUBJECTS, VERBS, OBJECTS, ENDS))


def kana(random: np.random.Generator) -> str:
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
    kind = random.choice(["sentence", "kana", "phonemes"], p=[0.4, 0.35, 0.25])
    text = {"sentence": sentence, "kana": kana, "phonemes": phonemes}[str(kind)](random)
    language = {"sentence": str(random.choice(["en-us", "en-gb"])), "kana": "ja", "phonemes": "de"}[str(kind)]
    pitch, speed = random.integers(10, 80), random.integers(110, 190)
    voice = f"{language}+{random.choice(VARIANTS)}"
    subprocess.run(
        ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "-w", str(target), text], check=True
    )


def flite(random: np.random.Generator, target: Path) -> None:
    stretch, shift = random.uniform(0.85, 1.3), random.uniform(0.85, 1.2)
    voice = str(random.choice(FLITE_VOICES, p=[0.35, 0.35, 0.2, 0.1]))
    options = ["--setf", f"duration_stretch={stretch:.3f}", "--setf", f"f0_shift={shift:.3f}"]
    subprocess.run(
        ["flite", "-voice", voice, *options, "-t", sentence(random), "-o", str(target)], check=True
    )


def make(program: str, maker: Maker, count: int, folder: Path, seed: int) -> list[str]:
    """Recordings of a program, at a level of their own; those that are there already are kept."""

    def one(index: int) -> str:
        name = f"{program}_{index:04d}"
        target = folder / f"{name}.wav"
        if not target.is_file():
            random = np.random.default_rng([seed, sum(program.encode()), index])
            with tempfile.TemporaryDirectory() as temporary:
                raw = Path(temporary) / "raw.wav"
                maker(random, raw)
                waveform, _ = audio_io.load(raw, sample_rate=SAMPLE_RATE, channels="mono")
            level = random.uniform(0.25, 0.9)
            audio_io.save(target, waveform * (level / waveform.abs().amax().clamp(min=1e-4)), SAMPLE_RATE)
        return name

    with ThreadPoolExecutor(os.process_cpu_count() if hasattr(os, "process_cpu_count") else 2) as pool:
        return list(pool.map(one, range(count)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--espeak", type=int, default=400, help="recordings by espeak-ng")
    parser.add_argument("--flite", type=int, default=400, help="recordings by flite")
    parser.add_argument("--phantom", type=int, default=0, help="utterances of the phantom")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.output / "wavs"
    folder.mkdir(parents=True, exist_ok=True)
    lists: dict[str, list[str]] = {"training": [], "validation": []}
    for program, maker in (("espeak", espeak), ("flite", flite)):
        for index, name in enumerate(make(program, maker, getattr(arguments, program), folder, arguments.seed)):
            lists["validation" if index % VALIDATION_EVERY == 0 else "training"].append(name)
    for kind, names in lists.items():
        write_text(arguments.output / f"{kind}.txt", "\n".join(names) + "\n")
        print(f"{kind}: {len(names)} recordings")


if __name__ == "__main__":
    main()
