"""Reading through libsndfile, and that a stream, whatever its blocks, is what `load` returns."""

import math
import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_io.errors import ConfigError
from audio_io.files import info, load, save, stream
from audio_io.resampling import resample

RATE = 22050
LENGTH = 150_000  # more than two blocks of the decoder


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    samples = (0.2 * np.random.default_rng(0).standard_normal((LENGTH, 3))).astype(np.float32)
    folder = tmp_path_factory.mktemp("written")
    soundfile.write(folder / "a.wav", samples, RATE, subtype="FLOAT")
    soundfile.write(folder / "a.flac", samples, RATE)
    soundfile.write(folder / "a.ogg", samples, RATE)
    soundfile.write(folder / "a.opus", samples[:, :2], 24000, format="OGG", subtype="OPUS")
    soundfile.write(folder / "a.mp3", samples[:, :2], RATE)
    return folder, torch.from_numpy(samples.T.copy())


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
@settings(max_examples=12, deadline=None)
@given(
    block_length=st.sampled_from([997, 4096, 65536, 200_000]),
    sample_rate=st.sampled_from([None, 8000, 16000, 44100, 22050]),
    channels=st.sampled_from(["all", "mono", 0, 1]),
    offset=st.floats(0, 6.8),
    duration=st.none() | st.floats(1e-4, 8),
)
def test_stream_equals_load(written, name, block_length, sample_rate, channels, offset, duration):
    path = written[0] / name
    settings_ = {"sample_rate": sample_rate, "channels": channels, "offset": offset, "duration": duration}
    loaded, loaded_rate = load(path, **settings_)
    with stream(path, block_length=block_length, **settings_) as blocks:
        expected_frames, shape = blocks.frames, (blocks.channels, blocks.sample_rate)
        parts = list(blocks)
    assert all(part.shape[1] == block_length for part in parts[:-1])
    assert not parts or 0 < parts[-1].shape[1] <= block_length
    assert torch.equal(torch.cat([loaded[:, :0], *parts], dim=1), loaded)
    assert (loaded.shape[1], (loaded.shape[0], loaded_rate)) == (expected_frames, shape)


@settings(max_examples=25, deadline=None)
@given(offset=st.floats(0, 6.8), duration=st.none() | st.floats(1e-4, 8))
def test_range_of_samples(written, offset, duration):
    folder, samples = written
    start = round(offset * RATE)
    end = LENGTH if duration is None else start + round(duration * RATE)
    assert torch.equal(load(folder / "a.wav", offset=offset, duration=duration)[0], samples[:, start:end])


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.opus", "a.mp3"])
@pytest.mark.parametrize("start", [1, 65535, 65536, 99_999, LENGTH - 2000, LENGTH - 1])
def test_seeking_is_exact_to_the_sample(written, name, start):
    whole, rate = load(written[0] / name)
    part, _ = load(written[0] / name, offset=start / rate)
    # The decoders of MP3 and Opus keep state that dies away after a seek: measured 1.2e-7 and 6e-8.
    torch.testing.assert_close(
        part, whole[:, start:], rtol=0, atol=1e-6 if name in {"a.mp3", "a.opus"} else 0
    )


def test_channels(written):
    path, samples = written[0] / "a.wav", written[1]
    assert torch.equal(load(path, channels=2)[0], samples[2:])
    torch.testing.assert_close(
        load(path, channels="mono")[0], samples.mean(dim=0, keepdim=True), rtol=0, atol=1e-7
    )


def test_resampled_as_a_whole(written):
    loaded, rate = load(written[0] / "a.wav", sample_rate=16000)
    assert rate == 16000
    assert torch.equal(loaded, resample(written[1], RATE, 16000, quality="VHQ"))


