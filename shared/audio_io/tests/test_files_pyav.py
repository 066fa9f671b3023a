"""What FFmpeg decodes: aligned with what was encoded, of the right length, and the same from any offset."""

import av
import numpy as np
import pytest
import torch

from audio_io.errors import NoAudioError
from audio_io.files import info, load, stream

SECONDS = 2.345

# Name, codec, rate, channels, pictures, the lag in samples that stays, and the samples that may be too many.
# The edit lists of MP4 count milliseconds; bare streams (ADTS, AVI) have no place for the encoder's delay,
# which is 1024 samples in AAC and 1105 in LAME's MP3; Matroska has one, but does not cut the end of AAC.
CASES = [
    ("sound.m4a", "aac", 44100, 2, None, 0, 1),
    ("low.m4a", "aac", 16000, 1, None, 0, 1),
    ("surround.m4a", "aac", 44100, 6, None, 0, 1),
    ("lossless.m4a", "alac", 44100, 2, None, 0, 0),
    ("video.mp4", "aac", 44100, 1, "mpeg4", 0, 1),
    ("opus.mp4", "libopus", 48000, 2, None, 0, 0),
    ("sound.mov", "pcm_s16le", 44100, 2, None, 0, 0),
    ("sound.opus", "libopus", 48000, 2, None, 0, 0),
    ("sound.webm", "libopus", 48000, 1, None, 0, 0),
    ("video.webm", "libopus", 48000, 1, "libvpx", 0, 0),
    ("sound.mkv", "flac", 44100, 2, None, 0, 0),
    ("aac.mkv", "aac", 44100, 1, None, 0, 1024),
    ("sound.mp3", "libmp3lame", 44100, 2, None, 0, 0),
    ("sound.aac", "aac", 44100, 2, None, 1024, 2048),
    ("sound.ts", "aac", 44100, 1, None, 1024, 2048),
    ("sound.flv", "aac", 44100, 1, None, 1024, 2048),
    ("video.avi", "libmp3lame", 44100, 1, "mpeg4", 1105, 2304),
]


@pytest.mark.parametrize(("name", "codec", "rate", "channels", "video", "lag", "surplus"), CASES)
def test_decoded_is_aligned(
    tmp_path, audio_chirp, audio_encode, audio_lag, name, codec, rate, channels, video, lag, surplus
):
    original = audio_chirp(rate, SECONDS, channels)
    path = audio_encode(tmp_path / name, original, rate, codec, video=video)
    decoded, decoded_rate = load(path)
    assert decoded_rate == rate
    assert decoded.dtype == torch.float32
    assert decoded.shape[0] == channels
    assert 0 <= decoded.shape[1] - original.shape[1] <= surplus
    assert audio_lag(original, decoded) == lag
    length = min(original.shape[1], decoded.shape[1] - lag)
    error = decoded[:, lag : lag + length] - original[:, :length]
    ratio = 10 * (original[:, :length].square().mean(1) / error.square().mean(1)).log10()  # dB
    low_frequency_effects = 3  # of 5.1: FFmpeg's AAC keeps only what is below 120 Hz there
    # Measured at FFmpeg's default bit rates: 22.7 dB at least.
    assert all(value > 20 for channel, value in enumerate(ratio) if channel != low_frequency_effects)


@pytest.mark.parametrize("name", ["sound.m4a", "opus.mp4", "sound.mov", "sound.opus", "sound.mp3"])
def test_info_counts_what_load_returns(tmp_path, audio_chirp, audio_encode, name):
    codec, rate = {case[0]: case[1:3] for case in CASES}[name]
    path = audio_encode(tmp_path / name, audio_chirp(rate, SECONDS), rate, codec)
    header = info(path)
    assert header.frames == load(path)[0].shape[1]
    assert header.duration == pytest.approx(SECONDS, abs=1e-3)
    assert header.channels == 1


@pytest.mark.parametrize(
    ("name", "codec", "video", "slack"),
    [("a.webm", "libopus", None, 0.05), ("late.webm", "libopus", "libvpx", 0.05), ("a.ts", "aac", None, 0.1)],
)
def test_info_without_a_count(tmp_path, audio_chirp, audio_encode, name, codec, video, slack):
    delay = 0.5 if video else 0.0
    path = audio_encode(tmp_path / name, audio_chirp(48000, SECONDS), 48000, codec, video=video, delay=delay)
    header = info(path)
    assert header.frames is None
    assert header.duration == pytest.approx(SECONDS, abs=slack)
    # Matroska rounds to 1 ms, and the delay of the encoder (6.5 ms) is not part of the sound.
    assert header.start_time == pytest.approx(delay, abs=2e-3)


def test_bare_aac_has_no_duration(tmp_path, audio_chirp, audio_encode):
    header = info(audio_encode(tmp_path / "a.aac", audio_chirp(44100, 1.0), 44100, "aac"))
    assert (header.format, header.subtype, header.frames, header.duration) == ("AAC", "aac", None, None)


