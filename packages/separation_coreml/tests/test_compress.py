"""What each way of storing weights costs and saves."""

import pytest
import torch
from torch import nn

from separation_coreml.compress import transform_constants
from separation_coreml.config import ConvertConfig
from separation_coreml.convert import convert
from separation_coreml.mil import load_program


class Network(nn.Module):
    """A transform whose tables are large enough to be compressed, and a weight that is."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(513, 400)

    def forward(self, x):
        z = torch.stft(x, 8192, 4096, window=torch.hann_window(8192), return_complex=True)
        return self.linear(z.abs()[:, :513].mT)


@pytest.mark.parametrize(
    ("quantize", "megabytes", "decibels"),
    [
        ("none", 1.4, 110),
        ("int8", 0.8, 40),
        ("palettize6", 0.75, 30),
        ("palettize4", 0.7, 19),
        ("prune", 1.15, 7),
    ],
)
def test_weights_are_smaller_and_transforms_exact(tmp_path, quantize, megabytes, decibels):
    import coremltools as ct

    torch.manual_seed(0)
    model, x = Network().eval(), torch.randn(1, 20000)
    path = tmp_path / "m.mlpackage"
    report = convert(
        model, (x,), path, input_names=["x"], output_names=["y"], config=ConvertConfig(quantize=quantize)
    )
    with torch.no_grad():
        expected = model(x)
    found = load_program(path).run(x=x)["y"]
    assert float(10 * torch.log10(expected.square().sum() / (found - expected).square().sum())) > decibels
    assert report.size_mb < megabytes
    assert len(transform_constants(ct.models.MLModel(str(path), skip_model_load=True))) >= 8