@pytest.mark.parametrize(
    ("subtype", "tolerance"),
    [
        ("PCM_U8", 2**-7),
        ("PCM_16", 2**-15),
        ("PCM_24", 2**-23),
        ("PCM_32", 2**-24),
        ("DOUBLE", 0),
        ("ULAW", 2**-5),
    ],
)
@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("sample_rate", [8000, 192_000])
def test_subtypes_channels_and_rates(tmp_path, subtype, tolerance, channels, sample_rate):
    samples = np.random.default_rng(0).uniform(-0.99, 0.99, (1001, channels)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, sample_rate, subtype=subtype)
    loaded, rate = load(tmp_path / "a.wav")
    assert (rate, loaded.dtype, loaded.is_contiguous()) == (sample_rate, torch.float32, True)
    torch.testing.assert_close(loaded, torch.from_numpy(samples.T.copy()), rtol=0, atol=tolerance)
    header = info(tmp_path / "a.wav")
    assert (header.sample_rate, header.channels, header.frames, header.subtype) == (
        sample_rate,
        channels,
        1001,
        subtype,
    )
    assert header.duration == 1001 / sample_rate


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "aiff", "au", "mp3", "w64", "caf"])
def test_one_sample(tmp_path, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", np.full((1, 1), 0.25), 16000)
    loaded, _ = load(tmp_path / f"a.{suffix}")
    assert loaded.shape == (1, 1)
    assert load(tmp_path / f"a.{suffix}", sample_rate=44100)[0].shape == (1, 3)


@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
@pytest.mark.parametrize("container", ["WAV", "AU"])
def test_byte_orders(tmp_path, container, order):
    samples = np.linspace(-1, 1, 100, dtype=np.float32)
    soundfile.write(tmp_path / "a", samples, 8000, format=container, subtype="FLOAT", endian=order)
    assert torch.equal(load(tmp_path / "a")[0][0], torch.from_numpy(samples))


def test_codec_that_cannot_seek(tmp_path):
    samples = 0.5 * np.sin(np.arange(8000) / 5)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="GSM610")
    whole, _ = load(tmp_path / "a.wav")
    assert whole.shape[1] >= 8000
    assert torch.equal(load(tmp_path / "a.wav", offset=0.5)[0], whole[:, 4000:])


def test_mp3_that_does_not_count_its_samples(tmp_path, audio_chirp, audio_encode):
    options = {"write_xing": "0"}
    path = audio_encode(
        tmp_path / "a.mp3", audio_chirp(44100, 2.0), 44100, "libmp3lame", container_options=options
    )
    assert info(path).frames is None
    assert info(path).duration == pytest.approx(2.0, abs=0.06)
    whole, _ = load(path)
    assert torch.equal(load(path, offset=1.5)[0], whole[:, 66150:])
    with pytest.raises(ConfigError, match=rf"^offset: found 9\.0 s, .* {whole.shape[1] / 44100:.6g} s$"):
        load(path, offset=9.0)


@pytest.mark.parametrize(
    "name", ["Ärger – 音楽 🎵.wav", "a:b?.flac", "with space.ogg", "no_suffix", "wrong.mp3.txt"]
)
def test_names(tmp_path, name):
    container = {"flac": "FLAC", "ogg": "OGG"}.get(name.rpartition(".")[2], "WAV")
    soundfile.write(str(tmp_path / "plain"), np.zeros((50, 2)), 16000, format=container)
    (tmp_path / "plain").rename(tmp_path / name)
    assert load(str(tmp_path / name))[0].shape == (2, 50)


@pytest.mark.parametrize(
    "name", ["Ärger – 音楽 🎵.m4a", "http:b.m4a", "mis-suffixed.wav", "mis-suffixed.raw", "none"]
)
def test_names_of_ffmpeg(tmp_path, audio_chirp, audio_encode, name):
    audio_encode(tmp_path / "plain.m4a", audio_chirp(16000, 0.5), 16000, "aac").rename(tmp_path / name)
    assert load(tmp_path / name)[0].shape == (1, 8000)
    assert info(tmp_path / name).format == "MP4"


def test_mp3_behind_an_id3_tag(written, tmp_path):
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 1]) + bytes(257)
    (tmp_path / "a.mp3").write_bytes(tag + (written[0] / "a.mp3").read_bytes())
    assert torch.equal(load(tmp_path / "a.mp3")[0], load(written[0] / "a.mp3")[0])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"offset": -0.1}, r"^offset: found -0\.1 s, expected at least 0 s$"),
        ({"offset": math.nan}, r"^offset: found nan s, expected at least 0 s$"),
        ({"offset": 7.0}, r"^offset: found 7\.0 s, expected less than the duration of .*a\.wav, 6\.80272 s$"),
        ({"offset": LENGTH / RATE}, r"^offset: found 6\.80\d+ s, expected less than the duration"),
        ({"duration": 0.0}, r"^duration: found 0\.0 s, expected at least one sample \(4\.5e-05 s\)$"),
        ({"duration": math.inf}, r"^duration: found inf s, expected"),
        (
            {"channels": 3},
            r"^channels: found 3, expected 'all', 'mono' or a number from 0 to 2, as the file has 3 chan",
        ),
        ({"channels": -1}, r"^channels: found -1, expected"),
        ({"channels": True}, r"^channels: found True, expected"),
        ({"channels": "left"}, r"^channels: found 'left', expected"),
        ({"sample_rate": 0}, r"^sample_rate: found 0, expected a whole number of Hz, at least 1$"),
        ({"sample_rate": 16000.0}, r"^sample_rate: found 16000\.0, expected a whole number of Hz"),
    ],
)
def test_arguments(written, arguments, text):
    with pytest.raises(ConfigError, match=text):
        load(written[0] / "a.wav", **arguments)


