"""What `separate` leaves on disk: after it is repeated, stopped, or out of room."""

import contextlib
import functools
import os
import time

import numpy as np
import pytest
import soundfile
import torch

import audio_io
from separation_coreml import engines, songs
from separation_coreml.cli import main


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """A converted model with one stem, half the mixture, and short segments."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    kind, shape = onnx.TensorProto.FLOAT, [1, 2, 1000]
    nodes = [
        onnx.helper.make_node("Mul", ["mixture", "half"], ["halved"]),
        onnx.helper.make_node("Unsqueeze", ["halved", "one"], ["stems"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "halves",
        [onnx.helper.make_tensor_value_info("mixture", kind, shape)],
        [onnx.helper.make_tensor_value_info("stems", kind, [1, 1, 2, 1000])],
        [
            onnx.numpy_helper.from_array(np.float32(0.5).reshape(1), "half"),
            onnx.numpy_helper.from_array(np.array([1]), "one"),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    described = {"stems": "half", "sample_rate": "44100", "channels": "2", "segment": "1000"}
    onnx.helper.set_model_props(model, {**described, "overlap": "0.25", "normalize": "false"})
    path = tmp_path_factory.mktemp("onnx") / "halves.onnx"
    onnx.save(model, path)
    return path


def noise(length):
    return 0.1 * torch.randn(2, length, generator=torch.Generator().manual_seed(0))


def test_stems_are_not_separated_again_and_a_run_goes_on(halves, tmp_path, capsys):
    def separate(*more):
        assert main(["separate", str(tmp_path), "-o", str(tmp_path), "--model", str(halves), *more]) == 0
        return [line.split(": ")[1] for line in capsys.readouterr().out.splitlines() if ": " in line]

    for name in ("a", "b"):
        audio_io.save(tmp_path / f"{name}.wav", noise(44100), 44100)
    # Beside the stems of another song, and a song itself.
    audio_io.save(tmp_path / "a" / "half" / "c.wav", noise(44100), 44100)
    assert separate() == ["1.0 s"] * 3
    assert separate("--resume") == ["done already"] * 3
    stem = tmp_path / "b" / "half.wav"
    stem.unlink()
    os.utime(tmp_path / "a.wav", (0, 0))
    assert separate("--resume") == ["done already", "1.0 s", "1.0 s"]
    torch.testing.assert_close(audio_io.load(stem)[0], noise(44100) / 2, atol=1e-6, rtol=1e-5)
    assert separate("--resume", "--overlap", "0.3") == ["1.0 s"] * 3
    assert separate("--resume", "--format", "flac") == ["1.0 s"] * 3
    assert (
        main(["separate", str(tmp_path / "a.wav"), str(tmp_path / "a" / "half.wav"), "-o", str(tmp_path)])
        == 2
    )
    assert "a stem that would be replaced by that of another song" in capsys.readouterr().err


def test_flac_is_rounded_to_the_nearest_step(halves, tmp_path):
    audio_io.save(tmp_path / "song.wav", noise(20000), 44100)
    (song,) = songs.plan([tmp_path / "song.wav"], tmp_path)
    result = songs.separate_song(song, engines.load_engine(halves), file_format="flac")
    error = audio_io.load(result.stems["half"])[0].double() - noise(20000).double() / 2
    # Half a step of 24 bits, and what float32 adds to it.
    assert float(error.abs().max()) < 2.0**-24 * 1.3
    assert abs(float(error.mean())) < 2.0**-24 * 0.05


@pytest.mark.skipif(os.name == "nt", reason="no limit on the size of files")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(halves, tmp_path, capsys):
    import resource

    audio_io.save(tmp_path / "song.wav", noise(44100), 44100)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        assert (
            main(["separate", str(tmp_path / "song.wav"), "-o", str(tmp_path), "--model", str(halves)]) == 2
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "stems cannot be written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["song.wav"]


def test_processes_that_are_stopped_leave_nothing_half_written(halves, tmp_path):
    # Ten minutes each, which take longer than the end of the processes.
    for name, seconds in (("0", 1), ("1", 600), ("2", 600)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(44100 * seconds, np.int16), 44100)
    planned = songs.plan([tmp_path], tmp_path / "out")
    load = functools.partial(engines.load_engine, halves)
    with contextlib.closing(songs.separate_songs(planned, load, workers=2)) as outcomes:
        song, outcome = next(outcomes)
        assert (song.recording.name, type(outcome)) == ("0.wav", songs.Separated)
        while len(list(tmp_path.rglob(".half*"))) < 2:
            time.sleep(0.05)
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["half.wav"]
