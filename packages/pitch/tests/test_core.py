import pytest
import torch

import pitch
from audio_io.errors import ConfigError
from pitch.core import allowed_bins


def test_silence_stays_silent_in_the_input_of_the_network():
    (frames,) = pitch.preprocess(torch.zeros(1, 4000), 16000)
    assert torch.equal(frames, torch.zeros(26, 1024))


def test_frames_are_normalised_and_centred_on_their_time():
    audio = torch.zeros(1, 16000)
    audio[0, 3200] = 1.0
    (frames,) = pitch.preprocess(audio, 16000, 160)
    assert frames[20].argmax() == 512
    active = frames[frames.abs().amax(dim=1) > 0]
    torch.testing.assert_close(active.mean(dim=1), torch.zeros(len(active)), atol=1e-6, rtol=0)
    torch.testing.assert_close(active.std(dim=1), torch.ones(len(active)))


@pytest.mark.parametrize(
    ("audio", "arguments", "message"),
    [
        (torch.zeros(0, 16000), {}, r"audio: found a tensor of shape \(0, 16000\), expected one channel"),
        (torch.zeros(16000), {}, r"audio: found a tensor of shape \(16000,\), expected one channel"),
        (torch.zeros(1, 16000), {"hop_length": 0}, "hop_length: found 0, expected a whole number of samples"),
        (torch.zeros(1, 1000), {"pad": False}, "audio: found 1000 samples at 16 kHz, expected at least 1024"),
        (torch.zeros(1, 1600), {"fmin": 600.0, "fmax": 500.0}, "fmin: found 600.0 Hz with fmax 500.0 Hz"),
        (torch.zeros(1, 1600), {"fmin": 3000.0, "fmax": 4000.0}, "fmin: found 3000.0 Hz with fmax 4000.0 Hz"),
    ],
)
def test_bad_arguments_are_named(audio, arguments, message):
    with pytest.raises(ConfigError, match=message):
        pitch.predict(audio, 16000, model="tiny", **arguments)


def test_an_embedding_is_of_one_channel():
    with pytest.raises(
        ConfigError, match=r"audio: found a tensor of shape \(2, 16000\), expected one channel"
    ):
        pitch.embed(torch.zeros(2, 16000), 16000, model="tiny")


def test_a_frequency_range_becomes_a_range_of_bins():
    assert allowed_bins(50.0, 2006.0) == (39, 360)
    # Below the lowest bin torchcrepe would count from the end and keep the wrong bins.
    assert allowed_bins(20.0, 550.0) == allowed_bins(0.0, 550.0)
    assert allowed_bins(20.0, 550.0)[0] == 0


def test_predict_stays_within_its_range_and_keeps_the_audio_as_it_was(phrase):
    audio = torch.from_numpy(phrase.waveform[22050:44100]).float()[None]
    before = audio.clone()
    found, confidence = pitch.predict(
        audio,
        44100,
        fmin=400.0,
        fmax=1000.0,
        model="tiny",
        decoder=pitch.decode.weighted_viterbi,
        return_periodicity=True,
    )
    assert found.min() >= 400 * 2 ** (-20 / 1200)
    assert found.max() <= 1000 * 2 ** (20 / 1200)
    assert ((confidence >= 0) & (confidence <= 1)).all()
    assert torch.equal(audio, before)
