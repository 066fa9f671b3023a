import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import audio_io
import pitch
from audio_io.errors import AudioError, ConfigError, NoAudioError
from pitch import TrackConfig, Tracker, demo, synth
from pitch.framing import Framer
from pitch.tracking import PosteriorDecoder, frame_stream


def tiny(**changes):
    return TrackConfig(model="tiny", **changes)


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 6000),
    hop_length=st.sampled_from([1, 7, 160, 1000, 1024, 3000, 9000]),
    batch_size=st.integers(1, 9),
    cuts=st.lists(st.integers(0, 6000), max_size=4),
)
def test_streamed_frames_are_those_of_the_whole(length, hop_length, batch_size, cuts):
    if hop_length < 100:
        length = min(length, 400)
    audio = torch.arange(1, length + 1, dtype=torch.float32)[None]
    blocks = list(audio.tensor_split(sorted(min(c, length) for c in cuts), dim=1))
    streamed = list(frame_stream(blocks, hop_length, batch_size))
    whole = torch.nn.functional.pad(audio, (512, 512))[0].unfold(0, 1024, hop_length)
    assert all(len(batch) <= batch_size for batch in streamed)
    assert torch.equal(torch.cat(streamed), whole)
    assert len(whole) == 1 + length // hop_length

    framer = Framer(hop_length)
    at_once, number = [], 0
    for block in blocks:
        number += block.shape[1]
        at_once.append(framer.push(block[0]))
        # Each frame comes with its last sample.
        assert sum(map(len, at_once)) == max(0, 1 + (number - 512) // hop_length)
    assert torch.equal(torch.cat([*at_once, framer.finish()]), whole)
    assert len(framer.finish()) == 0


@pytest.mark.parametrize("decoder", list(pitch.decode.DECODERS))
def test_streamed_decoding_is_that_of_the_whole(decoder, signals):
    audio = torch.cat([signals["sung"], signals["noise"], signals["sweep"]], dim=1)
    posteriors = torch.cat(
        [pitch.infer(frames, "tiny") for frames in pitch.preprocess(audio, 16000, batch_size=64)]
    )
    streaming = PosteriorDecoder(tiny(decoder=decoder))
    parts = [streaming.push(part) for part in posteriors.split(23)]
    parts.append(streaming.finish())
    frequency, confidence = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    expected = pitch.postprocess(
        posteriors.T[None], 50.0, pitch.MAX_FMAX, pitch.decode.DECODERS[decoder], return_periodicity=True
    )
    np.testing.assert_allclose(frequency, expected[0][0], rtol=1e-6)
    np.testing.assert_array_equal(confidence, expected[1][0])


def test_a_file_in_memory_and_on_disk_give_the_same_track(tmp_path, phrase):
    waveform = torch.from_numpy(phrase.waveform).float()
    audio_io.save(tmp_path / "a.wav", waveform, 44100, subtype="FLOAT")
    tracker = Tracker(tiny())
    on_disk, in_memory = tracker.track_file(tmp_path / "a.wav"), tracker.track(waveform, 44100)
    np.testing.assert_array_equal(on_disk.frequency, in_memory.frequency)
    np.testing.assert_array_equal(on_disk.confidence, in_memory.confidence)
    np.testing.assert_array_equal(on_disk.times, np.arange(571) * 0.01)

    compatible, periodicity = pitch.predict(
        waveform[None],
        44100,
        441,
        model="tiny",
        decoder=pitch.decode.weighted_viterbi,
        return_periodicity=True,
    )
    np.testing.assert_allclose(on_disk.frequency, compatible[0], rtol=1e-5)
    np.testing.assert_allclose(on_disk.confidence, periodicity[0], atol=1e-5)


def melody(seconds):
    """Notes that leap, with rests, as in a quick melody or in speech."""
    pitches = (50, 74, 57, 69, 48, 79, 62, 52, 76, 60)
    notes = [synth.Note(pitch, seconds, vowel) for pitch, vowel in zip(pitches, "aeioaeioae", strict=True)]
    return synth.sung_phrase((*notes[:5], synth.Note(None, seconds), *notes[5:]))


@pytest.mark.parametrize("hop_length", [80, 160, 640])
def test_the_default_decoder_follows_leaps_at_any_hop(hop_length):
    phrase = melody(0.25)
    accuracy = {}
    for decoder in ("argmax", "viterbi", "weighted_viterbi"):
        track = Tracker(tiny(decoder=decoder, hop_length=hop_length)).track(
            torch.from_numpy(phrase.waveform), 44100
        )
        scores = pitch.evaluate.score(track.frequency, track.voiced, phrase.f0_at(track.times))
        accuracy[decoder] = scores.raw_pitch_accuracy
    assert accuracy["weighted_viterbi"] > accuracy["argmax"] - 0.01
    # The reason for a decoder of our own: torchcrepe's path misses such a melody altogether.
    assert accuracy["viterbi"] < 0.2


def test_channels_are_mixed_or_chosen(tmp_path):
    time = torch.arange(16000) / 16000
    stereo = torch.stack(
        [0.5 * torch.sin(2 * torch.pi * 220 * time), 0.5 * torch.sin(2 * torch.pi * 660 * time)]
    )
    audio_io.save(tmp_path / "stereo.wav", stereo, 16000)
    for channel, frequency in [(0, 220.0), (1, 660.0)]:
        track = Tracker(tiny(channel=channel)).track_file(tmp_path / "stereo.wav")
        assert 1200 * abs(np.log2(np.median(track.frequency) / frequency)) < 10
    mixed = Tracker(tiny()).track(stereo, 16000)
    alone = Tracker(tiny()).track(stereo.mean(dim=0), 16000)
    np.testing.assert_array_equal(mixed.frequency, alone.frequency)
    with pytest.raises(AudioError, match=r"stereo\.wav: found channels 0 to 1, expected a channel 2"):
        Tracker(tiny(channel=2)).track_file(tmp_path / "stereo.wav")
    with pytest.raises(ConfigError, match="channel: found 2, expected 0 to 1"):
        Tracker(tiny(channel=2)).track(stereo, 16000)


@pytest.mark.parametrize("hop_length", [80, 160, 2000])
def test_times_are_exact_for_any_hop(hop_length, phrase):
    track = Tracker(tiny(hop_length=hop_length)).track(torch.from_numpy(phrase.waveform), 44100)
    assert track.hop_seconds == hop_length / 16000
    assert track.duration == pytest.approx(len(phrase.waveform) / 44100, abs=1 / 16000)
    assert len(track.frequency) == 1 + round(len(phrase.waveform) * 16000 / 44100) // hop_length
    scores = pitch.evaluate.score(track.frequency, track.voiced, phrase.f0_at(track.times))
    assert scores.median_cents < 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop_length": 160.5}, "hop_length: found 160.5, expected a whole number"),
        ({"hop_length": 0}, "hop_length: found 0, expected at least 1"),
        ({"model": "huge"}, "model: found 'huge', expected one of tiny, small, regular, medium, large, full"),
        (
            {"decoder": "x"},
            "decoder: found 'x', expected one of argmax, weighted_argmax, viterbi, weighted_viterbi",
        ),
        ({"threshold": 1.5}, "threshold: found 1.5, expected from 0.0 to 1.0"),
        ({"threshold": float("nan")}, "threshold: found nan, expected from 0.0 to 1.0"),
        ({"fmin": 500.0, "fmax": 400.0}, r"fmin: found 500.0 Hz, expected less than fmax \(400.0 Hz\)"),
        ({"fmin": 5000.0}, "fmin: found 5000.0 Hz, expected less than"),
        ({"fmax": 2006.1}, "fmax: found 2006.1, expected from 32.0 to 2006.0"),
        ({"threshold_low": 0.6}, r"threshold_low: found 0.6, expected at most threshold \(0.5\)"),
        ({"min_voiced": -1.0}, "min_voiced: found -1.0, expected at least 0"),
        ({"precision": "int8"}, "precision: found 'int8', expected one of float32, bfloat16, float16"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        TrackConfig(**changes)


@pytest.mark.parametrize("shape", [(0, 16000), (1, 1, 16000)])
def test_a_waveform_of_another_shape_is_refused(shape):
    with pytest.raises(ConfigError, match=rf"waveform: found shape {re.escape(str(shape))}"):
        Tracker(tiny()).track(torch.zeros(shape), 16000)


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_a_waveform_without_samples_is_refused(shape):
    with pytest.raises(ConfigError, match="waveform: found 0 samples at 16000 Hz, expected at least"):
        Tracker(tiny()).track(torch.zeros(shape), 16000)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_waveform_that_is_not_finite_is_refused(value):
    waveform = torch.zeros(1, 16000)
    waveform[0, 5000] = value
    with pytest.raises(ConfigError, match="waveform: found NaN or infinity, expected finite samples"):
        Tracker(tiny()).track(waveform, 16000)
    with pytest.raises(ConfigError, match="audio: found NaN or infinity, expected finite samples"):
        pitch.predict(waveform, 16000, model="tiny")


def test_the_fast_engine_is_for_cpus():
    with pytest.raises(ConfigError, match="engine: found 'fast' on meta, expected auto or plain"):
        Tracker(tiny(engine="fast"), device="meta")


def test_a_file_without_sound_is_refused_by_name(tmp_path):
    (tmp_path / "empty.wav").touch()
    with pytest.raises(NoAudioError, match=r"empty\.wav"):
        Tracker(tiny()).track_file(tmp_path / "empty.wav")


LONG_FILE = """
import resource, sys
import pitch
tracker = pitch.Tracker(pitch.TrackConfig(model="tiny", hop_length=32000, batch_size=4))
tracker.track_file(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
track = tracker.track_file(sys.argv[2])
print(len(track.frequency), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_memory_does_not_grow_with_the_recording(tmp_path):
    minute = audio_io.load(demo.recording(), sample_rate=16000)[0].repeat(1, 11)[:, : 60 * 16000]
    audio_io.save(tmp_path / "1min.wav", minute, 16000)
    audio_io.save(tmp_path / "30min.wav", minute.repeat(1, 30), 16000)
    script = [sys.executable, "-c", LONG_FILE, str(tmp_path / "1min.wav"), str(tmp_path / "30min.wav")]
    frames, growth_mib = subprocess.run(script, capture_output=True, text=True, check=True).stdout.split()
    assert int(frames) == 1 + 30 * 60 // 2
    # Its samples alone are 110 MiB in float32.
    assert float(growth_mib) < 30


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_track_of_the_cpu(phrase):
    waveform = torch.from_numpy(phrase.waveform)
    cpu, gpu = (Tracker(tiny(), device=device).track(waveform, 44100) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu.confidence, cpu.confidence, atol=1e-3)
    assert np.median(np.abs(1200 * np.log2(gpu.frequency / cpu.frequency))) < 0.5
