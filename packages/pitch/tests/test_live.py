import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
import torch

import audio_io
from audio_io.errors import ConfigError
from pitch import Stream, TrackConfig, demo
from pitch.cli import main
from pitch.live import Block, Inbox, csv_writer, follow, json_writer, meter, pipe_blocks

TINY = ["--model", "tiny", "--device", "cpu"]
RATE = 16000


@pytest.fixture(scope="module")
def voice():
    """Two seconds of the shipped phrase at 16 kHz, one channel, in steps of 16 bits."""
    waveform, _ = audio_io.load(demo.recording(), sample_rate=RATE)
    return np.round(waveform[0, RATE : 3 * RATE].numpy() * 32768).astype(np.int16)


def frames_of(samples):
    stream = Stream(TrackConfig(model="tiny"))
    return [stream.push(torch.from_numpy(samples.astype(np.float32) / 32768)), stream.finish()]


def rows_of(text):
    return [[float(cell) for cell in row] for row in csv.reader(text.splitlines()[1:])]


class Pipe(io.BytesIO):
    """A pipe that gives a few bytes at a time, not in whole samples."""

    def read1(self, size=-1):
        return super().read1(min(size, 999))


@pytest.mark.parametrize(
    ("sample_format", "kind", "scale"), [("s16le", "<i2", 1), ("f32le", "<f4", np.float32(1 / 32768))]
)
def test_a_pipe_gives_the_samples_in_it_however_it_cuts_them(sample_format, kind, scale, voice):
    stereo = np.stack([voice, -voice // 2], axis=1)
    pipe = Pipe((stereo * scale).astype(kind).tobytes())
    blocks = [block.samples for block in pipe_blocks(pipe, sample_format, 2)]
    assert len(blocks) > 100
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), stereo.T.astype(np.float32) / 32768)


def test_a_pipe_of_another_format_is_refused():
    with pytest.raises(ConfigError, match=r"stdin: found 2 bytes left .* frames of 2 x s16le \(4 bytes\)"):
        list(pipe_blocks(io.BytesIO(bytes(10)), "s16le", 2))


def run(arguments, stdin, monkeypatch):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=stdin))
    return main(["live", "--stdin", "--sample-rate", str(RATE), *TINY, *arguments])


def test_lines_are_those_of_the_stream(voice, capsys, monkeypatch):
    assert run([], Pipe(voice.tobytes()), monkeypatch) == 0
    rows = np.array(rows_of(capsys.readouterr().out))
    first, rest = frames_of(voice)
    for column, name in enumerate(("times", "frequency", "confidence", "voiced")):
        expected = np.concatenate([getattr(first, name), getattr(rest, name)])
        np.testing.assert_allclose(rows[:, column], expected, atol=2e-3)

    assert run(["--json"], Pipe(voice.tobytes()), monkeypatch) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["time"] for row in objects] == rows[:, 0].tolist()
    assert [row["voiced"] for row in objects] == rows[:, 3].astype(bool).tolist()

    assert run(["--meter"], Pipe(voice.tobytes()), monkeypatch) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    lines = out.rstrip("\n").split("\r")[1:]
    assert {len(line) for line in lines} == {70}
    assert sum("cents" in line for line in lines) > 0.7 * len(lines)


def test_the_needle_points_where_the_pitch_is():
    for cents, place in [(0, 20), (-49, 0), (49, 40), (25, 30), (-10, 16)]:
        line = meter(440 * 2 ** (cents / 1200), voiced=True)
        assert line.index("o") - line.index("[") - 1 == place


