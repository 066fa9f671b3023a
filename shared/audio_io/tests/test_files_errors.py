"""Every way in which a file can be unusable, by the kind of the error and by its text."""

import os
import struct
import sys

import numpy as np
import pytest
import soundfile
import torch

from audio_io.errors import (
    AudioNotFoundError,
    CorruptAudioError,
    InvalidSamplesError,
    NoAudioError,
    TruncatedAudioError,
    UnknownFormatError,
)
from audio_io.files import info, load

RATE = 44100

# Suffix, and libsndfile's format and subtype: each keeps its length in another way.
WRITTEN = [
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAVEX", "PCM_24"),
    ("wav", "WAV", "MS_ADPCM"),
    ("rf64", "RF64", "PCM_16"),
    ("w64", "W64", "PCM_16"),
    ("aiff", "AIFF", "PCM_24"),
    ("au", "AU", "FLOAT"),
    ("caf", "CAF", "PCM_16"),
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
]
ENCODED = [
    ("a.m4a", "aac", None, None),
    ("alac.m4a", "alac", None, None),
    ("v.mp4", "aac", "mpeg4", None),
    ("front.mp4", "aac", None, {"movflags": "faststart"}),  # the index before the sound
    ("a.mov", "pcm_s16le", None, None),
    ("a.webm", "libopus", None, None),
    ("a.mkv", "flac", None, None),
    ("a.avi", "libmp3lame", "mpeg4", None),
    ("a.aac", "aac", None, None),
    ("a.mp3", "libmp3lame", None, None),
    ("untagged.mp3", "libmp3lame", None, {"write_xing": "0"}),
]


@pytest.fixture
def noise():
    return (0.1 * np.random.default_rng(0).standard_normal((2 * RATE, 2))).astype(np.float32)


def cut(path, keep):
    """Keep a part of the file, or all but some bytes at its end if negative."""
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * keep) if 0 < keep < 1 else keep])


@pytest.mark.parametrize(("suffix", "container", "subtype"), WRITTEN)
@pytest.mark.parametrize("keep", [0.97, 0.5, 0.1, -1])
def test_truncated_files_of_libsndfile(tmp_path, noise, suffix, container, subtype, keep):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise, 48000, format=container, subtype=subtype)
    assert load(path)[0].shape[1] >= len(noise)  # ADPCM fills its last block
    cut(path, keep)
    with pytest.raises(TruncatedAudioError, match=rf"a\.{suffix}: found .* expected "):
        load(path)


@pytest.mark.parametrize(("name", "codec", "video", "options"), ENCODED)
@pytest.mark.parametrize("keep", [0.97, 0.5, 0.2, -1])
def test_truncated_files_of_ffmpeg(tmp_path, audio_chirp, audio_encode, name, codec, video, options, keep):
    path = tmp_path / name
    audio_encode(path, audio_chirp(48000, 2.0), 48000, codec, video=video, container_options=options)
    load(path)
    cut(path, keep)
    with pytest.raises(TruncatedAudioError, match=r": found .* expected "):
        load(path)


def test_truncation_names_both_lengths(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise, RATE, subtype="PCM_16")
    cut(tmp_path / "a.wav", 1044)
    with pytest.raises(
        TruncatedAudioError,
        match=r"a\.wav: found 1000 bytes of sound, expected the 352800 bytes that its header declares$",
    ):
        info(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.flac", noise, RATE)
    cut(tmp_path / "a.flac", 0.5)
    with pytest.raises(
        TruncatedAudioError,
        match=r"found 39936 samples per channel before its data ends, expected the 88200 that its header",
    ):
        load(tmp_path / "a.flac")


@pytest.mark.parametrize("size", [16, 30, 43])
def test_wav_cut_within_its_header(tmp_path, noise, size):
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    cut(tmp_path / "a.wav", size)
    with pytest.raises(
        TruncatedAudioError, match="found the end of the file before the chunk that holds the samples"
    ):
        load(tmp_path / "a.wav")


def test_ogg_cut_between_two_pages(tmp_path, noise):
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise, RATE)
    path.write_bytes(path.read_bytes()[: path.read_bytes().rfind(b"OggS")])
    with pytest.raises(
        TruncatedAudioError, match="before the Ogg page that is marked as the last one, expected a com"
    ):
        load(path)


def test_mp4_without_its_index(tmp_path, audio_chirp, audio_encode):
    path = audio_encode(tmp_path / "a.m4a", audio_chirp(RATE, 1.0), RATE, "aac")
    path.write_bytes(path.read_bytes()[: path.read_bytes().rfind(b"moov") - 4])
    with pytest.raises(
        TruncatedAudioError, match="before the box 'moov' that says where the sound is, expected"
    ):
        load(path)


