"""What makes each genre: tempo, groove, harmony, instruments and dynamics, as data.

Grooves are written as one bar of steps, 16 in a 4/4 bar of sixteenths, 12 in one of triplets. Drums: `X`
accent, `x` stroke, `o` ghost note. Bass: `r` root, `3`, `5`, `6`, `7`, `8` degrees of the chord, `a` a
semitone below the next root. Chords: `x` all notes, `1` to `4` one of them. `-` holds, `.` rests.

Instruments are program numbers of General MIDI, from 0. Most belong to several genres, and every artist
picks from them, so that no sound gives a genre away by itself.
"""

from dataclasses import dataclass
from typing import Literal

KICK, SIDE, SNARE, CLAP, HAT, PEDAL, OPEN, RIDE = 36, 37, 38, 39, 42, 44, 46, 51
SHAKER, CONGA, TIMPANI = 70, 64, 41

Beat = dict[int, str]


@dataclass(frozen=True)
class Style:
    """A genre.

    Attributes:
        tempo: Least and greatest, in quarters a minute.
        swing: Least and greatest delay of every second step, as share of a step.
        beats: Grooves of the drums.
        kits: Presets of bank 128.
        bass: Grooves of the bass.
        bass_programs: Instruments of the bass.
        comps: Grooves of the chords.
        comp_programs: Instruments of the chords; two of them play.
        progressions: A chord a bar, `semitones:quality`.
        scale: Of the melody, in semitones above the tonic.
        voice: How the voice moves.
        voice_programs: Instruments that stand for the voice, or carry the melody as it would.
        levels: Of vocals, drums, bass and other, in dB.
        velocity: Mean and spread of the velocities, up to 127.
    """

    tempo: tuple[float, float]
    swing: tuple[float, float]
    beats: tuple[Beat, ...]
    kits: tuple[int, ...]
    bass: tuple[str, ...]
    bass_programs: tuple[int, ...]
    comps: tuple[str, ...]
    comp_programs: tuple[int, ...]
    progressions: tuple[str, ...]
    scale: tuple[int, ...]
    voice: Literal["long", "melody", "syllables"]
    voice_programs: tuple[int, ...]
    levels: tuple[float, float, float, float]
    velocity: tuple[float, float]


QUALITIES = {
    "maj": (0, 4, 7, 12),
    "min": (0, 3, 7, 12),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "5": (0, 7, 12, 19),
}
_MAJOR, _MINOR, _BLUES = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 6, 7, 10)
_DORIAN, _PENTATONIC = (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 7, 9)
_FOUR = "X...X...X...X..."
_VOICES = (52, 53, 54, 85)  # Choir Aahs, Voice Oohs, Synth Voice, Solo Vox

