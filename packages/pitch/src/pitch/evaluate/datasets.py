"""Recordings with labelled pitch that the user has: where each data set keeps its files, and what they say.

None is downloaded; the layouts are those of the published archives.

Reference:
    MDB-stem-synth and Bach10-mf0-synth (Salamon et al., ISMIR 2017): folders, names, `time,frequency` at a
    hop of 128/44100 s with the first frame at 0 s and 0 Hz for silence, from the README of the synth data
    sets and mirdata's loader `mdb_stem_synth`.
    PTDB-TUG (Pirker et al., Interspeech 2011): `MIC/F01/mic_F01_sa1.wav` with `REF/F01/ref_F01_sa1.f0`, four
    columns (pitch, voicing, RMS, peak-normalised autocorrelation), windows of 32 ms every 10 ms, from the
    data set's report as cited by the preprocessing of penn (interactiveaudiolab/penn).
    MIR-1K (Hsu and Jang, 2010): singing in the right channel, `.pv` with a semitone (MIDI) a line and 0 where
    nothing is sung, frames of 40 ms every 20 ms, the first centred on 20 ms, from mirdata's loader `mir_1k`.
    vocadito (Bittner et al., 2021): `Audio/vocadito_1.wav` with `Annotations/F0/vocadito_1_f0.csv`, from
    mirdata's loader `vocadito`.
"""

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import audio_io
from audio_io.errors import ConfigError, FileError
from pitch.evaluate.config import DatasetName
from pitch.evaluate.examples import Example, Floats, Truth

PTDB_HOP_SECONDS = 0.010
MIR1K_HOP_SECONDS = 0.020


@dataclass(frozen=True)
class Layout:
    """How a data set keeps its files.

    Attributes:
        title: The name that its authors gave it.
        audio: Patterns of the sound files below its folder.
        label: From the data set's folder and a sound file to its labels.
        read: From the labels and the sound file to the true pitch.
        channel: Channel of the voice; None mixes all.
        example: One sound file and its labels, for messages.
    """

    title: str
    audio: tuple[str, ...]
    label: Callable[[Path, Path], Path]
    read: Callable[[Path, Path], Truth]
    example: str
    channel: int | None = None