# Half a packet of AAC cannot be decoded; PCM just ends.
@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.mov", "pcm_s16le")])
def test_mp4_whose_sound_is_gone_though_its_boxes_end_well(tmp_path, audio_chirp, audio_encode, name, codec):
    options = {"movflags": "faststart"}
    path = audio_encode(tmp_path / name, audio_chirp(RATE, 2.0), RATE, codec, container_options=options)
    data = path.read_bytes()
    box = data.rfind(b"mdat") - 4
    kept = (len(data) - box) // 2
    path.write_bytes(data[:box] + struct.pack(">I", kept) + data[box + 4 : box + kept])
    with pytest.raises(TruncatedAudioError, match=r"found \d+ samples per channel .* the 88200 that its"):
        load(path)


@pytest.mark.parametrize(
    "suffix", ["wav", "au", "mp3", "flac", "ogg", "aiff", "m4a", "aac", "raw", "webm", ""]
)
@pytest.mark.parametrize("seed", range(3))
def test_random_bytes(tmp_path, suffix, seed):
    path = tmp_path / f"noise.{suffix}"
    path.write_bytes(np.random.default_rng(seed).bytes(200_000))
    with pytest.raises(
        UnknownFormatError, match=r"noise\..*: found bytes of no known format \(it begins with hexadecimal"
    ):
        load(path)


def test_text(tmp_path):
    (tmp_path / "a.wav").write_text("<!DOCTYPE html><title>404 Not Found</title>" * 50)
    with pytest.raises(
        UnknownFormatError, match=r"\(it begins with '<!DOCTYPE ht'\), expected WAV, FLAC, OGG, MP3"
    ):
        load(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "magic", [b"RIFF____WAVE", b"fLaC", b"OggS", b".snd", b"FORM____AIFF", b"\0\0\0\x18ftypM4A "]
)
def test_random_bytes_behind_the_right_magic(tmp_path, magic):
    path = tmp_path / "a.bin"
    for seed in range(5):
        path.write_bytes(magic + np.random.default_rng(seed).bytes(50_000))
        with pytest.raises((CorruptAudioError, TruncatedAudioError), match=r"a\.bin: found "):
            load(path)


def test_wav_that_is_called_raw(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    (tmp_path / "a.wav").rename(tmp_path / "a.raw")
    with pytest.raises(
        UnknownFormatError, match=r"a\.raw: found a sound file called \.raw, expected another suffix"
    ):
        load(tmp_path / "a.raw")


def test_empty(tmp_path):
    (tmp_path / "a.mp3").touch()
    with pytest.raises(
        NoAudioError, match=r"a\.mp3: found an empty file \(0 bytes\), expected a file with sound$"
    ):
        info(tmp_path / "a.mp3")
    (tmp_path / "b.mp3").write_bytes(b"ID3\4\0\0\0\0\0\5hello")
    with pytest.raises(NoAudioError, match="found a file that ends after its ID3 tag"):
        info(tmp_path / "b.mp3")


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "ogg", "caf", "w64", "rf64"])
def test_zero_samples(tmp_path, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", np.zeros((0, 2)), RATE)
    with pytest.raises(NoAudioError, match="file with 0 samples, expected a file with sound"):
        info(tmp_path / f"a.{suffix}")


def test_zero_channels(tmp_path):
    wav = (
        b"RIFF"
        + struct.pack("<I", 76)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 0, RATE, RATE * 2, 2, 16)
    )
    (tmp_path / "a.wav").write_bytes(wav + b"data" + struct.pack("<I", 40) + bytes(40))
    (tmp_path / "a.au").write_bytes(struct.pack(">4sIIIII", b".snd", 24, 40, 3, RATE, 0) + bytes(40))
    comm = struct.pack(">4sIhIh10s", b"COMM", 18, 0, 20, 16, b"\x40\x0e\xac\x44" + bytes(6))
    ssnd = struct.pack(">4sIII", b"SSND", 48, 0, 0) + bytes(40)
    (tmp_path / "a.aiff").write_bytes(
        struct.pack(">4sI4s", b"FORM", 4 + len(comm + ssnd), b"AIFF") + comm + ssnd
    )
    for suffix in ("wav", "au", "aiff"):
        with pytest.raises(
            NoAudioError, match=rf"a\.{suffix}: found a header with 0 channels, expected at least one"
        ):
            load(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize(("value", "text"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "FLOAT"), ("a.wav", "DOUBLE"), ("a.aiff", "FLOAT")])
