"""ID3 tags stand in front of MP3, and programs made for MP3 put them in front of everything else."""

import pytest
import torch

import audio_io
from audio_io.errors import TruncatedAudioError

RATE = 16000


def tag(size, *, footer=False):
    """An ID3v2.4 tag of empty padding."""
    header = bytes([4, 0, 0x10 if footer else 0, *(size >> shift & 127 for shift in (21, 14, 7, 0))])
    return b"ID3" + header + bytes(size) + (b"3DI" + header if footer else b"")


@pytest.fixture
def sound(audio_chirp):
    return audio_chirp(RATE, 0.5, 2)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "caf", "w64", "rf64", "flac", "ogg", "mp3"])
def test_a_tag_in_front_changes_nothing(suffix, sound, tmp_path):
    plain, tagged = tmp_path / f"plain.{suffix}", tmp_path / f"tagged.{suffix}"
    audio_io.save(plain, sound, RATE)
    expected, _ = audio_io.load(plain)
    # libsndfile alone knows neither tags of an odd size, nor footers, nor tags before some formats.
    for front in (tag(201), tag(300) + tag(77), tag(200, footer=True)):
        tagged.write_bytes(front + plain.read_bytes())
        assert torch.equal(audio_io.load(tagged)[0], expected)
        part, _ = audio_io.load(tagged, offset=0.2, duration=0.1)
        torch.testing.assert_close(part, expected[:, 3200:4800], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("suffix", "codec"), [("m4a", "aac"), ("aac", "aac"), ("mka", "flac")])
def test_a_tag_in_front_of_what_ffmpeg_reads_changes_nothing(suffix, codec, sound, tmp_path, audio_encode):
    path = audio_encode(tmp_path / f"a.{suffix}", sound, RATE, codec)
    expected, _ = audio_io.load(path)
    path.write_bytes(tag(201) + path.read_bytes())
    assert torch.equal(audio_io.load(path)[0], expected)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "caf", "w64", "rf64"])
def test_a_tag_hides_no_truncation(suffix, sound, tmp_path):
    path = tmp_path / f"cut.{suffix}"
    audio_io.save(path, sound, RATE)
    path.write_bytes(tag(201) + path.read_bytes()[:-400])
    with pytest.raises(TruncatedAudioError, match="bytes that its header declares"):
        audio_io.info(path)


def test_the_length_that_a_pipe_left_out_is_found_behind_a_tag(sound, tmp_path):
    path = tmp_path / "piped.wav"
    audio_io.save(path, sound, RATE)
    content = bytearray(path.read_bytes())
    data = content.index(b"data")
    content[4:8] = content[data + 4 : data + 8] = bytes(4)
    path.write_bytes(tag(201) + content)
    assert torch.equal(audio_io.load(path)[0], sound)


@pytest.mark.parametrize("suffix", ["caf", "w64"])
def test_a_chunk_that_claims_more_than_any_file_holds_is_refused(suffix, sound, tmp_path):
    path = tmp_path / f"huge.{suffix}"
    audio_io.save(path, sound, RATE)
    content = bytearray(path.read_bytes())
    # The size of the first chunk after the file's own header.
    first = {"caf": 12, "w64": 56}[suffix]
    content[first : first + 8] = b"\xff" * 7 + b"\xf0"
    path.write_bytes(content)
    with pytest.raises(TruncatedAudioError, match="before the chunk that holds the samples"):
        audio_io.info(path)