def load_dataset(name: DatasetName, folder: str | Path) -> list[Example]:
    """The recordings of a data set, in the order of their names.

    Args:
        name: Which data set; `folder` is any folder of sound files with `NAME.csv` or `NAME.f0.csv` beside
            them, columns time (s) and frequency (Hz, 0 where there is none).
        folder: Where it is: its own folder, or the one that holds it.

    Raises:
        ConfigError: If the name is `generated`, which has no folder.
        FileError: If there is no such folder, it has another layout, or a recording has no labels.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileError(root, "a file" if root.exists() else "nothing", "the folder of a data set")
    if name == "folder":
        return _plain_folder(root)
    layout = LAYOUTS.get(name)
    if layout is None:
        raise ConfigError("dataset", repr(name), "one of " + ", ".join([*LAYOUTS, "folder"]))
    for base in [root, *sorted(child for child in root.iterdir() if child.is_dir())]:
        # Files that begin with a dot are those that macOS leaves in archives.
        found = sorted(path for pattern in layout.audio for path in base.glob(pattern))
        recordings = [path for path in found if not path.name.startswith(".")]
        if recordings:
            return [_example(layout, base, path) for path in recordings]
    raise FileError(
        root,
        f"no {' or '.join(layout.audio)}",
        f"the layout of {layout.title}, such as {layout.example}",
    )


def _example(layout: Layout, root: Path, recording: Path) -> Example:
    label = layout.label(root, recording)
    if not label.is_file():
        raise FileError(label, "no file", f"the labels of {recording.name}")
    return Example(
        name=recording.relative_to(root).with_suffix("").as_posix(),
        sound=recording,
        truth=lambda: layout.read(label, recording),
        channel=layout.channel,
        identity=_stamp(label),
    )


def _plain_folder(root: Path) -> list[Example]:
    recordings = audio_io.walk(root)
    if not recordings:
        raise FileError(root, "no sound file", "sound files with NAME.csv or NAME.f0.csv beside them")
    return [_plain_example(root, recording) for recording in recordings]


def _plain_example(root: Path, recording: Path) -> Example:
    name = recording.relative_to(root).as_posix()
    for suffix in (".csv", ".f0.csv"):
        label = recording.with_name(recording.stem + suffix)
        if label.is_file():
            truth = functools.partial(read_time_frequency, label)
            return Example(name, recording, truth, identity=_stamp(label))
    return Example(name, recording, None)


def _stamp(label: Path) -> str:
    status = label.stat()
    return f"{label.name} {status.st_size} {status.st_mtime_ns}"


def read_time_frequency(path: str | Path) -> Truth:
    """The true pitch of a CSV file: time in s and frequency in Hz, a heading or none.

    Further columns are ignored; frequencies of 0 and below mean no pitch.

    Raises:
        FileError: If it cannot be read so, or is what a tracker estimated, as `pitch track` writes it.
    """
    with contextlib.suppress(OSError, ValueError), Path(path).open(encoding="utf-8-sig") as file:
        heading = file.readline().lower().strip().split(",")
        if "confidence" in heading:
            expected = "the true pitch as time,frequency; --against compares with the track of a capacity"
            raise FileError(path, "the estimates of a tracker (a column 'confidence')", expected)
    table = _read_table(Path(path), delimiter=",", columns=2, expected="rows of time,frequency")
    times, frequency = table.T
    if (np.diff(times) <= 0).any():
        raise FileError(path, "times that do not grow", "rows of time,frequency in the order of time")
    return Truth(times, np.maximum(frequency, 0.0))


def _ptdb_truth(label: Path, recording: Path) -> Truth:
    """The pitch of PTDB-TUG's reference track, placed in the middle of the recording.

    Neither the file nor the report says when its first frame is. There are fewer frames than the recording
    has room for, and what is missing is taken to be missing equally at both ends, as penn does with a fixed
    cut; a track of windows without padding, the first at 16 ms, comes out right to half a hop.
    """
    expected = "rows of pitch, voicing, RMS and autocorrelation"
    frequency = _read_table(label, delimiter=None, columns=1, expected=expected)[:, 0]
    samples, rate = audio_io.load(recording)
    covered = (len(frequency) - 1) * PTDB_HOP_SECONDS
    first = max(0.0, (samples.shape[1] / rate - covered) / 2)
    return Truth(first + np.arange(len(frequency), dtype=np.float64) * PTDB_HOP_SECONDS, frequency)


def _mir1k_truth(label: Path, _: Path) -> Truth:
    semitones = _read_table(label, delimiter=None, columns=1, expected="a semitone a line")[:, 0]
    frequency = np.where(semitones > 0, 440.0 * 2 ** ((semitones - 69) / 12), 0.0)
    frames = 1 + np.arange(len(semitones), dtype=np.float64)
    return Truth(frames * MIR1K_HOP_SECONDS, frequency.astype(np.float64))


def _read_table(path: Path, *, delimiter: str | None, columns: int, expected: str) -> Floats:
    """The first columns of a table of numbers, `[rows, columns]`; a first line of words is a heading."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline().split(delimiter)[0].strip()
        table = np.loadtxt(
            path,
            delimiter=delimiter,
            usecols=range(columns),
            ndmin=2,
            skiprows=0 if _is_number(first) else 1,
            encoding="utf-8-sig",
        )
    except FileNotFoundError:
        raise FileError(path, "no file", expected) from None
    except (ValueError, IndexError) as error:
        raise FileError(
            path, f"a table that cannot be read ({str(error).splitlines()[0]})", expected
        ) from error
    if len(table) == 0 or not np.isfinite(table).all():
        raise FileError(path, "no row" if len(table) == 0 else "NaN or infinity", expected)
    return table.astype(np.float64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _beside(folder: str, suffix: str) -> Callable[[Path, Path], Path]:
    return lambda root, recording: root / folder / (recording.stem + suffix)


def _ptdb_label(_: Path, recording: Path) -> Path:
    # SPEECH DATA/FEMALE/MIC/F01/mic_F01_sa1.wav and SPEECH DATA/FEMALE/REF/F01/ref_F01_sa1.f0.
    speaker = recording.parent
    name = "ref_" + recording.stem.removeprefix("mic_") + ".f0"
    return speaker.parent.parent / "REF" / speaker.name / name


def _stems(title: str) -> Layout:
    return Layout(
        title=title,
        audio=("audio_stems/*.wav",),
        label=_beside("annotation_stems", ".csv"),
        read=lambda label, _: read_time_frequency(label),
        example="audio_stems/NAME.RESYN.wav with annotation_stems/NAME.RESYN.csv",
    )


LAYOUTS: dict[DatasetName, Layout] = {
    "mdb-stem-synth": _stems("MDB-stem-synth"),
    "bach10-mf0-synth": _stems("Bach10-mf0-synth"),
    "ptdb-tug": Layout(
        title="PTDB-TUG",
        audio=("*/MIC/*/mic_*.wav", "*/*/MIC/*/mic_*.wav"),
        label=_ptdb_label,
        read=_ptdb_truth,
        example="SPEECH DATA/FEMALE/MIC/F01/mic_F01_sa1.wav with SPEECH DATA/FEMALE/REF/F01/ref_F01_sa1.f0",
    ),
    "mir-1k": Layout(
        title="MIR-1K",
        audio=("Wavfile/*.wav",),
        label=_beside("PitchLabel", ".pv"),
        read=_mir1k_truth,
        channel=1,
        example="Wavfile/abjones_1_01.wav with PitchLabel/abjones_1_01.pv",
    ),
    "vocadito": Layout(
        title="vocadito",
        audio=("Audio/*.wav",),
        label=_beside("Annotations/F0", "_f0.csv"),
        read=lambda label, _: read_time_frequency(label),
        example="Audio/vocadito_1.wav with Annotations/F0/vocadito_1_f0.csv",
    ),
}
