import numpy as np
import pytest

import audio_io
from pitch import demo
from pitch.synth import VIBRATO_CENTS, VIBRATO_HZ


def test_the_shipped_recording_is_what_the_synthesis_makes(tmp_path, phrase):
    demo.write(tmp_path)
    shipped, rate = audio_io.load(demo.recording())
    made, _ = audio_io.load(tmp_path / demo.RECORDING)
    assert rate == phrase.sample_rate == 44100
    # Two steps of 16 bit, for mathematical libraries that differ in the last digit.
    assert (shipped - made).abs().max() <= 2 / 32768
    assert np.array_equal(
        np.loadtxt(demo.recording().with_name(demo.TRUE_F0), delimiter=",", skiprows=1),
        np.loadtxt(tmp_path / demo.TRUE_F0, delimiter=",", skiprows=1),
    )
    assert np.abs(shipped.numpy()).max() < 0.99


def phase_in_cycles(waveform, sample_rate, low, high):
    """Phase of the only component between two frequencies, from its analytic signal."""
    spectrum = np.fft.fft(waveform)
    frequencies = np.fft.fftfreq(len(waveform), 1 / sample_rate)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    return np.unwrap(np.angle(np.fft.ifft(spectrum))) / (2 * np.pi)


@pytest.mark.parametrize(("start", "end"), [(1.4, 2.1), (2.8, 3.35), (4.5, 5.2)])
def test_the_stored_pitch_is_that_of_the_sound(start, end, phrase):
    """The fundamental of each long note, demodulated without any pitch tracker, has the stored frequency."""
    waveform, rate = audio_io.load(demo.recording())
    span = 0.05  # s; cycles counted over it, so that the breath noise averages out
    times = np.arange(start, end, 0.001)
    truth = np.mean([demo.true_f0(times + offset) for offset in np.arange(0.0005, span, 0.001)], axis=0)
    cycles = phase_in_cycles(waveform[0].double().numpy(), rate, 0.8 * truth.min(), 1.2 * truth.max())
    first, last = (np.rint(t * rate).astype(int) for t in (times, times + span))
    cents = 1200 * np.log2((cycles[last] - cycles[first]) * rate / (last - first) / truth)
    assert np.abs(cents).max() < 2.0
    assert np.abs(np.mean(cents)) < 0.3


def test_the_phrase_is_sung_with_vibrato(phrase):
    f0 = phrase.f0_at(np.arange(4.6, 5.3, 0.001))
    cents = 1200 * np.log2(f0 / np.exp(np.mean(np.log(f0))))
    assert np.ptp(cents) == pytest.approx(2 * VIBRATO_CENTS, rel=0.05)
    spectrum = np.abs(np.fft.rfft(cents * np.hanning(len(cents)), 1 << 14))
    assert np.argmax(spectrum) * 1000 / (1 << 14) == pytest.approx(VIBRATO_HZ, abs=0.3)


def test_times_beyond_the_recording_are_unvoiced():
    assert demo.true_f0(np.array([0.0, 1.8, 99.0])).tolist()[::2] == [0.0, 0.0]
    assert demo.true_f0(np.array([1.8]))[0] > 400