def test_not_finite(tmp_path, noise, value, text, name, subtype):
    noise[70000, 1] = value
    noise[70001] = np.nan
    soundfile.write(tmp_path / name, noise, RATE, subtype=subtype)
    with pytest.raises(
        InvalidSamplesError,
        match=rf"{name}: found {text} in channel 1 at 1\.587302 s \(sample 70000\), expected finite samples$",
    ):
        load(tmp_path / name, channels=0, sample_rate=16000)
    assert load(tmp_path / name, duration=70000 / RATE)[0].shape == (2, 70000)


def test_damage_inside_is_not_called_truncation(tmp_path, noise):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise, RATE)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 50] = bytes(50)
    path.write_bytes(data)
    with pytest.raises(
        CorruptAudioError,
        match=r"found data that cannot be decoded after 39936 samples \(0\.906 s\), expected",
    ):
        load(path)
    assert load(path, duration=0.5)[0].shape == (2, RATE // 2)


def test_damaged_aac(tmp_path, audio_chirp, audio_encode):
    path = audio_encode(tmp_path / "a.m4a", audio_chirp(RATE, 2.0), RATE, "aac")
    data = bytearray(path.read_bytes())
    middle = data.find(b"mdat") + 8000
    data[middle : middle + 600] = b"\xff" * 600
    path.write_bytes(data)
    with pytest.raises(
        CorruptAudioError, match=r"a\.m4a: found data that cannot be decoded after \d+ samples: Invalid"
    ):
        load(path)


def test_missing_and_folder(tmp_path):
    with pytest.raises(AudioNotFoundError, match=r"nowhere\.wav: found nothing, expected an audio file$"):
        load(tmp_path / "nowhere.wav")
    with pytest.raises(
        AudioNotFoundError, match=r"found a folder, expected an audio file; walk\(\) lists those"
    ):
        info(tmp_path)


@pytest.mark.skipif(
    sys.platform == "win32" or getattr(os, "geteuid", lambda: 0)() == 0, reason="root reads everything"
)
def test_unreadable(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    (tmp_path / "a.wav").chmod(0)
    with pytest.raises(AudioNotFoundError, match=r"a file that cannot be read \(Permission denied\)"):
        load(tmp_path / "a.wav")


def wav_of_a_pipe(samples, riff_size, data_size):
    data = np.rint(samples * 32768).astype("<i2").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", riff_size, b"WAVE", b"fmt ", 16, 1, 2, RATE, RATE * 4, 4, 16
    )
    return header + struct.pack("<4sI", b"data", data_size) + data


@pytest.mark.parametrize(
    ("riff_size", "data_size"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0, 0),
        (36, 0),
        (0xFFFFFFFF, 0),
        (0x7FFFF024, 0x7FFFF000),
        (0x7FFFFFFF, 0x7FFFFFFF),
    ],
)
def test_lengths_that_pipes_leave_are_accepted(tmp_path, noise, riff_size, data_size):
    (tmp_path / "a.wav").write_bytes(wav_of_a_pipe(noise, riff_size, data_size))
    waveform, rate = load(tmp_path / "a.wav")
    assert (rate, waveform.shape) == (RATE, (2, len(noise)))
    torch.testing.assert_close(waveform, torch.from_numpy(noise.T), rtol=0, atol=2**-15)
    assert info(tmp_path / "a.wav").frames == len(noise)


def test_au_of_a_pipe(tmp_path, noise):
    header = struct.pack(">4sIIIII", b".snd", 24, 0xFFFFFFFF, 3, RATE, 2)
    (tmp_path / "a.au").write_bytes(header + (noise * 32767).astype(">i2").tobytes())
    assert load(tmp_path / "a.au")[0].shape == (2, len(noise))


def test_trailing_tags_are_no_truncation(tmp_path, noise, audio_chirp, audio_encode):
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    soundfile.write(tmp_path / "a.mp3", noise, RATE)
    audio_encode(
        tmp_path / "untagged.mp3",
        audio_chirp(RATE, 1.0),
        RATE,
        "libmp3lame",
        container_options={"write_xing": "0"},
    )
    for name in ("a.wav", "a.mp3", "untagged.mp3"):
        before, _ = load(tmp_path / name)
        with (tmp_path / name).open("ab") as file:
            file.write(b"TAG" + b"title".ljust(125, b"\0"))
        assert torch.equal(load(tmp_path / name)[0], before)
