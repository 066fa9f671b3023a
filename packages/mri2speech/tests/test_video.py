"""Films in and out, held to what was written into them."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

import audio_io
from audio_io.errors import ConfigError, FileError, TruncatedAudioError
from mri2speech import dicom
from mri2speech.film import VideoError
from mri2speech.meta import Meta
from mri2speech.preprocess.config import PreprocessConfig
from mri2speech.preprocess.corpus import preprocess
from mri2speech.video import open_video
from mri2speech.video_writer import write_video

RATES = [1159 / 50, 25.0, 11413 / 420, 50.0, 2082 / 25]  # 23.18 (USC-TIMIT), 27.17 (brief), 83.28 (USC 75)


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (12, 20, 24), dtype=np.uint8)


def write_stamped(path, frames, stamps, time_base=Fraction(1, 1000)):
    """A film whose frames carry the time stamps given, in ticks."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt, stream.codec_context.time_base = "gray", time_base
        for image, stamp in zip(frames, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="gray")
            frame.pts, frame.time_base = stamp, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
@pytest.mark.parametrize("fps", RATES)
def test_a_lossless_film_comes_back_bit_for_bit_at_its_rate(tmp_path, frames, fps, suffix):
    write_video(tmp_path / f"film{suffix}", frames, fps, lossless=True)
    video = open_video(tmp_path / f"film{suffix}")
    np.testing.assert_array_equal(video.load(), frames)
    assert not video.is_variable
    assert not video.colours.met
    # Matroska counts milliseconds; the rate that explains them is taken instead.
    np.testing.assert_allclose(video.times, np.arange(12) / fps, atol=1e-3 if suffix == ".mkv" else 1e-9)
    assert np.ptp(np.diff(video.times)) < 1e-9


@pytest.mark.parametrize("fps", RATES)
def test_an_mp4_plays_in_a_browser_and_keeps_pictures_sound_and_times(tmp_path, fps):
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
    time = torch.arange(11413) / 11413
    speech = 0.5 * torch.sin(2 * torch.pi * (200 * time + 400 * time**2))
    count = round(fps)
    path = tmp_path / "film.mp4"
    write_video(path, (np.roll(ramp, i, 1) for i in range(count)), fps, waveform=speech, sample_rate=11413)

    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert container.streams.audio[0].codec_context.name == "aac"
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    video = open_video(path)
    assert video.has_sound
    np.testing.assert_allclose(video.times, np.arange(count) / fps, atol=1e-9)
    read = video.load().astype(int)
    assert np.abs(read - [np.roll(ramp, i, 1) for i in range(count)]).mean() < 2
    assert (read[0].min(), read[0].max()) <= (3, 255)
    sound, rate = audio_io.load(path, sample_rate=11413)
    assert rate == 11413
    error = sound[0, :11413] - speech[: sound.shape[1]]
    assert error.square().mean() < 1e-2 * speech.square().mean()  # in place to a fraction of a sample


def test_time_stamps_of_a_variable_rate_are_followed(tmp_path, frames):
    stamps = [0, 20, 75, 100, 140, 150, 220, 260, 300, 350, 355, 400]
    write_stamped(tmp_path / "film.mkv", frames, [stamp + 80 for stamp in stamps])
    video = open_video(tmp_path / "film.mkv")
    assert video.is_variable
    np.testing.assert_allclose(video.times, np.array(stamps) / 1000, atol=1e-9)
    assert video.duration == pytest.approx(0.4 + 0.04)
    assert open_video(tmp_path / "film.mkv", fps=50).times[-1] == pytest.approx(11 / 50)


def test_colour_is_told_and_becomes_luma(tmp_path):
    red = np.zeros((5, 16, 16, 3), np.uint8)
    red[..., 0] = 255
    red[:, :4] = 255
    write_video(tmp_path / "film.mp4", red, 25)
    video = open_video(tmp_path / "film.mp4")
    # Luma of pure red, ITU-R BT.601: 0.299.
    assert video.load()[0, 10, 8] == pytest.approx(0.299 * 255, abs=4)
    assert video.colours.met


