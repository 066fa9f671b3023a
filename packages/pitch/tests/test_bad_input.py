"""What a recording can be that nobody planned for: one clear sentence, or a result that makes sense."""

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import audio_io
import pitch
from audio_io.errors import ConfigError
from pitch import Stream, TrackConfig, Tracker
from pitch.cli import main
from pitch.outputs import SUFFIXES


def track(path, out, *arguments):
    return main(
        [
            "track",
            str(path),
            "-o",
            str(out),
            "--model",
            "tiny",
            "--device",
            "cpu",
            "--outputs",
            "csv",
            *arguments,
        ]
    )


def rows_of(out):
    with next(out.glob("*.csv")).open() as file:
        return list(csv.DictReader(file))


def tone(seconds, rate, frequency=220.0):
    time = torch.arange(round(seconds * rate)) / rate
    return sum(torch.sin(2 * torch.pi * frequency * k * time) / k for k in range(1, 6)) / 4


def test_silence_is_tracked_and_nothing_in_it_is_voiced(tmp_path, capsys):
    audio_io.save(tmp_path / "silent.wav", torch.zeros(1, 16000), 16000)
    assert track(tmp_path / "silent.wav", tmp_path / "out") == 0
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 101
    assert {row["voiced"] for row in rows} == {"0"}
    assert np.isfinite([float(row["frequency"]) for row in rows]).all()
    assert "no pitch found" in capsys.readouterr().out


@pytest.mark.parametrize("samples", [1, 159, 800])
def test_a_recording_shorter_than_a_window_has_its_frames(samples, tmp_path):
    audio_io.save(tmp_path / "short.wav", tone(0.05, 16000)[:samples], 16000)
    assert track(tmp_path / "short.wav", tmp_path / "out") == 0
    assert len(rows_of(tmp_path / "out")) == 1 + samples // 160


def test_a_recording_shorter_than_a_sample_of_the_network_is_refused(tmp_path, capsys):
    path = tmp_path / "one.wav"
    audio_io.save(path, torch.zeros(1, 1), 48000)
    assert track(path, tmp_path / "out") == 2
    expected = "found 1 samples at 48000 Hz, expected at least the duration of one sample at 16000 Hz"
    assert capsys.readouterr().err == f"pitch: error: {path}: {expected}\n"
    with pytest.raises(ConfigError, match=f"^waveform: {expected}$"):
        Tracker(TrackConfig(model="tiny")).track(torch.zeros(1), 48000)


def test_waveforms_may_be_arrays_but_not_integers():
    tracker, samples = Tracker(TrackConfig(model="tiny")), tone(0.5, 16000)
    expected = tracker.track(samples, 16000).frequency
    array = samples.numpy().astype(np.float64)
    array.flags.writeable = False
    for waveform in (array, array[None, ::-1][:, ::-1], np.stack([array, array], axis=1).T):
        np.testing.assert_array_equal(tracker.track(waveform, np.int64(16000)).frequency, expected)
    # 16-bit samples would count as 90 dB louder than they are, and noise as sound.
    message = (
        "found samples of torch.int16, expected floating-point samples within ±1, such as 16-bit integers"
    )
    with pytest.raises(ConfigError, match=f"^waveform: {message}"):
        tracker.track((32767 * samples).short(), 16000)
    with pytest.raises(ConfigError, match=f"^samples: {message}"):
        Stream(TrackConfig(model="tiny")).push(np.zeros(160, dtype=np.int16))


@pytest.mark.parametrize("default", ["device", "dtype"])
def test_what_torch_has_as_its_default_changes_nothing(default):
    config, samples = TrackConfig(model="tiny"), tone(0.3, 44100)
    script = [
        lambda: Tracker(config).track(samples, 44100).frequency,
        lambda: Stream(config, sample_rate=44100).push(samples).frequency,
        lambda: pitch.predict(samples[None], 44100, model="regular", decoder=pitch.decode.weighted_viterbi),
    ]
    expected = [run() for run in script]
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64 if default == "dtype" else before)
        with torch.device("meta" if default == "device" else "cpu"):
            found = [run() for run in script]
    finally:
        torch.set_default_dtype(before)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="file names are Unicode there")
