"""The same numbers as torchcrepe 0.0.24."""

import numpy as np
import pytest
import torch

import pitch

DECODERS = ["argmax", "weighted_argmax", "viterbi"]
NAMES = ["sung", "sweep", "sine", "bursts with digital silence", "noisy", "noise", "silence"]


def cents(a, b):
    return 1200 * torch.log2(a / b)


def without_dither(decoder):
    return lambda logits: getattr(pitch.decode, decoder)(logits, dither=False)


@pytest.mark.parametrize("model", ["tiny", pytest.param("full", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_posteriors_and_pitch_equal_upstream(model, name, signals, upstream):
    audio = signals[name]
    if model == "full":
        audio = audio[:, :8000]
    with torch.no_grad():
        (frames,) = upstream.preprocess(audio, 16000, 160)
        expected = upstream.infer(frames, model)
        found = torch.cat(
            [pitch.infer(batch, model) for batch in pitch.preprocess(audio, 16000, 160, batch_size=17)]
        )
    assert found.shape == expected.shape == (1 + audio.shape[1] // 160, 360)
    assert (found - expected).abs().max() <= 1e-5

    for decoder in DECODERS:
        want_pitch, want_confidence = upstream.postprocess(
            expected.T[None].clone(), 50.0, 2006.0, getattr(upstream.decode, decoder), False, True
        )
        got_pitch, got_confidence = pitch.postprocess(
            found.T[None], 50.0, 2006.0, without_dither(decoder), return_periodicity=True
        )
        assert cents(got_pitch, want_pitch).abs().max() <= 1.0, decoder
        assert (got_confidence - want_confidence).abs().max() <= 1e-5, decoder


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    ("hop_length", "fmin", "fmax", "pad"), [(None, 50.0, 550.0, True), (100, 80.0, 2006.0, False)]
)
def test_predict_equals_upstream(decoder, hop_length, fmin, fmax, pad, signals, upstream):
    settings = {"hop_length": hop_length, "fmin": fmin, "fmax": fmax, "model": "tiny", "pad": pad}
    want = upstream.predict(
        signals["sung"], 16000, **settings, decoder=getattr(upstream.decode, decoder), return_periodicity=True
    )
    got = pitch.predict(
        signals["sung"], 16000, **settings, decoder=without_dither(decoder), return_periodicity=True
    )
    assert got[0].shape == want[0].shape
    assert cents(got[0], want[0]).abs().max() <= 1.0
    assert (got[1] - want[1]).abs().max() <= 1e-5


def test_a_recording_at_another_rate_agrees_with_upstream_although_the_resampler_differs(phrase, upstream):
    audio = torch.from_numpy(phrase.waveform[44100:88200]).float()[None]
    want, confidence = upstream.predict(audio, 44100, 441, model="tiny", return_periodicity=True)
    got = pitch.predict(audio, 44100, 441, model="tiny", decoder=without_dither("viterbi"))
    sure = confidence > 0.5
    assert sure.float().mean() > 0.5
    # soxr against resampy: where neighbouring bins tie, the path may take the other one.
    assert cents(got, want)[sure].abs().max() <= 20.0
    assert (cents(got, want)[sure].abs() <= 1.0).float().mean() >= 0.97


def test_a_recording_is_decoded_as_a_whole_however_it_is_batched(phrase, upstream):
    audio = torch.from_numpy(phrase.waveform).float()[None]
    times = np.arange(571) * 0.01
    truth = torch.from_numpy(phrase.f0_at(times))

    def share_wrong(track):
        return (cents(track[0], truth)[truth > 0].abs() >= 50).float().mean()

    tracks = [
        pitch.predict(audio, 44100, 441, model="tiny", decoder=without_dither("viterbi"), batch_size=size)
        for size in (50, 128, 1000)
    ]
    assert torch.equal(tracks[0], tracks[1])
    assert torch.equal(tracks[0], tracks[2])
    assert share_wrong(tracks[0]) < 0.01
    # torchcrepe decodes every batch by itself, and its path is lost at a seam.
    assert share_wrong(upstream.predict(audio, 44100, 441, model="tiny", batch_size=128)) > 0.05
