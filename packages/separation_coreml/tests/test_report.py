"""The report: what it covers, what it measures, what it says of rows that miss, and that it goes on."""

import dataclasses
import json

import pytest
from PIL import Image

from audio_io.errors import ConfigError
from separation_coreml import report, report_html
from separation_coreml.cli import main
from separation_coreml.registry import MODELS
from separation_coreml.report import BARS, Measurement, ReportConfig, Row, Task, clip, make_rows

NAME = "separation_coreml_report"


def row(model="htdemucs", note="", **sdr):
    measured = {kind: Measurement(value, 1e-6, {"vocals": value}, 44.5, 20.0) for kind, value in sdr.items()}
    family = MODELS[model].family
    return Row(
        model, family, 1_000_000, 1.0, "random", {"stft": 1}, 1600, 20.0, 900.0, 60.0, 0.1, measured, note
    )


def test_quick_takes_one_model_of_each_family_and_the_full_report_all():
    quick = ReportConfig(quick=True).tasks()
    assert [MODELS[task.model].family for task in quick] == list(
        dict.fromkeys(spec.family for spec in MODELS.values())
    )
    assert {task.segment for task in quick} == {1.0}
    assert {task.model for task in quick if task.kinds == ("fp32", "int8")} == {"htdemucs"}
    assert {task.kinds for task in quick if task.model != "htdemucs"} == {("fp32",)}
    full = ReportConfig().tasks()
    assert [task.model for task in full] == list(MODELS)
    assert {(task.kinds, task.segment) for task in full} == {(("fp32", "fp16", "int8"), None)}
    chosen = ReportConfig(models="umxhq, htdemucs", segment=0.5).tasks()
    assert [(task.model, task.segment) for task in chosen] == [("umxhq", 0.5), ("htdemucs", 0.5)]
    with pytest.raises(ConfigError, match="model: found 'umxhd', expected one of"):
        ReportConfig(models="umxhd").tasks()


def test_a_row_passes_at_its_bars_and_says_what_is_below():
    assert row(**BARS).passed
    assert row(fp32=110.0, int8=34.9).below == ("int8: 34.9 dB, expected at least 35 dB",)
    assert not row(fp32=float("nan")).passed
    assert not row(note="ended by SIGKILL").passed
    assert row(fp16=49.9).below == ("fp16: 49.9 dB, expected at least 50 dB",)
    assert row(fp16=-300.0, mixed=50.0).passed
    assert row(fp16=-300.0, mixed=49.0).below == ("mixed: 49.0 dB, expected at least 50 dB",)
    large = row(fp32=120.0, int8=41.0)
    large.measured["int8"] = dataclasses.replace(large.measured["int8"], size_mb=50.0)
    assert large.below == ("int8: 50.0 MB, expected less than 50 MB",)
    assert row("mdx23c", fp32=109.9).below == ("fp32: 109.9 dB, expected at least 110 dB",)
    assert [clip(value) for value in (float("inf"), float("-inf"), float("nan"))] == [300, -300, -300]


def test_the_verdicts_follow_the_rows():
    rows = [row("htdemucs", fp32=120.0), row("hdemucs_high_musdb", fp32=100.0), row("umxhq", fp32=131.0)]
    assert report_html.verdicts(rows) == [
        ("Demucs, HTDemucs", "❌", "❌", "htdemucs, hdemucs_high_musdb"),
        ("Spleeter", "❌", "not measured", ""),
        ("Open-Unmix", "?", "✅", "umxhq"),
    ]