def test_colour_that_begins_later_is_told_too(tmp_path):
    film = np.full((40, 16, 16, 3), 90, np.uint8)
    film[:, :4] = np.arange(40)[:, None, None, None]
    film[26:, 8:] = (255, 0, 0)
    write_video(tmp_path / "film.mp4", film, 25, waveform=torch.rand(18000) / 2, sample_rate=11413)
    assert preprocess(tmp_path, tmp_path / "data", PreprocessConfig(image_size=16)).dropped == ()
    (sample,) = Meta.load(tmp_path / "data").samples
    assert sample.notes == ("the film is in colour; its luma was taken",)
    luma = open_video(tmp_path / "film.mp4").load()[:, 10, 8]
    np.testing.assert_allclose(luma, [90] * 26 + [76] * 14, atol=4)


def test_odd_sizes_are_made_even_and_half_a_film_is_never_left(tmp_path):
    image = np.arange(15 * 17, dtype=np.uint8).reshape(15, 17)
    write_video(tmp_path / "odd.mkv", [image] * 4, 25, lossless=True)
    np.testing.assert_array_equal(open_video(tmp_path / "odd.mkv").load()[0], np.pad(image, (0, 1), "edge"))

    def broken():
        yield image
        yield image[:-1]

    with pytest.raises(ConfigError, match=r"frames: found frame 1 of shape \[14, 17\]"):
        write_video(tmp_path / "broken.mp4", broken(), 25)
    with pytest.raises(ConfigError, match=r"path: found suffix '\.avi'"):
        write_video(tmp_path / "broken.avi", broken(), 25)
    assert [path.name for path in tmp_path.iterdir()] == ["odd.mkv"]


def test_arrays_are_films_when_they_say_when_their_frames_show(tmp_path, frames):
    np.save(tmp_path / "a.npy", frames.astype(np.float64))
    with pytest.raises(VideoError, match=r"an array without frame times, expected the setting fps"):
        open_video(tmp_path / "a.npy")
    assert open_video(tmp_path / "a.npy", fps=50).times[2] == pytest.approx(0.04)
    np.savez(tmp_path / "a.npz", frames=frames, times=np.arange(12) ** 2 / 10 + 3)
    video = open_video(tmp_path / "a.npz")
    assert video.is_variable
    np.testing.assert_allclose(video.times, np.arange(12) ** 2 / 10)
    np.testing.assert_array_equal(video.load(), frames)

    bad = frames.astype(np.float32)
    bad[7, 3, 3] = np.nan
    np.save(tmp_path / "nan.npy", bad)
    with pytest.raises(VideoError, match=r"nan\.npy: found NaN or infinity in frame 7, expected finite"):
        open_video(tmp_path / "nan.npy", fps=25).load()
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object))
    with pytest.raises(VideoError, match="an array that cannot be read"):
        open_video(tmp_path / "pickled.npy", fps=25)
    np.save(tmp_path / "rgb.npy", np.zeros((5, 8, 8, 3), np.uint8))
    with pytest.raises(VideoError, match=r"shape \[5, 8, 8, 3\] of uint8, expected grey frames \[T, H, W\]"):
        open_video(tmp_path / "rgb.npy", fps=25)


def test_damaged_archives_and_wrong_suffixes_are_refused_in_a_sentence(tmp_path, frames):
    whole = tmp_path / "whole.npz"
    np.savez(whole, frames=frames, fps=25.0)
    assert open_video(whole).fps == pytest.approx(25)
    half = tmp_path / "half.npz"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"half\.npz: found an array that cannot be read \("):
        open_video(half)
    bits = bytearray(whole.read_bytes())
    bits[len(bits) // 4] ^= 255
    (tmp_path / "flipped.npz").write_bytes(bits)
    with pytest.raises(VideoError, match=r"flipped\.npz: found an array that cannot be read \(Bad CRC"):
        open_video(tmp_path / "flipped.npz")
    whole.rename(tmp_path / "archive.npy")
    with pytest.raises(VideoError, match="found an archive of arrays"):
        open_video(tmp_path / "archive.npy", fps=25)
    np.save(tmp_path / "array.npy", frames)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with pytest.raises(VideoError, match="found a single array"):
        open_video(tmp_path / "array.npz")
    for fps in (0.0, np.nan, np.ones(3)):
        np.savez(tmp_path / "fps.npz", frames=frames, fps=fps)
        with pytest.raises(VideoError, match=r"fps\.npz: found fps of .*, expected one number above 0"):
            open_video(tmp_path / "fps.npz")
    np.savez(tmp_path / "text.npz", frames=frames, times=np.array(["a"] * len(frames)))
    with pytest.raises(VideoError, match=r"times of shape \[12\] of <U1, expected numbers"):
        open_video(tmp_path / "text.npz")


def test_rates_that_are_no_numbers_are_refused(tmp_path, frames):
    for fps in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=r"fps: found (nan|inf), expected above 0"):
            write_video(tmp_path / "a.mp4", frames, fps)
        with pytest.raises(ConfigError, match=r"fps: found (nan|inf), expected above 0"):
            open_video(tmp_path / "a.npy", fps=fps)


