import math
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_io.errors import ConfigError, InvalidSamplesError
from audio_io.files import info, load, save

# Largest error of a sample within [-1, 1]: half a step, and a whole one at 1 itself, which has no integer.
STEPS = {
    ("wav", "PCM_U8"): 2**-7, ("wav", "PCM_16"): 2**-15, ("wav", "PCM_24"): 2**-23, ("wav", "PCM_32"): 2**-24,
    ("wav", "FLOAT"): 0.0, ("wav", "DOUBLE"): 0.0, ("flac", "PCM_S8"): 2**-7, ("flac", "PCM_16"): 2**-15,
    ("flac", "PCM_24"): 2**-23,
    ("aiff", "PCM_24"): 2**-23, ("aiff", "PCM_16"): 2**-15, ("aiff", "FLOAT"): 0.0,
    ("au", "PCM_16"): 2**-15, ("au", "FLOAT"): 0.0, ("caf", "ALAC_16"): 2**-15, ("caf", "PCM_S8"): 2**-7,
    ("w64", "PCM_24"): 2**-23, ("rf64", "PCM_16"): 2**-15,
}  # fmt: skip


def waveform_of(seed, channels, length):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(channels, length, generator=generator) * 2 - 1


@pytest.mark.parametrize(("suffix", "subtype"), STEPS)
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 99),
    channels=st.sampled_from([1, 2, 6]),
    length=st.sampled_from([1, 2, 255, 4097]),
    sample_rate=st.sampled_from([8000, 22050, 44100, 96000, 192000]),
)
def test_round_trip(tmp_path_factory, suffix, subtype, seed, channels, length, sample_rate):
    path = tmp_path_factory.mktemp("save") / f"a.{suffix}"
    waveform = waveform_of(seed, channels, length)
    save(path, waveform, sample_rate, subtype=subtype)
    loaded, loaded_rate = load(path)
    step = STEPS[suffix, subtype]
    assert (loaded_rate, loaded.shape) == (sample_rate, waveform.shape)
    # The largest sample may lie in the upper half step below 1, which is rounded down to the largest integer.
    below_one = waveform.abs() <= 1 - step
    assert ((loaded - waveform).abs()[below_one] <= step / 2 + 2**-25 * (step > 0)).all()
    assert (loaded - waveform).abs().max() <= step
    assert (info(path).subtype, info(path).frames) == (subtype, length)
    save(path, loaded, sample_rate, subtype=subtype)
    assert torch.equal(load(path)[0], loaded), "a second round trip has to change nothing"


def test_integers_are_those_nearest(tmp_path):
    values = torch.tensor([-1.0, -0.5, -1.4 / 32768, -0.6 / 32768, 0.0, 0.4 / 32768, 0.6 / 32768, 0.25, 1.0])
    save(tmp_path / "a.wav", values, 8000, subtype="PCM_16")
    integers, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert integers.tolist() == [-32768, -16384, -1, -1, 0, 0, 1, 8192, 32767]


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "FLOAT"),
        ("a.FLAC", "PCM_24"),
        ("a.ogg", "VORBIS"),
        ("a.opus", "OPUS"),
        ("a.mp3", "MPEG_LAYER_III"),
        ("a.aif", "FLOAT"),
        ("a.snd", "FLOAT"),
        ("a.caf", "FLOAT"),
        ("a.w64", "FLOAT"),
        ("a.rf64", "FLOAT"),
    ],
)
def test_default_subtype(tmp_path, name, subtype):
    save(tmp_path / name, waveform_of(0, 2, 48000), 48000)
    assert info(tmp_path / name).subtype == subtype
    assert load(tmp_path / name)[0].shape == (2, 48000)


# Decibels; measured 26.1, 31.4 and 16.8.
@pytest.mark.parametrize(("name", "floor"), [("a.ogg", 20), ("a.opus", 20), ("a.mp3", 15)])
def test_lossy_is_aligned(tmp_path, audio_chirp, audio_lag, name, floor):
    waveform = audio_chirp(48000, 3.0, 2)
    save(tmp_path / name, waveform, 48000)
    loaded, _ = load(tmp_path / name)
    assert loaded.shape == waveform.shape
    assert audio_lag(waveform, loaded) == 0
    assert 10 * math.log10(waveform.square().mean() / (loaded - waveform).square().mean()) > floor