# Without noise substitution, which draws new random numbers after each seek, decoding is reproducible.
@pytest.mark.parametrize(
    ("name", "codec", "options", "tolerance"),
    [
        ("a.m4a", "aac", {"aac_pns": "0"}, 0.0),
        ("a.mp4", "libopus", {}, 1e-6),  # the decoder's prediction has died away to this after 0.5 s
        ("alac.m4a", "alac", {}, 0.0),
        ("a.mov", "pcm_s16le", {}, 0.0),
        ("a.webm", "libopus", {}, 0.0),
        ("aac.mkv", "aac", {"aac_pns": "0"}, 0.0),
        ("a.aac", "aac", {"aac_pns": "0"}, 0.0),
        ("a.mp3", "libmp3lame", {}, 1e-6),  # the same for the synthesis filter of mpg123: 9e-8
        ("a.opus", "libopus", {}, 0.0),
    ],
)
@pytest.mark.parametrize("offset", [0.3, 0.5001, 1.23456, 2.9])
def test_offset_is_exact_to_the_sample(
    tmp_path, audio_chirp, audio_encode, name, codec, options, tolerance, offset
):
    generator = torch.Generator().manual_seed(0)
    original = audio_chirp(48000, 3.2) + 0.05 * torch.randn(1, 153600, generator=generator)
    path = audio_encode(tmp_path / name, original, 48000, codec, codec_options=options)
    whole, _ = load(path)
    start = round(offset * 48000)
    part, _ = load(path, offset=offset, duration=0.25)
    assert part.shape == (1, 12000)
    torch.testing.assert_close(part, whole[:, start : start + 12000], rtol=0, atol=tolerance)


def test_offset_counts_from_the_first_sample_of_a_late_track(tmp_path, audio_chirp, audio_encode):
    options = {"aac_pns": "0"}
    path = tmp_path / "late.mp4"
    audio_encode(path, audio_chirp(48000, 3.0), 48000, "aac", video="mpeg4", delay=0.5, codec_options=options)
    # The muxer writes the delay in ms and keeps the encoder's 1024 samples (21 ms) in the track.
    assert info(path).start_time == pytest.approx(0.5 - 1024 / 48000, abs=2e-3)
    whole, _ = load(path)
    part, _ = load(path, offset=1.7, duration=0.5)
    assert torch.equal(part, whole[:, 81600 : 81600 + 24000])


def test_integer_samples_have_full_scale_one(tmp_path, audio_encode):
    ramp = torch.linspace(-1, 1, 4096)[None]
    for name, codec, step in (
        ("a.mov", "pcm_u8", 2**-7),
        ("b.mov", "pcm_s16le", 2**-15),
        ("c.mov", "pcm_s24le", 2**-23),
    ):
        decoded, _ = load(audio_encode(tmp_path / name, ramp, 16000, codec))
        assert (decoded - ramp).abs().max() <= 1.01 * step + 1e-7


def test_fragmented_mp4(tmp_path, audio_chirp, audio_encode, audio_lag):
    original = audio_chirp(44100, SECONDS)
    options = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "500000"}
    path = audio_encode(tmp_path / "a.mp4", original, 44100, "aac", container_options=options)
    decoded, _ = load(path)
    assert audio_lag(original, decoded) == 1024
    assert abs(decoded.shape[1] - original.shape[1] - 1024) < 1024


def test_stream_of_video_resampled_in_blocks(tmp_path, audio_chirp, audio_encode):
    path = audio_encode(tmp_path / "v.mp4", audio_chirp(48000, 1.0, 2), 48000, "aac", video="mpeg4")
    with stream(path, block_length=700, sample_rate=16000, channels="mono") as blocks:
        parts = list(blocks)
    assert {part.shape[1] for part in parts[:-1]} == {700}
    assert torch.equal(torch.cat(parts, dim=1), load(path, sample_rate=16000, channels="mono")[0])


def test_video_without_sound_is_refused(tmp_path):
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as output:
        pictures = output.add_stream("mpeg4", rate=25, width=64, height=48, pix_fmt="yuv420p")
        output.mux(
            pictures.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24"))
        )
        output.mux(pictures.encode())
    with pytest.raises(
        NoAudioError, match=r"silent\.mp4: found a file with video track and no sound track, expected"
    ):
        load(path)


def test_a_title_that_is_not_utf8_is_no_obstacle(tmp_path, audio_chirp, audio_encode):
    path = audio_encode(tmp_path / "a.avi", audio_chirp(16000, 0.5), 16000, "pcm_s16le", video="mpeg4")
    content = path.read_bytes()
    # FFmpeg writes its own name into the header (ISFT); the same bytes in Shift JIS are no UTF-8.
    assert b"Lavf" in content
    path.write_bytes(content.replace(b"Lavf", "テス".encode("shift_jis"), 1))
    waveform, sample_rate = load(path)
    assert (waveform.shape, sample_rate) == ((1, 8000), 16000)


def test_frames_of_any_length_are_read(tmp_path):
    waveform = torch.sin(torch.arange(150_000) * 0.05)[None] * 0.5
    with av.open(str(tmp_path / "a.mkv"), "w") as output:
        sound = output.add_stream("pcm_s16le", rate=48000, layout="mono")
        for part in waveform.split(100_000, dim=1):
            samples = (part.numpy() * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = 48000
            output.mux(sound.encode(frame))
        output.mux(sound.encode())
    found, rate = load(tmp_path / "a.mkv")
    assert (found.shape, rate) == ((1, 150_000), 48000)
    assert (found - waveform).abs().max() < 2 / 32768