def test_a_name_that_is_no_text_costs_no_result(tmp_path, capsys):
    folder = tmp_path / "in"
    audio_io.save(folder / "a.wav", tone(0.5, 16000), 16000)
    path = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav"))
    path.write_bytes((folder / "a.wav").read_bytes())
    assert track(path, tmp_path / "out", "--outputs", ",".join(SUFFIXES)) == 0
    written = sorted(os.fsencode(found.name) for found in (tmp_path / "out").iterdir())
    assert written == sorted(b"caf\xe9" + suffix.encode() for suffix in SUFFIXES.values())
    record = json.loads((tmp_path / "out" / f"{path.stem}.f0.json").read_text(encoding="utf-8"))
    assert record["recording"] == "caf\ufffd.wav"
    assert (
        main(["analyze", str(folder), "-o", str(tmp_path / "sung"), "--model", "tiny", "--device", "cpu"])
        == 0
    )
    assert "caf%E9.analysis.html" in (tmp_path / "sung/index.html").read_text(encoding="utf-8")
    capsys.readouterr()


@pytest.mark.parametrize("rate", [1000, 7000, 192000])
def test_any_rate_is_resampled(rate, tmp_path):
    audio_io.save(tmp_path / "rate.wav", tone(1.0, rate, 90.0), rate)
    # At 1 kHz fmax lies above the Nyquist frequency: what is below it is found all the same.
    assert track(tmp_path / "rate.wav", tmp_path / "out") == 0
    pitch = [float(row["frequency"]) for row in rows_of(tmp_path / "out") if row["voiced"] == "1"]
    assert len(pitch) > 80
    assert abs(1200 * np.log2(np.median(pitch) / 90)) < 20


def test_a_rate_that_can_hold_no_pitch_is_refused(tmp_path, capsys):
    path = tmp_path / "slow.wav"
    audio_io.save(path, tone(5.0, 1500, 90.0), 1500)
    assert track(path, tmp_path / "out", "--fmin", "800") == 2
    assert capsys.readouterr().err == (
        f"pitch: error: {path}: found a sample rate of 1500 Hz, expected one above 1600 Hz, twice fmin\n"
    )
    with pytest.raises(ConfigError, match="sample_rate: found 1500 Hz, expected above 1600 Hz, twice fmin"):
        Tracker(TrackConfig(model="tiny", fmin=800.0)).track(torch.zeros(1500), 1500)


def test_eight_channels_are_mixed(tmp_path):
    audio_io.save(tmp_path / "eight.wav", tone(1.0, 16000).repeat(8, 1), 16000)
    assert track(tmp_path / "eight.wav", tmp_path / "out") == 0
    frequencies = [float(row["frequency"]) for row in rows_of(tmp_path / "out")]
    assert abs(1200 * np.log2(np.median(frequencies) / 220)) < 20


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_samples_that_are_not_finite_are_refused_by_file(value, tmp_path, capsys):
    samples = tone(0.5, 16000)[None]
    samples[0, 4000] = value
    path = tmp_path / "broken.wav"
    import soundfile

    soundfile.write(path, samples[0].numpy(), 16000, subtype="FLOAT")
    assert track(path, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"pitch: error: {path}: found ")
    assert error.count("\n") == 1
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hop-length", "0"], "hop_length: found 0, expected at least 1"),
        (["--fmax", "3000"], "fmax: found 3000.0, expected from 32.0 to 2006.0"),
        (["--fmin", "-1"], "fmin: found -1.0, expected at least 0.0"),
        (["--fmin", "500", "--fmax", "500"], "fmin: found 500.0 Hz, expected less than fmax (500.0 Hz)"),
        (["--fmin", "nan"], "fmin: found nan, expected at least 0.0"),
        (["--threshold-low", "0.7"], "threshold_low: found 0.7, expected at most threshold (0.5)"),
        (["--silence-db=-inf"], "silence_db: found -inf, expected from -200.0 to 0.0"),
        (["--precision", "float16"], "precision: found 'float16' on cpu, expected float32 or bfloat16"),
    ],
)
def test_settings_are_refused_by_name(arguments, message, tmp_path, capsys):
    audio_io.save(tmp_path / "a.wav", tone(0.1, 16000), 16000)
    assert track(tmp_path / "a.wav", tmp_path / "out", *arguments) == 2
    assert capsys.readouterr().err.startswith(f"pitch: error: {message}")
    assert not list((tmp_path / "out").glob("*"))
