import onnx
import pytest
import torch
from torch import nn

from audio_io.errors import ConfigError
from separation_coreml import onnx_export
from separation_coreml.cli import main
from separation_coreml.onnx_export import MissingOnnxError, export_onnx


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
    report = export_onnx(
        Filter().eval(), (torch.randn(2, 500),), path,
        input_names=["x"], output_names=["y", "gain"], metadata={"a": "b"}
    )  # fmt: skip
    assert report.sdr_db > 110
    assert report.max_difference < 1e-5
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
    monkeypatch.setattr(onnx_export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingOnnxError, match=r"onnx and onnxruntime are not installed; run: pip install 'sep"
    ):
        onnx_export.require_onnx("export-onnx")
    assert main(["export-onnx", "htdemucs", "-o", str(tmp_path / "a.onnx")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