def test_pages_name_a_row_that_misses_and_escape_its_reason(tmp_path):
    rows = [row(fp32=121.0, int8=41.0), row("umxhq", note="a | b < c & d"), row("wave_u_net", fp32=300.0)]
    config = ReportConfig(quick=True, seed=3)
    report_html.write_report(rows, config, tmp_path)
    text = (tmp_path / f"{NAME}.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[2] for line in lines[2:5]] == ["✅", "❌", "✅"]
    assert len({line.count(" | ") for line in lines[:5]}) == 1
    assert "121.0 dB | 41.0 dB" in lines[2]
    assert "| equal |" in lines[4]
    assert "- umxhq: a | b < c & d" in text
    assert "separation-coreml report --quick --seed 3 -o report" in text
    page = (tmp_path / f"{NAME}.html").read_text(encoding="utf-8")
    assert "a | b &lt; c &amp; d" in page
    assert "data:image/png;base64," in page
    values = json.loads((tmp_path / f"{NAME}.json").read_text(encoding="utf-8"))
    assert [entry["passed"] for entry in values["rows"]] == [True, False, True]
    assert [Row.from_json(_fields(entry)) for entry in values["rows"]] == rows
    with Image.open(tmp_path / "images" / f"{NAME}.png") as picture:
        assert len(picture.convert("L").getcolors()) > 20


def _fields(entry):
    return {field.name: entry[field.name] for field in dataclasses.fields(Row)}


def test_a_model_is_measured_in_its_own_process_and_only_once(tmp_path, capsys, monkeypatch):
    command = ["report", "--models", "small", "--segment", "0.3", "--quick", "-o", str(tmp_path)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "small  fp32 1" in printed
    kept = tmp_path / "rows" / "small.json"
    values = json.loads(kept.read_text(encoding="utf-8"))["row"]
    assert values["segment_seconds"] == pytest.approx(0.3)
    assert values["complex_removed"]["istft"] == 1
    assert values["parameters"] == MODELS["small"].parameters
    assert values["measured"]["fp32"]["sdr"] > 110
    # Weights in float32 are the most of the package.
    assert 0.95 < values["measured"]["fp32"]["size_mb"] / (4e-6 * values["parameters"]) < 1.1
    assert set(values["measured"]["fp32"]["stems"]) == set(MODELS["small"].stems)
    assert values["deviation"] > 1e-3
    assert [file.name for file in (tmp_path / "rows").iterdir()] == [kept.name]

    # What is missing is measured, and what is there is not.
    assert main([*command, "--onnx"]) == 0
    capsys.readouterr()
    further = json.loads(kept.read_text(encoding="utf-8"))["row"]
    assert further["measured"]["fp32"] == values["measured"]["fp32"]
    assert further["operations"] == values["operations"] > 0
    assert further["measured"]["onnx"]["sdr"] > 110
    assert further["cpu_seconds"] > values["cpu_seconds"]
    assert "| SDR onnx |" in (tmp_path / f"{NAME}.md").read_text(encoding="utf-8")

    monkeypatch.setattr(report.subprocess, "run", None)
    assert main(command) == 0
    assert "SDR onnx" not in (tmp_path / f"{NAME}.md").read_text(encoding="utf-8")
    with pytest.raises(TypeError):
        main([*command, "--seed", "1"])


def test_what_fails_later_takes_nothing_away(tmp_path, monkeypatch):
    task = Task("umxhq", ("fp32",), 0.2, "random", 0)
    monkeypatch.setattr(report, "_measure", lambda task, file: row("umxhq", fp32=120.0))
    make_rows([task], tmp_path)
    monkeypatch.setattr(report, "_measure", lambda task, file: row("umxhq", note="ended by SIGKILL"))
    (failed,) = make_rows([dataclasses.replace(task, kinds=("fp32", "int8"))], tmp_path)
    assert failed.below == ("ended by SIGKILL",)
    assert make_rows([task], tmp_path)[0].measured["fp32"].sdr == 120.0


def test_a_model_that_fails_keeps_its_row_and_costs_the_others_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    task = Task("wave_u_net", ("fp32",), 0.2, "official", 0)
    (failed,) = make_rows([task], tmp_path / "rows")
    assert not failed.passed
    assert "the weights of 'wave_u_net' are published as an archive" in failed.note
    # It is tried again, as nothing was measured.
    (tmp_path / "rows" / "wave_u_net.json").write_text("{}", encoding="utf-8")
    assert make_rows([task], tmp_path / "rows") == (failed,)


def test_below_the_bar_is_exit_code_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "_measure", lambda task, file: row("umxhq", fp32=100.0))
    assert main(["report", "--models", "umxhq", "-o", str(tmp_path)]) == 1
    assert "umxhq  BELOW: fp32: 100.0 dB, expected at least 110 dB" in capsys.readouterr().out
    assert main(["report", "--models", "nothing", "-o", str(tmp_path)]) == 2
