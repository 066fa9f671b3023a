import numpy as np
import pytest
import torch

import audio_io
import pitch
from audio_io.errors import ConfigError, FileError
from pitch.evaluate import load_dataset, score_network
from pitch.tracking import TrackConfig, Tracker

RATE = 16000


@pytest.fixture(scope="module")
def voice():
    """A second of the sung phrase at 16 kHz, and its pitch at times in s."""
    from pitch.synth import sung_phrase

    phrase = sung_phrase(sample_rate=RATE)
    start = RATE
    waveform = torch.from_numpy(phrase.waveform[start : start + RATE]).float()
    return waveform, lambda times: phrase.f0_at(np.asarray(times) + start / RATE)


def _csv(path, times, frequency, heading=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{t:.6f},{f:.4f}\n" for t, f in zip(times, frequency, strict=True))
    path.write_text(heading + rows)


def _stems(folder, voice):
    waveform, f0 = voice
    times = np.arange(0, 1, 128 / 44100)
    audio_io.save(folder / "audio_stems" / "A_STEM_01.RESYN.wav", waveform, RATE)
    _csv(folder / "annotation_stems" / "A_STEM_01.RESYN.csv", times, f0(times))
    # As macOS leaves them in archives.
    (folder / "audio_stems" / "._A_STEM_01.RESYN.wav").write_bytes(b"")


def _ptdb(folder, voice):
    waveform, f0 = voice
    recording = folder / "SPEECH DATA" / "FEMALE" / "MIC" / "F01" / "mic_F01_sa1.wav"
    audio_io.save(recording, waveform, RATE)
    label = folder / "SPEECH DATA" / "FEMALE" / "REF" / "F01" / "ref_F01_sa1.f0"
    label.parent.mkdir(parents=True)
    times = 0.016 + 0.010 * np.arange(97)  # windows of 32 ms within the second
    label.write_text("".join(f"{f:.4f} {int(f > 0)} 0.1 0.9\n" for f in f0(times)))


def _mir1k(folder, voice):
    waveform, f0 = voice
    other = 0.5 * torch.sin(2 * torch.pi * 1000 * torch.arange(RATE) / RATE)
    audio_io.save(folder / "Wavfile" / "abjones_1_01.wav", torch.stack([other, waveform]), RATE)
    times = 0.02 * np.arange(1, 50)
    semitones = [69 + 12 * np.log2(f / 440) if f > 0 else 0 for f in f0(times)]
    label = folder / "PitchLabel" / "abjones_1_01.pv"
    label.parent.mkdir(parents=True)
    label.write_text("".join(f"{s:.5f}\n" for s in semitones))


def _vocadito(folder, voice):
    waveform, f0 = voice
    times = np.arange(0, 1, 256 / 44100)
    audio_io.save(folder / "Audio" / "vocadito_1.wav", waveform, RATE)
    _csv(folder / "Annotations" / "F0" / "vocadito_1_f0.csv", times, f0(times))


def _plain(folder, voice):
    waveform, f0 = voice
    times = np.arange(0, 1, 0.01)
    audio_io.save(folder / "a" / "one.flac", waveform, RATE)
    _csv(folder / "a" / "one.f0.csv", times, f0(times), heading="time,frequency\n")


TREES = {
    "mdb-stem-synth": _stems,
    "bach10-mf0-synth": _stems,
    "ptdb-tug": _ptdb,
    "mir-1k": _mir1k,
    "vocadito": _vocadito,
    "folder": _plain,
}
NAMES = {
    "mdb-stem-synth": "audio_stems/A_STEM_01.RESYN",
    "bach10-mf0-synth": "audio_stems/A_STEM_01.RESYN",
    "ptdb-tug": "SPEECH DATA/FEMALE/MIC/F01/mic_F01_sa1",
    "mir-1k": "Wavfile/abjones_1_01",
    "vocadito": "Audio/vocadito_1",
    "folder": "a/one.flac",
}


@pytest.fixture(scope="module")
def tiny():
    return pitch.load_model("tiny")


@pytest.mark.parametrize("name", TREES)
def test_each_layout_is_read_with_its_times_units_and_channel(name, tmp_path, voice, tiny):
    TREES[name](tmp_path / "there", voice)
    (example,) = load_dataset(name, tmp_path / "there")
    assert example.name == NAMES[name]
    truth = example.truth()
    f0 = voice[1](truth.times)
    both = (truth.frequency > 0) & (f0 > 0)
    # PTDB-TUG does not say when its frames are: they are placed to half a hop.
    slack = 0.005 if name == "ptdb-tug" else 0.0
    moved = [voice[1](truth.times + shift) for shift in (-slack, 0, slack)]
    cents = np.min([np.abs(1200 * np.log2(truth.frequency[both] / np.maximum(f[both], 1))) for f in moved], 0)
    assert np.percentile(cents, 95) < (15 if slack else 1)
    scores = score_network(tiny, [example])
    assert scores.total.accuracy() > 0.97
    assert len(truth.times) == scores.total.voiced + scores.total.unvoiced


@pytest.mark.parametrize("name", TREES)
def test_a_folder_of_another_layout_is_refused_with_what_was_looked_for(name, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(FileError, match=r"found no .* expected") as caught:
        load_dataset(name, tmp_path)
    assert str(tmp_path) in str(caught.value)
    if name != "folder":
        assert NAMES[name].split("/")[0] in str(caught.value)


def test_the_folder_that_holds_the_data_set_will_do(tmp_path, voice):
    _vocadito(tmp_path / "vocadito", voice)
    assert [example.name for example in load_dataset("vocadito", tmp_path)] == ["Audio/vocadito_1"]


def test_a_recording_without_labels_is_named(tmp_path, voice):
    _stems(tmp_path, voice)
    (tmp_path / "annotation_stems" / "A_STEM_01.RESYN.csv").unlink()
    with pytest.raises(FileError, match=r"A_STEM_01\.RESYN\.csv: found no file, expected the labels of"):
        load_dataset("mdb-stem-synth", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no row|cannot be read"),
        ("time,frequency\n0.0,100\nlater,100\n", "cannot be read"),
        ("0.0\n0.1\n", "cannot be read"),
        ("0.0,100\n0.0,100\n", "times that do not grow"),
        ("0.0,nan\n", "NaN"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_labels_that_cannot_be_read_are_named(text, message, tmp_path, voice):
    _plain(tmp_path, voice)
    (tmp_path / "a" / "one.f0.csv").write_text(text)
    (example,) = load_dataset("folder", tmp_path)
    with pytest.raises(FileError, match=message) as caught:
        example.truth()
    assert "one.f0.csv" in str(caught.value)


def test_what_a_tracker_estimated_is_not_taken_for_the_truth(tmp_path, voice):
    waveform, f0 = voice
    audio_io.save(tmp_path / "a.wav", waveform, RATE)
    Tracker(TrackConfig(model="tiny")).track_file(tmp_path / "a.wav").save_csv(tmp_path / "a.f0.csv")
    (example,) = load_dataset("folder", tmp_path)
    with pytest.raises(
        FileError, match=r"a\.f0\.csv: found the estimates of a tracker \(a column 'confidence'\)"
    ):
        example.truth()
    # Labels beside them are used.
    _csv(tmp_path / "a.csv", np.arange(0, 1, 0.01), f0(np.arange(0, 1, 0.01)))
    (example,) = load_dataset("folder", tmp_path)
    assert len(example.truth().times) == 100


def test_labels_of_spreadsheets_may_begin_with_a_mark_of_byte_order(tmp_path, voice):
    audio_io.save(tmp_path / "a.wav", voice[0], RATE)
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf0.0,220\n0.5,0\n")
    (example,) = load_dataset("folder", tmp_path)
    assert example.truth().frequency.tolist() == [220.0, 0.0]


def test_names_and_folders_that_are_none_are_refused(tmp_path):
    with pytest.raises(FileError, match="found nothing, expected the folder"):
        load_dataset("mir-1k", tmp_path / "missing")
    with pytest.raises(ConfigError, match="expected one of mdb-stem-synth"):
        load_dataset("generated", tmp_path)