STYLES = {
    "blues": Style(
        tempo=(75, 120),
        swing=(0.0, 0.1),
        beats=(
            {KICK: "x.....x.....", SNARE: "...X.....X..", RIDE: "x.xx.xx.xx.x"},
            {KICK: "x....xx.....", SNARE: "...X.....X.o", HAT: "x.xx.xx.xx.x"},
            {KICK: "x.....x..x..", SNARE: "...X.o...X..", HAT: "x..x..x..x..", OPEN: "...........x"},
        ),
        kits=(0, 8, 32),
        bass=("r-.3-.5-.6-.", "r-.r-.5-.6-.", "r-.5-.8-.5-."),
        bass_programs=(32, 33, 34),
        comps=("..x..x..x..x", "x-.x-.x-.x-.", "..x-....x-.."),
        comp_programs=(0, 16, 26, 27, 29, 22),
        progressions=("0:7 0:7 0:7 0:7 5:7 5:7 0:7 0:7 7:7 5:7 0:7 7:7", "0:7 5:7 0:7 0:7 5:7 5:7 0:7 7:7"),
        scale=_BLUES,
        voice="melody",
        voice_programs=_VOICES,
        levels=(-2, -5, -4, -3),
        velocity=(88, 14),
    ),
    "classical": Style(
        tempo=(60, 130),
        swing=(0.0, 0.0),
        beats=({}, {TIMPANI: "x..............."}),
        kits=(48,),
        bass=("r---------------", "r-------5-------", "r---3---5---3---"),
        bass_programs=(42, 43, 48),
        comps=("x---------------", "1-2-3-4-3-2-3-2-", "1-3-2-3-1-3-2-3-", "....x---....x---"),
        comp_programs=(48, 49, 0, 46, 68, 71, 73, 60, 6),
        progressions=("0:maj 7:maj 9:min 5:maj", "0:min 8:maj 5:min 7:7", "0:maj 5:maj 7:7 0:maj"),
        scale=_MAJOR,
        voice="long",
        voice_programs=(40, 73, 68, 52),
        levels=(-4, -16, -8, -2),
        velocity=(68, 24),
    ),
    "country": Style(
        tempo=(85, 130),
        swing=(0.0, 0.12),
        beats=(
            {KICK: "x.......x.......", SNARE: "o.o.X.o.o.o.X.o."},
            {KICK: "x.......x.......", SIDE: "....x.......x...", HAT: "x.x.x.x.x.x.x.x."},
            {KICK: "x.......x.x.....", SNARE: "..x...x...x...x."},
        ),
        kits=(0, 8, 40),
        bass=("r---....5---....", "r--.....5--...r.", "r---....5---..a-"),
        bass_programs=(32, 33, 34),
        comps=("....x-......x-..", "1.3.2.3.1.3.2.3.", "x...x-x.x...x-x."),
        comp_programs=(25, 24, 27, 105, 110, 0),
        progressions=("0:maj 0:maj 5:maj 0:maj 7:maj 7:maj 0:maj 0:maj", "0:maj 5:maj 0:maj 7:maj"),
        scale=_PENTATONIC,
        voice="melody",
        voice_programs=_VOICES,
        levels=(-1, -7, -5, -2),
        velocity=(86, 10),
    ),
    "disco": Style(
        tempo=(110, 130),
        swing=(0.0, 0.04),
        beats=(
            {KICK: _FOUR, CLAP: "....X.......X...", OPEN: "..x...x...x...x."},
            {
                KICK: "X...X...X...X...",
                SNARE: "....X.......X...",
                HAT: "xxx.xxx.xxx.xxx.",
                OPEN: "..x...x...x...x.",
            },
            {
                KICK: "X...X...X...X...",
                SNARE: "....X.......X..o",
                HAT: "x.x.x.x.x.x.x.x.",
                CONGA: "..x..x....x..x..",
            },
        ),
        kits=(0, 16, 24),
        bass=("r.8.r.8.r.8.r.8.", "r.r8.r8.r.r8.7a.", "r..8..r8r..8.r8."),
        bass_programs=(33, 36, 38),
        comps=("..x...x...x...x.", "x..x..x...x..x..", "x---------------"),
        comp_programs=(27, 28, 48, 61, 4, 50),
        progressions=("0:m7 5:7 0:m7 5:7", "9:min 5:maj 0:maj 7:maj", "0:m7 10:maj 8:maj7 7:7"),
        scale=_DORIAN,
        voice="melody",
        voice_programs=_VOICES,
        levels=(-3, -2, -3, -4),
        velocity=(98, 8),
    ),
    "hiphop": Style(
        tempo=(75, 105),
        swing=(0.1, 0.3),
        beats=(
            {KICK: "X......x..X.....", SNARE: "....X.......X...", HAT: "x.x.x.x.x.x.x.x."},
            {KICK: "X..x......x..x..", CLAP: "....X.......X...", HAT: "x.xxx.x.x.xxx.xx"},
            {KICK: "X.....x.X.x.....", SNARE: "....X..o.o..X...", HAT: "x.x.x.x.x.x.x.xx"},
        ),
        kits=(24, 25, 16),
        bass=("r-----....r-....", "r--r----..5-r---", "r-------....r-a-"),
        bass_programs=(38, 39, 33),
        comps=("x-......x-......", "x---------------", "1..2..3...4..2.."),
        comp_programs=(4, 0, 89, 48, 81, 11),
        progressions=("0:min 0:min", "0:m7 8:maj7", "0:min 5:min"),
        scale=_MINOR,
        voice="syllables",
        voice_programs=_VOICES,
        levels=(-1, -1, -2, -8),
        velocity=(98, 10),
    ),
    "jazz": Style(
        tempo=(110, 220),
        swing=(0.0, 0.08),
        beats=(
            {RIDE: "x..x.xx..x.x", PEDAL: "...x.....x..", KICK: "o.....o.....", SNARE: ".....o......"},
            {RIDE: "x..x.xx..x.x", PEDAL: "...x.....x..", SNARE: "..o.....o..x"},
            {RIDE: "x..x..x..x..", PEDAL: "...x.....x..", SIDE: ".........x.."},
        ),
        kits=(32, 40, 0),
        bass=("r--3--5--a--", "r--5--6--7--", "8--7--5--a--"),
        bass_programs=(32, 35, 43),
        comps=("x....x......", "..x-....x...", "x-----.....x"),
        comp_programs=(0, 26, 4, 11, 16),
        progressions=(
            "2:m7 7:7 0:maj7 9:7",
            "0:maj7 9:m7 2:m7 7:7",
            "5:7 10:7 3:maj7 8:maj7 2:m7 7:7 0:maj7 0:maj7",
        ),
        scale=_MAJOR,
        voice="melody",
        voice_programs=(53, 85, 65, 66, 56),
        levels=(-2, -7, -3, -4),
        velocity=(78, 16),
    ),
    "metal": Style(
        tempo=(110, 190),
        swing=(0.0, 0.0),
        beats=(
            {KICK: "xxxxxxxxxxxxxxxx", SNARE: "....X.......X...", RIDE: "x...x...x...x..."},
            {KICK: "x.xxx.xxx.xxx.xx", SNARE: "....X.......X...", OPEN: "x...x...x...x..."},
            {KICK: "X.x.X.x.X.x.X.x.", SNARE: "..X...X...X...X.", OPEN: "x.x.x.x.x.x.x.x."},
        ),
        kits=(16, 0, 8),
        bass=("rrrrrrrrrrrrrrrr", "r.rrr.rrr.rrr.rr", "r-r-r-r-r-r-r-a-"),
        bass_programs=(34, 33, 38),
        comps=("x.xxx.xxx.xxx.xx", "x---x-x-x---x-x-", "xxx-xxx-xxx-x-x-"),
        comp_programs=(30, 29, 30, 81),
        progressions=("0:5 1:5 0:5 3:5", "0:5 8:5 10:5 0:5", "0:5 0:5 6:5 5:5"),
        scale=_MINOR,
        voice="long",
        voice_programs=_VOICES,
        levels=(-4, -1, -4, 0),
        velocity=(114, 6),
    ),
    "pop": Style(
        tempo=(90, 128),
        swing=(0.0, 0.05),
        beats=(
            {KICK: "X.......X.x.....", SNARE: "....X.......X...", HAT: "x.x.x.x.x.x.x.x."},
            {KICK: "X..x....X..x....", CLAP: "....X.......X...", HAT: "xxxxxxxxxxxxxxxx"},
            {KICK: _FOUR, CLAP: "....x.......x...", SHAKER: "x.x.x.x.x.x.x.x."},
        ),
        kits=(16, 24, 0, 25),
        bass=("r-r-r-r-r-r-r-r-", "r-----r-r-----r-", "r--r--r-r--r--r-"),
        bass_programs=(33, 38, 39),
        comps=("x---------------", "x--x--x-x--x--x-", "1-2-3-4-1-2-3-4-"),
        comp_programs=(0, 50, 25, 89, 90, 4),
        progressions=("0:maj 7:maj 9:min 5:maj", "9:min 5:maj 0:maj 7:maj", "0:maj 9:min 5:maj 7:maj"),
        scale=_MAJOR,
        voice="melody",
        voice_programs=_VOICES,
        levels=(0, -3, -4, -4),
        velocity=(94, 8),
    ),
    "reggae": Style(
        tempo=(65, 90),
        swing=(0.0, 0.2),
        beats=(
            {KICK: "........X.......", SIDE: "........X.......", HAT: "x.x.x.x.x.x.x.x."},
            {KICK: "........X.......", SNARE: "........x......o", HAT: "x.xxx.x.x.xxx.x."},
            {KICK: "x...x...x...x...", SIDE: "........X.......", HAT: "..x...x...x...x."},
        ),
        kits=(0, 8, 16),
        bass=("..r-r-..5-3-r-..", "r--r..5-..3-r-..", "....r-3-5-..5-r-"),
        bass_programs=(33, 32, 38),
        comps=("....x.......x...", "....x.......xx..", "..x.x.x...x.x.x."),
        comp_programs=(27, 16, 28, 17, 0),
        progressions=("0:min 5:min", "0:maj 5:maj 0:maj 7:maj", "0:min 10:maj"),
        scale=_PENTATONIC,
        voice="melody",
        voice_programs=_VOICES,
        levels=(-2, -3, -1, -5),
        velocity=(88, 10),
    ),
    "rock": Style(
        tempo=(100, 150),
        swing=(0.0, 0.05),
        beats=(
            {KICK: "X.....x.X.......", SNARE: "....X.......X...", HAT: "x.x.x.x.x.x.x.x."},
            {KICK: "X..x..x.X.x.....", SNARE: "....X.......X...", OPEN: "x...x...x...x..."},
            {KICK: "X.x.....X.x.....", SNARE: "....X.......X..x", RIDE: "x.x.x.x.x.x.x.x."},
        ),
        kits=(0, 8, 16),
        bass=("r-r-r-r-r-r-r-r-", "r-..r-r-r-..r-a-", "r-----r-5-----r-"),
        bass_programs=(33, 34, 32),
        comps=("x-x-x-x-x-x-x-x-", "x---..x-x---..x-", "x-------x---x---"),
        comp_programs=(29, 27, 30, 18, 25),
        progressions=("0:5 10:5 5:5 0:5", "0:maj 5:maj 7:maj 5:maj", "9:5 5:5 0:5 7:5"),
        scale=_PENTATONIC,
        voice="melody",
        voice_programs=_VOICES,
        levels=(-2, -2, -4, -1),
        velocity=(104, 9),
    ),
}
