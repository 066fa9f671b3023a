import onnx
import pytest
import torch
from torch import nn

from audio_io.errors import ConfigError
from separation_coreml import runtimes
from separation_coreml.cli import main
from separation_coreml.onnx_export import export_onnx
from separation_coreml.runtimes import MissingOnnxError


class Filter(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(33, 33, batch_first=True)

    def forward(self, x):
        window = torch.hann_window(64)
        z = torch.stft(x, 64, 16, window=window, return_complex=True)
        gain, _ = self.lstm(z.abs().mT)
        return torch.istft(z * gain.mT, 64, 16, window=window, length=x.shape[-1]), gain


def test_onnx_runtime_computes_the_same(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "filter.onnx"
    module = Filter().eval()
    report = export_onnx(
        module, (torch.randn(2, 500),), path,
        input_names=["x"], output_names=["y", "gain"], metadata={"a": "b"}
    )  # fmt: skip
    assert report.parity.sdr > 110
    assert report.parity.max_abs < 1e-5
    assert not any(part.training for part in module.modules())
    graph = onnx.load(path)
    assert [(entry.key, entry.value) for entry in graph.metadata_props] == [("a", "b")]
    assert graph.opset_import[0].version == report.opset == 17
    assert [output.name for output in graph.graph.output] == ["y", "gain"]
    complex_types = {onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128}
    assert not any(v.type.tensor_type.elem_type in complex_types for v in graph.graph.value_info)


def test_the_extra_and_the_name_are_asked_for(tmp_path, monkeypatch, capsys):
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.onnx"):
        export_onnx(
            Filter(), (torch.randn(2, 500),), tmp_path / "a.ort", input_names=["x"], output_names=["y"]
        )
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingOnnxError, match=r"onnx and onnxruntime are not installed; run: pip install 'sep"
    ):
        runtimes.require_onnx("export-onnx")
    assert main(["export-onnx", "htdemucs", "-o", str(tmp_path / "a.onnx")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_verify_takes_onnx_files(tmp_path, capsys):
    path, package = tmp_path / "small.onnx", tmp_path / "small.mlpackage"
    assert main(["export-onnx", "small", "-o", str(path), "--segment", "0.2"]) == 0
    printed = capsys.readouterr().out
    assert "ONNX Runtime: SDR 1" in printed
    assert "    vocals       1" in printed
    assert main(["verify", str(path), "--model", "small"]) == 0
    assert "stems [1, 4, 2, 8820]: SDR 1" in capsys.readouterr().out
    assert main(["convert", "small", "-o", str(package), "--segment", "0.2"]) == 0
    assert main(["verify", str(path), "--against", str(package)]) == 0
    assert main(["verify", str(package), "--against", str(path)]) == 0
    assert main(["verify", str(path), "--model", "small", "--weights", "random"]) == 1
    capsys.readouterr()
    assert main(["verify", str(path)]) == 2
    assert "expected --model or --against, without --bisect, for an ONNX file" in capsys.readouterr().err
    assert main(["verify", str(package), "--against", str(path), "--bisect"]) == 2


def test_files_that_are_no_onnx_models_are_refused(tmp_path, capsys):
    path = tmp_path / "a.onnx"
    assert main(["verify", str(path), "--model", "small"]) == 2
    assert "found no file, expected an ONNX model" in capsys.readouterr().err
    path.write_bytes(b"no model")
    assert main(["verify", str(path), "--model", "small"]) == 2
    assert "a file that ONNX Runtime cannot load" in capsys.readouterr().err