def test_block_length_is_checked(written):
    with pytest.raises(
        ConfigError, match=r"^block_length: found 0, expected a whole number of samples, at least 1$"
    ):
        stream(written[0] / "a.wav", block_length=0)


def test_offset_beyond_the_end_of_a_file_that_does_not_count(tmp_path, audio_chirp, audio_encode):
    path = audio_encode(tmp_path / "a.webm", audio_chirp(48000, 1.0), 48000, "libopus")
    with pytest.raises(
        ConfigError, match=r"^offset: found 2\.0 s, expected less than the duration of .*a\.webm, 1 s$"
    ):
        load(path, offset=2.0)


def test_a_closed_stream_has_no_more_blocks(written):
    with stream(written[0] / "a.wav", block_length=1000) as blocks:
        next(blocks)
    assert list(blocks) == []


def test_memory_does_not_grow_with_the_file(tmp_path):
    """NumPy tells tracemalloc what it allocates: a decoded block is 0.5 MiB, the whole file 46 MiB."""
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 48000, 2, subtype="PCM_16") as file:
        for _ in range(60):
            file.write(np.full((100_000, 2), 0.1, np.float32))
    tracemalloc.start()
    try:
        with stream(tmp_path / "a.wav", sample_rate=16000, channels="mono") as blocks:
            total = sum(block.shape[1] for block in blocks)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 2_000_000
    assert peak < 4 * 2**20


def test_a_flac_that_does_not_know_its_length_is_read_to_its_end(tmp_path):
    waveform = 0.5 * torch.sin(torch.arange(50_000) * 0.05)[None]
    save(tmp_path / "a.flac", waveform, 16000, subtype="PCM_16")
    content = bytearray((tmp_path / "a.flac").read_bytes())
    # STREAMINFO follows 4 bytes of magic and 4 of the block's header; the count is in its bits 108 to 143.
    content[8 + 13] &= 0xF0
    content[8 + 14 : 8 + 18] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    header = info(tmp_path / "a.flac")
    assert (header.frames, header.duration) == (None, None)
    found, _ = load(tmp_path / "a.flac")
    assert (found - waveform).abs().max() < 2 / 32768
    part, _ = load(tmp_path / "a.flac", offset=1.0, duration=0.5)
    assert torch.equal(part, found[:, 16000:24000])


def test_less_than_a_sample_at_the_new_rate_is_no_sample(tmp_path):
    save(tmp_path / "one.wav", torch.zeros(2, 1), 48000)
    waveform, rate = load(tmp_path / "one.wav", sample_rate=8000)
    assert (waveform.shape, rate) == ((2, 0), 8000)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there")
def test_a_name_that_is_not_utf8(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    save(tmp_path / "cafe.wav", torch.zeros(1, 10), 8000)
    (tmp_path / "cafe.wav").rename(path)
    assert load(path)[0].shape == (1, 10)


def test_an_exhausted_stream_has_released_its_file(tmp_path):
    save(tmp_path / "a.wav", torch.zeros(1, 1000), 8000)
    blocks = stream(tmp_path / "a.wav")
    assert sum(block.shape[1] for block in blocks) == 1000
    assert blocks._source._sound.closed
    assert list(blocks) == []


def test_samples_are_on_the_cpu_whatever_the_default_device(written):
    expected, _ = load(written[0] / "a.wav", sample_rate=8000)
    with torch.device("meta"):
        found, _ = load(written[0] / "a.wav", sample_rate=8000)
    assert torch.equal(found, expected)