def test_beyond_full_scale(tmp_path):
    loud = torch.tensor([[0.0, 1.25, -0.5]])
    save(tmp_path / "a.wav", loud, 16000)
    assert torch.equal(load(tmp_path / "a.wav")[0], loud)
    with pytest.raises(
        ConfigError,
        match=r"^waveform: found a sample of magnitude 1\.25, which PCM_16 would clip, expected samples",
    ):
        save(tmp_path / "b.wav", loud, 16000, subtype="PCM_16")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_nan_is_refused_and_the_earlier_file_stays(tmp_path, name):
    waveform = waveform_of(0, 2, 70000)
    save(tmp_path / name, waveform, 48000)
    before = (tmp_path / name).read_bytes()
    waveform[1, 66000] = torch.nan
    with pytest.raises(
        InvalidSamplesError,
        match=rf"{name}: found nan in channel 1 at 1\.375000 s \(sample 66000\), expected finite samples$",
    ):
        save(tmp_path / name, waveform, 48000)
    assert (tmp_path / name).read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_shapes_and_dtypes(tmp_path):
    for waveform in (torch.zeros(10), torch.zeros(1, 10).double(), torch.zeros(1, 10, requires_grad=True),
                     torch.zeros(10, 1, dtype=torch.bfloat16).T):  # fmt: skip
        save(tmp_path / "new/a.wav", waveform, 16000)
        assert load(tmp_path / "new/a.wav")[0].shape == (1, 10)
    precise = torch.tensor([[1 / 3, -2 / 3]], dtype=torch.float64)
    save(tmp_path / "a.wav", precise, 16000, subtype="DOUBLE")
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.wav")[0], precise[0])


@pytest.mark.parametrize(
    ("name", "waveform", "rate", "subtype", "text"),
    [
        (
            "a.m4a",
            torch.zeros(1, 9),
            8000,
            None,
            r"^path: found suffix '\.m4a' of .*a\.m4a, expected one of \.wav, \.w64",
        ),
        ("a", torch.zeros(1, 9), 8000, None, r"^path: found suffix '' of"),
        (
            "a.flac",
            torch.zeros(1, 9),
            8000,
            "FLOAT",
            r"^subtype: found 'FLOAT', expected for FLAC one of PCM_24, PCM_S8, PCM_16$",
        ),
        (
            "a.wav",
            torch.zeros(1, 9),
            0,
            None,
            r"^sample_rate: found 0, expected a whole number of Hz, at least 1$",
        ),
        (
            "a.wav",
            torch.zeros(1, 9),
            44100.5,
            None,
            r"^sample_rate: found 44100\.5, expected a whole number of Hz",
        ),
        (
            "a.opus",
            torch.zeros(1, 9),
            44100,
            None,
            r"^sample_rate: found 44100 Hz with 1 channels, expected what OPUS OPUS",
        ),
        (
            "a.flac",
            torch.zeros(9, 9),
            8000,
            None,
            r"8000 Hz with 9 channels, expected what FLAC PCM_24 can hold",
        ),
        (
            "a.wav",
            torch.zeros(1, 0),
            8000,
            None,
            r"^waveform: found shape \[1, 0\] of torch\.float32, expected floating",
        ),
        ("a.wav", torch.zeros(1, 1, 9), 8000, None, r"^waveform: found shape \[1, 1, 9\]"),
        (
            "a.wav",
            torch.zeros(1, 9, dtype=torch.int16),
            8000,
            None,
            r"^waveform: found shape \[1, 9\] of torch\.int16",
        ),
        (
            "a.wav",
            torch.zeros(1, 1).expand(1, 1 << 30),
            8000,
            None,
            r"found 4\.0 GiB of samples, expected less than 4 GiB in WAV; \.w64, \.rf64 and \.caf hold more",
        ),
    ],
)
def test_what_cannot_be_written(tmp_path, name, waveform, rate, subtype, text):
    with pytest.raises(ConfigError, match=text):
        save(tmp_path / name, waveform, rate, subtype=subtype)
    assert not list(tmp_path.iterdir())


def test_sixteen_bit_header_is_plain(tmp_path):
    save(tmp_path / "a.wav", torch.zeros(2, 100), 44100, subtype="PCM_16")
    data = (tmp_path / "a.wav").read_bytes()
    assert struct.unpack("<4sI4s4sIHHIIHH4sI", data[:44]) == (
        b"RIFF", 436, b"WAVE", b"fmt ", 16, 1, 2, 44100, 176400, 4, 16, b"data", 400,
    )  # fmt: skip


def test_a_rate_beyond_what_files_can_hold_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match="sample_rate: found 1099511627776 Hz, expected at most 2147483647 Hz"
    ):
        save(tmp_path / "a.wav", torch.zeros(1, 10), 2**40)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are POSIX")
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_disk_that_is_full_is_reported_by_the_name_of_the_file(tmp_path, suffix):
    script = (
        "import resource, signal, sys, torch; from audio_io import save;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "try: save(sys.argv[1], torch.rand(1, 400000) - 0.5, 16000)\n"
        "except OSError as error: print(error.filename)"
    )
    path = tmp_path / f"a.{suffix}"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert done.stdout.strip() == str(path.resolve()), done.stderr
    assert list(tmp_path.iterdir()) == []
