"""Frames at the times of the mel frames: films whose pixels say what time it is."""

import numpy as np
import pytest

from audio_io.errors import FileError
from mri2speech.config import MelConfig
from mri2speech.preprocess.config import PreprocessConfig
from mri2speech.preprocess.frames import (
    load_frames,
    load_mask,
    mel_times,
    network_frames,
    normalise,
    padded,
    resized,
    within,
)
from mri2speech.video import open_video
from mri2speech.video_writer import write_video

RATES = [23.18, 25.0, 11413 / 420, 50.0, 83.28]
SIZE, UNIT = 16, 1e-4  # pixels; s of the low byte
CONFIG = PreprocessConfig(image_size=SIZE)


def clock(time):
    """A frame that holds its time in two pixels, and 0 and 255 so that normalising divides by 255."""
    frame = np.zeros((SIZE, SIZE), np.uint8)
    frame[0, 0] = 255
    frame[1, :2] = divmod(round(time / UNIT), 256)
    return frame


def time_of(frame):
    """Linear in the pixels, so that a mean of frames tells the mean of their times."""
    return (frame[1, 0] * 256 + frame[1, 1]) * 255 * UNIT


def film(path, times, fps=None):
    if fps is None:
        np.savez(path, frames=np.stack([clock(time) for time in times]), times=times)
    else:
        write_video(path, (clock(time) for time in times), fps, lossless=True)
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
@pytest.mark.parametrize("fps", RATES)
def test_a_frame_shows_the_time_at_which_its_mel_frame_is_centred(tmp_path, fps, suffix):
    path = film(tmp_path / f"film{suffix}", np.arange(int(2.5 * fps)) / fps, fps)
    frames, times = load_frames(path, CONFIG, MelConfig())
    np.testing.assert_allclose(times, np.arange(len(times)) * 420 / 11413)
    shown = np.array([time_of(frame) for frame in frames])
    last = (int(2.5 * fps) - 1) / fps
    # Half a unit of the clock; Matroska's milliseconds may shift the whole film by one.
    tolerance = UNIT + (1e-3 if suffix == ".mkv" else 0)
    np.testing.assert_allclose(shown, np.minimum(times, last), atol=tolerance)
    assert times[-1] <= last + 0.5 / fps + 1e-9 < times[-1] + 420 / 11413

    nearest, _ = load_frames(path, PreprocessConfig(image_size=SIZE, interpolation="nearest"), MelConfig())
    shown = np.array([time_of(frame) for frame in nearest])
    assert np.abs(shown - times).max() <= 0.5 / fps + tolerance
    np.testing.assert_allclose(shown * fps, np.round(shown * fps), atol=fps * UNIT)  # frames as they are


def test_a_film_at_the_mel_rate_is_taken_frame_by_frame(tmp_path):
    path = film(tmp_path / "film.avi", np.arange(60) * 420 / 11413, 11413 / 420)
    frames, _ = load_frames(path, CONFIG, MelConfig())
    np.testing.assert_array_equal(frames, open_video(path).load() / np.float32(255))


def test_a_variable_rate_is_followed(tmp_path):
    times = np.cumsum(np.random.default_rng(1).uniform(0.005, 0.08, 50))
    times -= times[0]
    frames, wanted = load_frames(film(tmp_path / "film.npz", times), CONFIG, MelConfig())
    shown = np.array([time_of(frame) for frame in frames])
    np.testing.assert_allclose(shown, np.minimum(wanted, times[-1]), atol=UNIT)


def test_times_outside_the_film_are_left_out(tmp_path):
    video = open_video(film(tmp_path / "film.npz", np.arange(20) / 25))
    times = mel_times(100, MelConfig(), start=-0.3)
    rows = within(video, times)
    assert times[rows.start - 1] < -0.02 <= times[rows.start]
    assert times[rows.stop - 1] <= 19.5 / 25 < times[rows.stop]
    assert len(list(network_frames(video, times[rows], CONFIG))) == rows.stop - rows.start


def test_normalising_is_the_z_score_of_the_brief_scaled_to_0_and_1():
    frame = np.random.default_rng(2).gamma(2.0, 40.0, (64, 64))
    z = (frame - frame.mean()) / frame.std()
    expected = (z - z.min()) / (z.max() - z.min())
    np.testing.assert_allclose(normalise(frame.astype(np.float32)), expected, atol=2e-7)
    assert not normalise(np.full((8, 8), 0.1, np.float32)).any()
    assert not normalise(np.zeros((8, 8), np.float32)).any()


def test_resizing_keeps_means_and_letterboxing_keeps_shapes():
    image = np.random.default_rng(3).integers(0, 256, (48, 32)).astype(np.uint8)
    np.testing.assert_allclose(
        resized(image, 16, "stretch"), image.reshape(16, 3, 16, 2).mean((1, 3)), rtol=1e-5
    )
    boxed = padded(resized(image, 24, "letterbox"), 24)
    np.testing.assert_allclose(boxed[:, 4:20], image.reshape(24, 2, 16, 2).mean((1, 3)), rtol=1e-5)
    assert not boxed[:, :4].any()
    assert not boxed[:, 20:].any()
    # A ramp stays a ramp where it grows.
    ramp = np.tile(np.arange(8, dtype=np.uint8), (8, 1))
    grown = resized(ramp, 32, "stretch")
    np.testing.assert_allclose(grown[0, 2:-2], (np.arange(2, 30) + 0.5) / 4 - 0.5, atol=1e-5)


def test_masks_are_of_the_size_and_range_of_frames(tmp_path):
    import cv2

    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[4:12] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.png", SIZE), mask / 255)
    np.save(tmp_path / "mask.npy", mask > 0)
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.npy", SIZE), mask / 255)
    with pytest.raises(FileError, match=r"mask.png: found a mask of shape 16x16, expected .* of 256x256 pix"):
        load_mask(tmp_path / "mask.png", 256)
    np.save(tmp_path / "mask.npy", mask)
    with pytest.raises(FileError, match=r"found values from 0 to 255, expected a mask of 16x16 pixels"):
        load_mask(tmp_path / "mask.npy", SIZE)
    np.savez(tmp_path / "mask.npz", mask=mask)
    (tmp_path / "mask.npz").rename(tmp_path / "mask.npy")
    with pytest.raises(FileError, match=r"mask\.npy: found an archive of arrays"):
        load_mask(tmp_path / "mask.npy", SIZE)
    (tmp_path / "mask.png").write_text("no picture")
    with pytest.raises(FileError, match=r"mask\.png: found no picture"):
        load_mask(tmp_path / "mask.png", SIZE)