def test_a_full_inbox_drops_sound_counts_it_and_the_times_go_on(voice, capsys):
    inbox = Inbox(capacity=3)
    blocks = np.split(voice[None].astype(np.float32) / 32768, 20, axis=1)  # 0.1 s each
    for block in blocks[:10]:
        inbox.put(block)
    received = iter(inbox.blocks())
    first = next(received)
    assert first.samples.shape == (1, 3 * 1600)
    for block in blocks[10:13]:
        inbox.put(block)
    inbox.close()
    after = list(received)
    assert [(block.lost, block.samples.shape[1]) for block in after] == [(7 * 1600, 3 * 1600)]
    np.testing.assert_array_equal(after[0].samples, np.concatenate(blocks[10:13], axis=1))

    out = io.StringIO()
    assert follow(iter([first, *after]), Stream(TrackConfig(model="tiny")), csv_writer(out)) == 7 * 1600
    times = [row[0] for row in rows_of(out.getvalue())]
    np.testing.assert_allclose(times, [*np.arange(31) / 100, *(1 + np.arange(31) / 100)], atol=1e-6)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2
    assert warnings[1] == (
        "pitch: 0.70 s of 1.30 s of sound were dropped, since the network cannot keep pace"
    )


def test_blocks_that_were_lost_while_others_waited_stay_apart():
    inbox = Inbox(capacity=2)
    block = np.zeros((1, 10), dtype=np.float32)
    for _ in range(3):
        inbox.put(block)
    waiting = inbox.blocks()
    # One is taken, then there is room again.
    inbox._waiting.get_nowait()
    inbox.put(block)
    inbox.close()
    assert [(b.lost, b.samples.shape[1]) for b in waiting] == [(0, 10), (10, 10)]


def test_an_interrupt_ends_it_with_the_frames_that_were_waiting(voice):
    def until_interrupted():
        yield Block(voice[None, :8000].astype(np.float32) / 32768)
        raise KeyboardInterrupt

    out = io.StringIO()
    follow(until_interrupted(), Stream(TrackConfig(model="tiny")), json_writer(out))
    assert len(out.getvalue().splitlines()) == 51


def test_without_sounddevice_one_sentence_names_the_extra(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["live", *TINY]) == 2
    error = capsys.readouterr().err
    assert error == (
        "pitch: error: the microphone needs the package sounddevice; "
        "run with the extra: uv run --package pitch --extra live\n"
    )


class FakeSounddevice(types.ModuleType):
    """What `pitch.live` uses of sounddevice, its input a voice."""

    class PortAudioError(Exception):
        pass

    def __init__(self, samples):
        super().__init__("sounddevice")
        fake = self

        class InputStream:
            def __init__(self, *, device, channels, blocksize, callback, finished_callback, **settings):
                if device is not None:
                    raise ValueError(f"No input device matching {device!r}")
                fake.settings = settings

                def record():
                    for start in range(0, len(samples), blocksize):
                        callback(samples[start : start + blocksize, None], blocksize, None, None)
                    finished_callback()

                self.thread = threading.Thread(target=record)

            def __enter__(self):
                self.thread.start()

            def __exit__(self, *_):
                self.thread.join()

        self.InputStream = InputStream


def test_the_microphone_is_tracked(voice, capsys, monkeypatch):
    samples = voice[:15000].astype(np.float32) / 32768
    fake = FakeSounddevice(samples)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    assert main(["live", "--sample-rate", str(RATE), *TINY]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert len(rows) == 1 + 15000 // 160
    assert fake.settings["samplerate"] == RATE

    assert main(["live", "--input", "nothing", *TINY]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pitch: error: no input gives 1 channel(s) at 48000 Hz: No input device matching")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_command_gives_each_frame_at_once_and_ends_quietly_on_ctrl_c(voice):
    command = [sys.executable, "-c", "import sys; from pitch.cli import main; sys.exit(main())"]
    arguments = ["live", "--stdin", "--sample-rate", str(RATE), *TINY]
    process = subprocess.Popen(
        [*command, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        process.stdin.write(voice.tobytes())
        process.stdin.flush()
        # Frames are there while the input is still open.
        assert [process.stdout.readline() for _ in range(170)][1].startswith(b"0.000000,")
        process.send_signal(signal.SIGINT)
        out, error = process.communicate()
        assert (process.returncode, error) == (0, b"")
        assert all(line.count(b",") == 3 for line in out.splitlines())
    finally:
        process.kill()