def test_what_is_no_film_is_refused_by_its_name(tmp_path, frames):
    (tmp_path / "text.mp4").write_text("not a film, whatever its suffix says")
    with pytest.raises(VideoError, match=r"text.mp4: found bytes of no known format .*expected a film \(MP4"):
        open_video(tmp_path / "text.mp4")
    (tmp_path / "empty.mov").write_bytes(b"")
    with pytest.raises(VideoError, match="an empty file"):
        open_video(tmp_path / "empty.mov")
    with pytest.raises(VideoError, match=r"gone\.mp4: found no such file"):
        open_video(tmp_path / "gone.mp4")
    audio_io.save(tmp_path / "sound.wav", torch.zeros(100), 8000)
    (tmp_path / "sound.wav").rename(tmp_path / "sound.mp4")
    with pytest.raises(VideoError, match=r"found a sound file \(WAV\)"):
        open_video(tmp_path / "sound.mp4")
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        track = container.add_stream("aac", rate=48000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48000
        container.mux([*track.encode(silence), *track.encode(None)])
    with pytest.raises(VideoError, match="a file with audio track and no pictures, expected a film"):
        open_video(tmp_path / "song.mp4")
    write_video(tmp_path / "short.mp4", frames[:3], 25)
    with pytest.raises(VideoError, match=r"short\.mp4: found 3 frames, expected at least 4"):
        open_video(tmp_path / "short.mp4")
    for suffix in (".mp4", ".mkv"):
        whole = tmp_path / f"whole{suffix}"
        write_video(whole, frames, 25, lossless=suffix == ".mkv")
        (tmp_path / f"cut{suffix}").write_bytes(whole.read_bytes()[:-600])
        with pytest.raises(TruncatedAudioError, match=rf"cut\{suffix}: found \d+ bytes of"):
            open_video(tmp_path / f"cut{suffix}")
    with pytest.raises(ConfigError, match="fps: found 0, expected above 0"):
        open_video(tmp_path / "whole.mp4", fps=0)


def write_dicom(path, frames, **tags):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.Rows, data.Columns = frames.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelData = frames.astype(np.uint16).tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    path.parent.mkdir(exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def test_dicom_films_and_series_are_read(tmp_path, frames, monkeypatch):
    deep = frames.astype(np.uint16) * 16
    write_dicom(tmp_path / "film.dcm", deep, NumberOfFrames=12, FrameTime="36.8")
    video = open_video(tmp_path / "film.dcm")
    np.testing.assert_array_equal(video.load(), deep)
    np.testing.assert_allclose(video.times, np.arange(12) * 0.0368)
    vector = [0, *range(30, 41)]
    write_dicom(tmp_path / "steps.dcm", deep, NumberOfFrames=12, FrameTimeVector=vector)
    np.testing.assert_allclose(open_video(tmp_path / "steps.dcm").times, np.cumsum(vector) / 1000)

    for index in range(12):  # the names in another order than the pictures
        tags = {"InstanceNumber": index + 1, "AcquisitionTime": f"1159{59.5 + index / 25:09.6f}"}
        if index / 25 >= 0.5:
            tags["AcquisitionTime"] = f"1200{index / 25 - 0.5:09.6f}"
        write_dicom(tmp_path / "series" / f"{11 - index:02d}.dcm", deep[index], **tags)
    series = open_video(tmp_path / "series")
    np.testing.assert_array_equal(series.load(), deep)
    np.testing.assert_allclose(series.times, np.arange(12) / 25, atol=1e-6)

    write_dicom(tmp_path / "timeless.dcm", deep, NumberOfFrames=12)
    with pytest.raises(VideoError, match="does not say when its frames show, expected the setting fps"):
        open_video(tmp_path / "timeless.dcm")
    (tmp_path / "fake.dcm").write_bytes(b"x" * 300)
    with pytest.raises(VideoError, match=r"fake.dcm: found no DICOM file"):
        open_video(tmp_path / "fake.dcm")
    monkeypatch.setattr(dicom.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileError, match=r"pydicom is not installed, expected the extra: uv run .* dicom"):
        open_video(tmp_path / "film.dcm")
